"""A run folder: what was asked (config.yaml), with what (run.json), and what came of it (checkpoints/, logs/).

`train_supervised` makes one; `load_run` opens one to evaluate, export or train on.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn
from torch.utils.data import DataLoader

import cutis.models  # noqa: F401  (registers the networks)
from cutis.data.batches import EachOnce, KeySampler, SegmentationSet, loader
from cutis.data.cache import SegmentationCache, open_cache
from cutis.data.catalogue import open_dataset
from cutis.data.samples import Sample
from cutis.data.splits import split
from cutis.errors import CutisError
from cutis.files import atomic_write
from cutis.imaging.preprocessing import Preprocessing
from cutis.recipes.config import SupervisedConfig
from cutis.recipes.engine import EngineOptions, fit
from cutis.recipes.supervised import Supervised
from cutis.registry import models

__all__ = ["Run", "load_run", "parts_of", "train_supervised"]


@dataclass(frozen=True)
class Run:
    """A trained network in evaluation mode, and all that is needed to use it."""

    folder: Path
    config: SupervisedConfig
    network: nn.Module
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def preprocessing(self) -> Preprocessing:
        return self.config.preprocessing

    @property
    def threshold(self) -> float:
        return self.config.threshold


def load_run(folder: Path) -> Run:
    """Open a run folder: the network with the best (averaged) weights, on the CPU, in evaluation mode."""
    try:
        config = SupervisedConfig.model_validate(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")))
        facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CutisError(f"{folder} is not a run folder ({error}): give a folder that 'cutis train' made") from error
    checkpoint = folder / "checkpoints" / "best.ckpt"
    if not checkpoint.exists():
        raise CutisError(f"{checkpoint} is not there: the run has not finished its first epoch yet")
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    network = build_network(config)
    network.load_state_dict({k.removeprefix("networks.network."): v for k, v in state.items()})
    return Run(folder, config, network.eval(), facts)


def build_network(config: SupervisedConfig) -> nn.Module:
    torch.manual_seed(config.seed)
    return models.build(config.network.name, **config.network.options).to(memory_format=torch.channels_last)


def parts_of(config: SupervisedConfig, data: Path) -> dict[str, tuple[Sample, ...]]:
    """'train', 'validation', 'test', ...: the samples with masks of every data set of the run, split by lesion over all of them."""
    samples = [sample for name in config.datasets for sample in open_dataset(data, name) if sample.mask is not None]
    return split(samples, config.split.fractions, config.split.seed)


def train_supervised(
    config: SupervisedConfig,
    data: Path,
    folder: Path,
    *,
    cache: Path,
    resume: bool,
    devices: int | str = 1,
    nodes: int = 1,
    accelerator: str = "auto",
    say: Callable[[str], None] = print,
) -> Run:
    """Train as `config` says on the data sets below `data`; everything that comes of it is in `folder`."""
    if (folder / "config.yaml").exists() and not resume:
        raise CutisError(f"{folder} holds a run already: give another --output, or --resume to go on with it")
    parts = parts_of(config, data)
    train, validation = parts["train"], _thin(parts["validation"], config.validation_images)
    if not train or not validation:
        raise CutisError(f"{data}: {len(train)} training and {len(validation)} validation images: both are needed")
    size = config.preprocessing.size
    caches = [
        _cache(samples, size, cache, what, say) for samples, what in ((train, "training"), (validation, "validation"))
    ]
    facts = _facts(config, parts, caches)
    if resume:
        _same_data(folder, facts)
    atomic_write(folder / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    atomic_write(folder / "run.json", json.dumps(facts, indent=1))
    torch.set_float32_matmul_precision("high")
    recipe = Supervised(
        build_network(config),
        config.loss,
        config.learning_rate,
        config.weight_decay,
        warmup=config.warmup_epochs / config.epochs,
        threshold=config.threshold,
    )
    options = EngineOptions(
        config.epochs, config.accumulate, config.clip_norm, config.average, config.precision, config.patience,
        tuple(sample.dataset for sample in validation), devices, nodes, accelerator,
    )  # fmt: skip
    batches = training_batches(config, caches[0])
    checks = loader(
        SegmentationSet(caches[1], config.preprocessing, None), EachOnce(len(validation), size, config.batch_size), 0
    )
    fit(recipe, batches, checks, options, folder, resume=resume)
    return load_run(folder)


def training_batches(config: SupervisedConfig, cache: SegmentationCache) -> DataLoader:
    """The augmented batches of a run: each data set drawn as often as the configuration says, at its phase's size."""
    shares = np.array([config.datasets[sample.dataset] for sample in cache.samples])
    images = config.epoch_images or round(shares.sum())

    def side(epoch: int) -> int:
        return [phase.size for phase in config.phases if phase.start <= epoch][-1]

    sampler = KeySampler(shares, max(1, images // config.batch_size), config.batch_size, config.seed, side)
    return loader(SegmentationSet(cache, config.preprocessing, config.augmentation), sampler, config.workers)


def _cache(
    samples: Sequence[Sample], size: int, folder: Path, what: str, say: Callable[[str], None]
) -> SegmentationCache:
    def progress(done: int, total: int) -> None:
        if done == total or done % 1000 == 0:
            say(f"decoding {what} images: {done} of {total}")

    return open_cache(samples, size, folder, progress)


def _thin(samples: Sequence[Sample], most: int | None) -> tuple[Sample, ...]:
    """At most `most` samples, the same share of every data set, the first in hash order as the split left them."""
    if most is None or len(samples) <= most:
        return tuple(samples)
    kept = np.linspace(0, len(samples) - 1, most).round().astype(int)
    by_set = sorted(samples, key=lambda sample: sample.dataset)
    return tuple(by_set[index] for index in kept)


def _facts(
    config: SupervisedConfig, parts: dict[str, tuple[Sample, ...]], caches: Sequence[SegmentationCache]
) -> dict[str, Any]:
    packages = ("cutis", "torch", "torchvision", "lightning", "numpy", "opencv-python-headless", "pillow")
    counts = {
        part: {name: sum(s.dataset == name for s in samples) for name in config.datasets}
        for part, samples in parts.items()
    }
    return {
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}},
        "data": {"training": caches[0].key, "validation": caches[1].key, "counts": counts},
        "parameters": sum(p.numel() for p in build_network(config).parameters()),
    }


def _same_data(folder: Path, facts: dict[str, Any]) -> None:
    before = json.loads((folder / "run.json").read_text(encoding="utf-8"))["data"]
    if before != facts["data"]:
        raise CutisError(f"{folder} was trained on other images than these: resume with the same data, split and size")
