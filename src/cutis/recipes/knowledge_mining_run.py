"""A run of knowledge mining: the supervised phase, then the mining phase that begins with its best weights.

Knowledge mining, Fig. 1, Sec. 2.3-2.5 and A.1. The run folder is the mining phase's; `supervised/` in it is a run
folder of the supervised phase, made first unless another run is given to begin from, and `pseudo_labels/` holds
one-time pseudo-labels. A run that was cut off goes on where it was, with the pseudo-labels that it has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

from cutis.data.batches import SegmentationSet, loader
from cutis.data.mining_batches import Embeddings, MiningSet, Part, PartSampler
from cutis.errors import CutisError
from cutis.files import atomic_write
from cutis.mining.one_time import LabelManifest, OneTimeLabels, make_labels
from cutis.recipes.folder import best_checkpoint, decoding, digest, read_folder, recipe_of, stage
from cutis.recipes.knowledge_mining import KnowledgeMining
from cutis.recipes.knowledge_mining_config import KnowledgeMiningConfig
from cutis.recipes.mining_division import Division, divide
from cutis.recipes.promptables import load_promptable
from cutis.recipes.run import Prepared, Run, carry_out, load_run, prepare
from cutis.recipes.teaching import device_of
from cutis.teachers.embeddings import open_embeddings
from cutis.teachers.promptable import Promptable

__all__ = ["train_knowledge_mining"]

SUPERVISED, LABELS, ASKED = "supervised", "pseudo_labels", "mining.json"
SECOND = 1_000_003  # the second phase draws other batches than the first
EMBEDDED = 8  # images at a time


class Phase(NamedTuple):
    """What is trained on what."""

    recipe: KnowledgeMining
    batches: DataLoader


def train_knowledge_mining(
    config: KnowledgeMiningConfig,
    data: Path,
    folder: Path,
    *,
    cache: Path,
    resume: bool,
    teacher: str | Promptable | None = None,
    start: Path | None = None,
    accelerator: str = "auto",
    say: Callable[[str], None] = print,
    after_epoch: Callable[[int, float], None] | None = None,
) -> Run:
    """Train as `config` says on the data sets below `data`, on one device; everything that comes of it is in `folder`.

    `teacher`: a promptable, or the choice of one, which wins over the configuration's. `start`: the run of a supervised
    phase, instead of training one, or a contrastive run whose encoder that phase begins with; where `config` has no
    mining phase, any run whose best weights are the first ones.
    """
    common: dict[str, Any] = {"cache": cache, "accelerator": accelerator, "say": say}
    mining = config.mining
    if mining is None:
        return _supervised(config, data, folder, resume=resume, start=start, after_epoch=after_epoch, **common)
    promptable = None
    if mining.schedule != "supervised":
        promptable = _promptable(teacher or config.teacher, accelerator)
    _remember(config, folder, start, resume)
    division = divide(config, data, say)
    if start is None or recipe_of(start) == "contrastive":
        first = config.model_copy(update={"mining": None})
        stage(_supervised, first, data, folder / SUPERVISED, say, common | {"start": start})
        start = folder / SUPERVISED
    _same_labels(config, start)
    begun = (folder / "checkpoints" / "last.ckpt").exists()
    if not begun:  # cut off in its first epoch: begins again, with the supervised phase and the pseudo-labels it has
        (folder / "config.yaml").unlink(missing_ok=True)
    ready = _prepared(config, data, folder, division, cache, resume=begun, start=None if begun else start, say=say)
    if promptable is None:
        images = mining.epoch_images or len(division.labelled) + len(division.unlabelled)
        own = config.model_copy(update={"epoch_images": images, "seed": config.seed + SECOND})
        phase = Phase(
            KnowledgeMining(ready.network, config, learning_rate=mining.learning_rate),
            _labelled_batches(own, ready, division),
        )
    else:
        ready.facts["data"]["promptable"] = promptable.fingerprint
        ready.facts["promptable"] = promptable.name
        seen = open_embeddings(
            promptable, ready.training, cache, batch=EMBEDDED, device=device_of(accelerator),
            progress=decoding("training images", ready.say, "embedding"),
        )  # fmt: skip
        if mining.schedule == "continuous":
            phase = _continuous(config, ready, division, promptable, seen)
        else:
            labels = _labels(config, ready, division, promptable, seen, start, folder / LABELS, device_of(accelerator))
            phase = _one_time(config, ready, division, labels)
    return carry_out(
        phase.recipe, phase.batches, ready, config, data, folder, resume=begun, devices=1, nodes=1,
        accelerator=accelerator, after_epoch=after_epoch, epochs=mining.epochs, monitor=config.monitor,
    )  # fmt: skip


def _supervised(
    config: KnowledgeMiningConfig, data: Path, folder: Path, *, cache: Path, resume: bool, accelerator: str,
    say: Callable[[str], None], start: Path | None = None, after_epoch: Callable[[int, float], None] | None = None,
) -> Run:  # fmt: skip
    """The first phase: the labelled images alone."""
    division = divide(config, data, say)
    say(f"labelled: {len(division.labelled)} training images of {len(division.parts['train'])}")
    ready = _prepared(config, data, folder, division, cache, resume=resume, start=start, say=say)
    return carry_out(
        KnowledgeMining(ready.network, config, learning_rate=config.learning_rate),
        _labelled_batches(config, ready, division), ready, config, data, folder, resume=resume, devices=1, nodes=1,
        accelerator=accelerator, after_epoch=after_epoch, monitor=config.monitor,
    )  # fmt: skip


def _prepared(
    config: KnowledgeMiningConfig, data: Path, folder: Path, division: Division, cache: Path, *, resume: bool,
    start: Path | None, say: Callable[[str], None],
) -> Prepared:  # fmt: skip
    ready = prepare(config, data, folder, cache=cache, resume=resume, start=start, say=say, parts=division.parts)
    ready.facts["data"] |= {
        "labelled": len(division.labelled), "unlabelled": len(division.unlabelled), "division": division.key,
    }  # fmt: skip
    return ready


def _labelled_batches(config: KnowledgeMiningConfig, ready: Prepared, division: Division) -> DataLoader:
    part = _part(config, ready, division.labelled, config.batch_size)
    steps = max(1, (config.epoch_images or round(part.shares.sum())) // config.batch_size)
    sampler = PartSampler([part], steps=steps, seed=config.seed, size=config.preprocessing.size)
    return loader(_pictures(config, ready), sampler, config.workers)


def _continuous(
    config: KnowledgeMiningConfig, ready: Prepared, division: Division, promptable: Promptable, seen: Embeddings
) -> Phase:
    assert config.mining is not None
    recipe = KnowledgeMining(
        ready.network, config, learning_rate=config.mining.learning_rate, promptable=promptable,
        frames=ready.training.frames,
    )  # fmt: skip
    mask = _has_label(ready, division)
    data = MiningSet(_pictures(config, ready), mask, embeddings=seen)
    return Phase(recipe, _mixed_batches(config, ready, division, data))


def _one_time(config: KnowledgeMiningConfig, ready: Prepared, division: Division, labels: OneTimeLabels) -> Phase:
    assert config.mining is not None
    recipe = KnowledgeMining(ready.network, config, learning_rate=config.mining.learning_rate)
    used = labels.used(config.mining.gates)
    data = MiningSet(_pictures(config, ready), _has_label(ready, division), masks=labels, used=used)
    return Phase(recipe, _mixed_batches(config, ready, division, data))


def _mixed_batches(config: KnowledgeMiningConfig, ready: Prepared, division: Division, data: MiningSet) -> DataLoader:
    mining, few = config.mining, len(division.unlabelled)
    assert mining is not None
    everyone = len(division.labelled) + few
    count = mining.unlabelled_batch or min(max(round(config.batch_size * few / everyone), 1), config.batch_size - 1)
    parts = [
        _part(config, ready, division.labelled, config.batch_size - count),
        _part(config, ready, division.unlabelled, count),
    ]
    steps = max(1, (mining.epoch_images or everyone) // config.batch_size)
    sampler = PartSampler(parts, steps=steps, seed=config.seed + SECOND, size=config.preprocessing.size)
    return loader(data, sampler, config.workers)


def _part(config: KnowledgeMiningConfig, ready: Prepared, places: Sequence[int], count: int) -> Part:
    shares = [config.datasets.get(ready.training.samples[where].dataset, 1.0) for where in places]
    return Part(np.array(places), np.array(shares), count)


def _pictures(config: KnowledgeMiningConfig, ready: Prepared) -> SegmentationSet:
    return SegmentationSet(ready.training, config.preprocessing, config.augmentation)


def _has_label(ready: Prepared, division: Division) -> np.ndarray:
    found = np.zeros(len(ready.training), bool)
    found[list(division.labelled)] = True
    return found


def _labels(
    config: KnowledgeMiningConfig, ready: Prepared, division: Division, promptable: Promptable, seen: Embeddings,
    start: Path, home: Path, device: str,
) -> OneTimeLabels:  # fmt: skip
    """Make the pseudo-labels with the supervised phase's best network, and say how good they are if that is known."""
    assert config.mining is not None
    manifest = LabelManifest(
        images=ready.training.key, positions=division.unlabelled, student=digest(best_checkpoint(start)),
        teacher=promptable.name, fingerprint=promptable.fingerprint, prompts=config.mining.prompts, seed=config.seed,
    )  # fmt: skip
    labels = make_labels(
        load_run(start).network, config.preprocessing, promptable,
        lambda places: torch.from_numpy(np.asarray(seen.embedding[np.asarray(places)])),
        ready.training, home, manifest, batch=EMBEDDED, device=device,
        progress=decoding("unlabelled images", ready.say, "pseudo-labels of"),
    )  # fmt: skip
    used = labels.used(config.mining.gates)
    if not used.any():
        raise CutisError(
            f"{home}: none of {len(labels)} pseudo-labels is to be learned from ({labels.empty} are of images in which "
            "the network found nothing): train the supervised phase longer, or loosen mining.gates"
        )
    told = f"pseudo-labels: {used.sum()} of {len(labels)} are used, {labels.empty} of images in which nothing was found"
    kept = [row for where, row in zip(division.unlabelled, labels.labels, strict=True) if used[where]]
    dice = np.array([(row.dice, row.student_dice) for row in kept])
    if not np.isnan(dice).all():
        pseudo, student = np.nanmean(dice, axis=0)
        told += f"; Dice with the hidden truth {pseudo:.4f}, of the network itself {student:.4f}"
    ready.say(told)
    return labels


def _promptable(teacher: str | Promptable | None, accelerator: str) -> Promptable:
    if teacher is None:
        raise CutisError(
            "there is no promptable to mine: give --teacher (a run of 'cutis train prompting', or a folder with SAM's "
            "weights), or the field 'teacher'"
        )
    return load_promptable(teacher, device_of(accelerator)) if isinstance(teacher, str) else teacher


def _remember(config: KnowledgeMiningConfig, folder: Path, start: Path | None, resume: bool) -> None:
    """Write what is asked for, or refuse if the folder holds something else."""
    asked = {
        "config": config.model_dump(mode="json", exclude={"workers"}),
        "start": digest(best_checkpoint(start)) if start else None,
    }
    path = folder / ASKED
    if path.exists() and not resume:
        raise CutisError(f"{folder} holds a run already: give another --output, or --resume to go on with it")
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != asked:
        raise CutisError(f"{folder} was begun with another configuration or start: resume with the same")
    if resume and not path.exists():
        raise CutisError(f"{folder} holds no run: nothing to resume; leave --resume out")
    atomic_write(path, json.dumps(asked, indent=1))


def _same_labels(config: KnowledgeMiningConfig, start: Path) -> None:
    """The run in `start` learned from no label that is hidden here, as far as its configuration tells."""
    if recipe_of(start) != config.recipe:
        return
    before, _ = read_folder(start, KnowledgeMiningConfig)
    for name in ("labelled", "datasets", "split"):
        if getattr(before, name) != getattr(config, name):
            raise CutisError(
                f"{start} was trained with another '{name}' than this run: labels that are hidden here may have been "
                "seen there; begin from a run with the same"
            )
