"""A run of knowledge mining: the supervised phase, then the mining phase that begins with its best weights.

Knowledge mining, Fig. 1, Sec. 2.3-2.5 and A.1. The run folder is the mining phase's; `supervised/` in it is a run
folder of the supervised phase, made first unless another run is given to begin from, and `pseudo_labels/` holds
one-time pseudo-labels. A run that was cut off goes on where it was, with the pseudo-labels that it has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cutis.data.batches import SegmentationSet, loader
from cutis.data.mining_batches import Embeddings, MiningSampler, MiningSet
from cutis.errors import CutisError
from cutis.files import atomic_write
from cutis.mining.one_time import LabelManifest, OneTimeLabels, make_labels
from cutis.recipes.config import load_config, parse_flags
from cutis.recipes.folder import best_checkpoint, decoding, digest, read_folder, recipe_of, stage
from cutis.recipes.knowledge_mining import KnowledgeMining
from cutis.recipes.knowledge_mining_config import KnowledgeMiningConfig
from cutis.recipes.mining_division import Division, divide
from cutis.recipes.run import Prepared, Run, carry_out, load_run, prepare, training_batches
from cutis.recipes.teaching import device_of
from cutis.teachers.base import Live
from cutis.teachers.promptable import Promptable

__all__ = ["train_knowledge_mining", "train_knowledge_mining_from_file"]

SUPERVISED, LABELS, ASKED = "supervised", "pseudo_labels", "mining.json"
SECOND = 1_000_003  # the second phase draws other batches than the first
EMBEDDED = 8  # images at a time


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
    pretrained = start if start is not None and recipe_of(start) == "contrastive" else None
    if config.mining is None:
        return _supervised(config, data, folder, resume=resume, start=start, after_epoch=after_epoch, **common)
    mines = config.mining.schedule != "supervised"
    promptable = _promptable(teacher or config.teacher, accelerator) if mines else None
    _remember(config, folder, start, resume)
    division = divide(config, data, say)
    if start is None or pretrained:
        start = folder / SUPERVISED
        first = config.model_copy(update={"mining": None})
        stage(_supervised, first, data, start, say, common | {"start": pretrained})
    _same_labels(config, start)
    begun = (folder / "checkpoints" / "last.ckpt").exists()
    if not begun:  # cut off in its first epoch: begins again, with the supervised phase and the pseudo-labels it has
        (folder / "config.yaml").unlink(missing_ok=True)
    ready = prepare(
        config, data, folder, cache=cache, resume=begun, start=None if begun else start, say=say,
        parts=division.training(both=mines),
    )  # fmt: skip
    if mines:
        assert promptable is not None
        recipe, batches = _mining(config, ready, division, promptable, start, folder, cache, accelerator)
    else:
        recipe, batches = _control(config, ready, division)
    return carry_out(
        recipe, batches, ready, config, data, folder, resume=begun, devices=1, nodes=1, accelerator=accelerator,
        after_epoch=after_epoch, epochs=config.mining.epochs, monitor=config.monitor,
    )  # fmt: skip


def train_knowledge_mining_from_file(
    config: Path, fields: Sequence[str], data: Path, output: Path | None, *, teacher: str | None, cache: Path,
    resume: bool, start: Path | None, accelerator: str,
) -> Run:  # fmt: skip
    """`cutis train knowledge-mining`: a YAML file, flags that win over it, runs/<name> unless `output` is given."""
    settings = load_config(config, parse_flags(fields), KnowledgeMiningConfig)
    return train_knowledge_mining(
        settings, data, output or Path("runs") / settings.name, cache=cache, resume=resume, teacher=teacher,
        start=start, accelerator=accelerator,
    )  # fmt: skip


def _supervised(
    config: KnowledgeMiningConfig, data: Path, folder: Path, *, cache: Path, resume: bool, accelerator: str,
    say: Callable[[str], None], start: Path | None = None, after_epoch: Callable[[int, float], None] | None = None,
) -> Run:  # fmt: skip
    """The first phase: the labelled images alone."""
    division = divide(config, data, say)
    say(f"labelled: {len(division.labelled)} training images of {len(division.labelled) + len(division.unlabelled)}")
    parts = division.training(both=False)
    ready = prepare(config, data, folder, cache=cache, resume=resume, start=start, say=say, parts=parts)
    pictures = SegmentationSet(ready.training, config.preprocessing, config.augmentation)
    return carry_out(
        KnowledgeMining(ready.network, config, learning_rate=config.learning_rate),
        training_batches(config, ready.training, pictures), ready, config, data, folder, resume=resume, devices=1,
        nodes=1, accelerator=accelerator, after_epoch=after_epoch, monitor=config.monitor,
    )  # fmt: skip


def _control(config: KnowledgeMiningConfig, ready: Prepared, division: Division) -> tuple[KnowledgeMining, Any]:
    """The second phase without pseudo-labels: as many steps on the labelled images."""
    assert config.mining is not None
    own = config.model_copy(
        update={"epoch_images": _steps(config, division) * config.batch_size, "seed": config.seed + SECOND}
    )
    pictures = SegmentationSet(ready.training, config.preprocessing, config.augmentation)
    recipe = KnowledgeMining(ready.network, config, learning_rate=config.mining.learning_rate)
    return recipe, training_batches(own, ready.training, pictures)


def _mining(
    config: KnowledgeMiningConfig, ready: Prepared, division: Division, promptable: Promptable, start: Path,
    folder: Path, cache: Path, accelerator: str,
) -> tuple[KnowledgeMining, Any]:  # fmt: skip
    """The second phase, with pseudo-labels by either schedule."""
    mining, known, count = config.mining, len(division.labelled), len(ready.training)
    assert mining is not None
    ready.facts["data"] |= {"labelled": known, "unlabelled": count - known, "promptable": promptable.fingerprint}
    ready.facts["teacher"] = {"promptable": promptable.name, "fingerprint": promptable.fingerprint}
    seen = _seen(promptable, ready, known, device_of(accelerator))
    pictures = SegmentationSet(ready.training, config.preprocessing, config.augmentation)
    if mining.schedule == "continuous":
        data = MiningSet(pictures, known, embeddings=seen)
        recipe = KnowledgeMining(
            ready.network, config, learning_rate=mining.learning_rate, promptable=promptable,
            frames=ready.training.frames,
        )  # fmt: skip
    else:
        labels = _one_time(config, ready, promptable, seen, known, start, folder / LABELS, device_of(accelerator))
        data = MiningSet(pictures, known, masks=labels, used=labels.used(mining.gates))
        recipe = KnowledgeMining(ready.network, config, learning_rate=mining.learning_rate)
    few = mining.unlabelled_batch or round(config.batch_size * (count - known) / count)
    sampler = MiningSampler(
        np.array([config.datasets.get(sample.dataset, 1.0) for sample in ready.training.samples]), labelled=known,
        unlabelled=min(max(few, 1), config.batch_size - 1), steps=_steps(config, division),
        batch_size=config.batch_size, seed=config.seed + SECOND, size=config.preprocessing.size,
    )  # fmt: skip
    return recipe, loader(data, sampler, config.workers)


class _Seen:
    def __init__(self, embedding: np.ndarray) -> None:
        self.embedding = embedding


def _seen(promptable: Promptable, ready: Prepared, known: int, device: str) -> Embeddings:
    """The promptable's embeddings of the unlabelled images."""
    source, parts = Live(promptable, ready.training, device), []
    for start in range(known, len(ready.training), EMBEDDED):
        squares = np.stack([source._square(i) for i in range(start, min(start + EMBEDDED, len(ready.training)))])
        image = torch.from_numpy(squares).to(device).permute(0, 3, 1, 2).float() / 255
        parts.append(promptable.embed(image).half().cpu().numpy())
    return _Seen(np.concatenate(parts))


def _one_time(
    config: KnowledgeMiningConfig, ready: Prepared, promptable: Promptable, seen: Embeddings, known: int, start: Path,
    home: Path, device: str,
) -> OneTimeLabels:  # fmt: skip
    """Make the pseudo-labels with the supervised phase's best network, and say how good they are if that is known."""
    assert config.mining is not None
    manifest = LabelManifest(
        images=ready.training.key, positions=tuple(range(known, len(ready.training))),
        student=digest(best_checkpoint(start)), teacher=promptable.name, fingerprint=promptable.fingerprint,
        prompts=config.mining.prompts, seed=config.seed,
    )  # fmt: skip
    labels = make_labels(
        load_run(start).network, config.preprocessing, promptable,
        lambda positions: torch.from_numpy(np.stack([seen.embedding[position - known] for position in positions])),
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
    dice = np.array([[row.dice, row.student_dice] for row in labels.labels])[used]
    if not np.isnan(dice).all():
        pseudo, student = np.nanmean(dice, axis=0)
        told += f"; Dice with the hidden truth {pseudo:.4f}, of the network itself {student:.4f}"
    ready.say(told)
    return labels


def _steps(config: KnowledgeMiningConfig, division: Division) -> int:
    """Of an epoch of the second phase, the same for every schedule."""
    assert config.mining is not None
    images = config.mining.epoch_images or len(division.labelled) + len(division.unlabelled)
    return max(1, images // config.batch_size)


def _promptable(teacher: str | Promptable | None, accelerator: str) -> Promptable:
    if teacher is None:
        raise CutisError(
            "there is no promptable to mine: give --teacher (a run of 'cutis train prompting', or a folder with SAM's "
            "weights), or the field 'teacher'"
        )
    if not isinstance(teacher, str):
        return teacher
    from cutis.recipes.promptables import load_promptable

    return load_promptable(teacher, device_of(accelerator))


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
