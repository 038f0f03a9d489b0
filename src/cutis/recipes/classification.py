"""Runs of classifiers: `train_classifier` makes a run folder, `load_classifier_run` opens one.

SE-LCN, Sec. 4.1.2, 4.1.3 and 5.2. Which images: by lesion (`split`) or K folds (`Folds`), test images apart. The lesion
network's run is given the run of the symmetry network whose maps it takes; that one is never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cutis.data.augment import Augmentation
from cutis.data.batches import EachOnce, KeySampler, loader, plain_batches
from cutis.data.cache import SegmentationCache, open_cache, recoloured
from cutis.data.catalogue import open_dataset
from cutis.data.class_batches import ClassificationSet, Entries, balanced, each_once
from cutis.data.labels import Task, label_indices, refuse_absent
from cutis.data.samples import Sample
from cutis.data.splits import kfold, split
from cutis.errors import CutisError
from cutis.imaging.lesion_area import Masking
from cutis.imaging.preprocessing import Preprocessing
from cutis.losses.classification import class_weights, symmetry_weights
from cutis.models.pretrained import load_pretrained, refit_batch_norm
from cutis.recipes.classification_config import ClassificationConfig, Folds
from cutis.recipes.classifier import Classifier
from cutis.recipes.config import load_config, parse_flags
from cutis.recipes.engine import EngineOptions, fit
from cutis.recipes.folder import (
    begin,
    best_checkpoint,
    build,
    decoding,
    device_count,
    digest,
    is_first_process,
    read_folder,
    restore,
    same_data,
    silent,
    take_over,
    thin,
    versions,
)
from cutis.recipes.predicted_masks import with_masks_of
from cutis.recipes.run import Run, load_segmenter
from cutis.recipes.symmetry_maps import maps_key, symmetry_maps

__all__ = [
    "ClassifierRun",
    "class_parts",
    "load_classifier_run",
    "loss_weights",
    "train_classifier",
    "train_from_file",
]

Say = Callable[[str], None]


@dataclass(frozen=True)
class ClassifierRun:
    """A trained classifier in evaluation mode, and all that is needed to use it."""

    folder: Path
    config: ClassificationConfig
    network: nn.Module
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def preprocessing(self) -> Preprocessing:
        return self.config.preprocessing

    @property
    def classes(self) -> tuple[str, ...]:
        return self.config.classes

    @property
    def masking(self) -> Masking:
        return self.config.masking


def load_classifier_run(folder: Path) -> ClassifierRun:
    """Open a run folder: the network with the best (averaged) weights, on the CPU, in evaluation mode."""
    config, facts = read_folder(folder, ClassificationConfig)
    best_checkpoint(folder)
    return ClassifierRun(folder, config, restore(build(config.network, config.seed), folder), facts)


def class_parts(config: ClassificationConfig, data: Path) -> dict[str, tuple[Sample, ...]]:
    """'train', 'validation', 'test': the run's samples, each with a class that the network knows.

    CutisError for an unknown class, an image in two classes, a class that training or validation lack.
    """
    samples: list[Sample] = []
    for name in config.datasets:
        dataset = open_dataset(data, name)
        if not len(dataset):
            raise CutisError(f"{data} holds no images of {name}: give the folder that holds the data sets of the run")
        samples += [sample for sample in dataset if sample.label not in config.leave_out]
    label_indices(samples, config.task, config.classes)
    parts = _folded(samples, config.split) if isinstance(config.split, Folds) else _split(samples, config)
    for part in ("train", "validation"):
        refuse_absent(label_indices(parts.get(part, ()), config.task, config.classes), config.classes, part)
    return parts


def _split(samples: list[Sample], config: ClassificationConfig) -> dict[str, tuple[Sample, ...]]:
    assert not isinstance(config.split, Folds)
    return split(samples, config.split.fractions, config.split.seed)


def _folded(samples: list[Sample], folds: Folds) -> dict[str, tuple[Sample, ...]]:
    """Test share first, then K stratified parts of the rest.

    The test share goes by the lesion's name alone, so it is the same for all folds and in every data set: a test lesion
    of HAM10000 is never trained on by the symmetry network, whose images are partly HAM10000's.
    """
    known = {(sample.dataset, sample.id): sample for sample in samples}
    if folds.grouping == "image":  # as the paper: every image a lesion of its own
        samples = [replace(sample, group=sample.id) for sample in samples]
    shares = {"rest": 1 - folds.test, "test": folds.test} if folds.test else {"rest": 1.0}
    sides = split(samples, shares, folds.seed)
    train, validation = kfold(sides["rest"], folds.count, folds.seed + 1)[folds.fold]
    parts = {"train": train, "validation": validation, "test": sides.get("test", ())}
    return {
        name: tuple(known[sample.dataset, sample.id] for sample in sorted(part, key=lambda s: (s.dataset, s.id)))
        for name, part in parts.items()
        if part
    }


def loss_weights(config: ClassificationConfig, labels: NDArray[np.int64]) -> Tensor:
    """(K,): the classes' weights in the loss (Eq. 5, to the power that the configuration says), of training images."""
    counts = np.bincount(labels, minlength=len(config.classes)).tolist()
    weights = symmetry_weights(counts) if config.weigh == "symmetric" else class_weights(counts)
    return weights**config.class_weights


def train_classifier(
    config: ClassificationConfig,
    data: Path,
    folder: Path,
    *,
    cache: Path,
    resume: bool,
    symmetry: Path | None = None,
    segmenter: Path | None = None,
    start: Path | None = None,
    devices: int | str = 1,
    nodes: int = 1,
    accelerator: str = "auto",
    say: Say = print,
    after_epoch: Callable[[int, float], None] | None = None,
) -> ClassifierRun:
    """Train as `config` says on the data sets below `data`; everything that comes of it is in `folder`.

    `symmetry`: the run whose maps the lesion network takes. `segmenter`: the run whose masks take the place of the data
    sets' own. `start`: a run whose best weights are the first ones. With several `devices` each runs this function in a
    process of its own; the first one alone writes and says. `after_epoch` is told each epoch's value of `select`.
    """
    first = is_first_process()
    if not first:
        say = silent
    elif (folder / "config.yaml").exists() and not resume:
        raise CutisError(f"{folder} holds a run already: give another --output, or --resume to go on with it")
    _check_symmetry(config, symmetry)
    network = build(config.network, config.seed)
    config, facts, folded = _weights(config, network, say)
    parts = class_parts(config, data)
    train, validation = parts["train"], thin(parts["validation"], config.validation_images)
    sources = Sources(
        load_classifier_run(symmetry) if symmetry else None, load_segmenter(segmenter) if segmenter else None, cache
    )
    sides = [
        _side(config, samples, sources, what, say)
        for samples, what in ((train, "training"), (validation, "validation"))
    ]
    facts |= _facts(config, network, parts, sides) | sources.facts()
    if folded and not resume:
        plain = plain_batches(_pictures(config, sides[0], sides[0].entries, None), config.preprocessing.size)
        refit_batch_norm(network.trunk, (batch.image for batch in plain))
    if start:
        facts["start"] = take_over(network, load_classifier_run(start).network, start)
    if resume:
        facts = same_data(folder, facts) | facts
    if first:
        begin(folder, config, facts)
    torch.set_float32_matmul_precision("high")
    batches, labels = _training_batches(config, sides[0])
    checks = _pictures(config, sides[1], sides[1].entries, None)
    order = EachOnce(len(checks), config.preprocessing.size, config.batch_size)
    groups = tuple(sides[1].cache.samples[where].dataset for where in sides[1].entries.where)
    options = EngineOptions(
        config.epochs, config.accumulate, config.clip_norm, config.average, config.precision, config.patience,
        groups, devices, nodes, accelerator, config.select, after_epoch,
    )  # fmt: skip
    weights = loss_weights(config, labels)
    fit(Classifier(network, weights, config), batches, loader(checks, order, 0), options, folder, resume=resume)
    say(f"done: {folder}")
    return load_classifier_run(folder)


def train_from_file(
    task: Task,
    config: Path,
    flags: Sequence[str],
    data: Path,
    output: Path | None,
    *,
    weights: str | None,
    devices: str,
    **rest: Any,
) -> ClassifierRun:
    """`train_classifier` as the command line calls it: a YAML file and flags, run folder runs/<name> unless given."""
    overrides = parse_flags(flags) | ({"weights": weights} if weights else {})
    settings = load_config(config, overrides, ClassificationConfig)
    if settings.task != task:
        raise CutisError(f"{config} is of the task {settings.task}, not {task}: train it with its own verb")
    folder = output or Path("runs") / settings.name
    return train_classifier(settings, data, folder, devices=device_count(devices), **rest)


@dataclass(frozen=True)
class Side:
    """Training's or validation's images, as the batches want them."""

    cache: SegmentationCache
    labels: NDArray[np.int64]
    entries: Entries
    maps: NDArray[np.float32] | None
    key: str


@dataclass(frozen=True)
class Sources:
    """The trained networks that a run learns with, frozen, and where what they make is kept."""

    symmetry: ClassifierRun | None
    segmenter: Run | None
    cache: Path

    def facts(self) -> dict[str, Any]:
        runs = {"symmetry": self.symmetry, "segmenter": self.segmenter}
        return {
            name: {"folder": str(run.folder), "sha256": digest(best_checkpoint(run.folder))}
            for name, run in runs.items()
            if run
        }


def _side(config: ClassificationConfig, samples: tuple[Sample, ...], sources: Sources, what: str, say: Say) -> Side:
    labels, device = label_indices(samples, config.task, config.classes), "cuda" if torch.cuda.is_available() else "cpu"
    masked = [config.masking] + ([sources.symmetry.masking] if sources.symmetry else [])
    if sources.segmenter and masked != ["none"] * len(masked):
        told = decoding(f"masks of {what}", say, "predicting")
        samples = with_masks_of(sources.segmenter, samples, sources.cache, told, device)
    steps, needed = config.preprocessing, config.masking != "none"
    decoded = open_cache(samples, steps.size, sources.cache, decoding(f"{what} images", say), masks=needed)
    squares = recoloured(decoded, steps, decoding(f"{what} images", say, "recolouring"))
    entries, key, maps = each_once(len(samples)), squares.key, None
    if needed:
        shown = np.array([mask.any() for mask in squares.masks])
        if not shown.all():
            say(f"{(~shown).sum()} {what} images have an empty mask, so nothing of them is left: they are left out")
        entries = Entries(entries.where[shown], entries.turn[shown])
        refuse_absent(labels[shown], config.classes, what)
    if sources.symmetry:
        told = decoding(f"symmetry maps of {what} images", say, "making")
        maps = symmetry_maps(samples, sources.symmetry, sources.cache, told, device)
        key = f"{key}+{maps_key(samples, sources.symmetry)}"
    return Side(squares, labels, entries, maps, key)


def _training_batches(config: ClassificationConfig, side: Side) -> tuple[DataLoader, NDArray[np.int64]]:
    """The augmented batches, and the class of every image that an epoch is drawn from."""
    entries = side.entries
    if config.balance:
        chosen = balanced(side.labels[entries.where], config.balance, config.seed)
        entries = Entries(entries.where[chosen.where], chosen.turn)
    labels = side.labels[entries.where]
    counts = np.bincount(labels, minlength=len(config.classes))
    drawn = np.array([config.datasets[side.cache.samples[where].dataset] for where in entries.where])
    shares = drawn * (counts.max() / counts[labels]) ** config.even
    images = config.epoch_images or round(drawn.sum())
    size = config.preprocessing.size
    sampler = KeySampler(
        shares, max(1, images // config.batch_size), config.batch_size, config.seed, lambda epoch: size
    )
    pictures = _pictures(config, side, entries, config.augmentation)
    return loader(pictures, sampler, config.workers), labels


def _check_symmetry(config: ClassificationConfig, symmetry: Path | None) -> None:
    if config.takes_map and symmetry is None:
        raise CutisError(
            f"{config.name} fuses the symmetry network's map: give its run with --symmetry, or train the baseline "
            "without it (--network.options.activation false)"
        )
    if symmetry and not config.takes_map:
        raise CutisError(f"{config.name} takes no map: leave --symmetry out")
    if symmetry and load_classifier_run(symmetry).config.task != "symmetry":
        raise CutisError(f"{symmetry} is no run of the symmetry network: give a run of 'cutis train symmetry'")


def _weights(
    config: ClassificationConfig, network: nn.Module, say: Say
) -> tuple[ClassificationConfig, dict[str, Any], bool]:
    """Load the weights to begin from; the configuration with the mean and std they want; are their norms folded?"""
    source = Path(config.weights) if config.weights not in (None, "imagenet") else config.weights
    loaded = load_pretrained(network.trunk, config.network.options["backbone"], source)
    say(f"the trunk starts {loaded.said}")
    wanted = {name: tuple(value) for name, value in (("mean", loaded.mean), ("std", loaded.std)) if value is not None}
    steps = config.preprocessing.model_copy(update=wanted)
    if steps != config.preprocessing:
        say(f"mean and std are those of the weights: {steps.mean}, {steps.std}")
    return config.changed(preprocessing=steps.model_dump()), {"weights": loaded.said}, loaded.folded


def _pictures(
    config: ClassificationConfig, side: Side, entries: Entries, augmentation: Augmentation | None
) -> ClassificationSet:
    return ClassificationSet(
        side.cache, side.labels, config.preprocessing, config.masking,
        entries=entries, augmentation=augmentation, maps=side.maps,
    )  # fmt: skip


def _facts(
    config: ClassificationConfig, network: nn.Module, parts: dict[str, tuple[Sample, ...]], sides: list[Side]
) -> dict[str, Any]:
    counts = {}
    for part, samples in parts.items():
        found = np.bincount(label_indices(samples, config.task, config.classes), minlength=len(config.classes))
        counts[part] = dict(zip(config.classes, found.tolist(), strict=True))
    return {
        "versions": versions(),
        "data": {"training": sides[0].key, "validation": sides[1].key, "counts": counts},
        "parameters": sum(p.numel() for p in network.parameters()),
    }
