"""A run folder: what was asked (config.yaml), with what (run.json), and what came of it (checkpoints/, logs/).

`train_supervised` makes one; `load_run` opens one of any segmenter's recipe to evaluate, export or train on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from cutis.data.batches import Collated, EachOnce, Key, KeySampler, SegmentationSet, loader, plain_batches
from cutis.data.cache import SegmentationCache, open_cache, uniform
from cutis.data.catalogue import open_dataset
from cutis.data.samples import Sample
from cutis.data.splits import kfold, split
from cutis.errors import CutisError
from cutis.imaging.preprocessing import Preprocessing
from cutis.layers.effu import gates_of
from cutis.models.pretrained import refit_batch_norm
from cutis.models.unets import fill_encoder
from cutis.recipes.adversarial_config import AdversarialConfig
from cutis.recipes.config import SegmentationConfig, SupervisedConfig
from cutis.recipes.contrastive_config import ContrastiveConfig
from cutis.recipes.distillation_config import DistillationConfig
from cutis.recipes.engine import EngineOptions, fit
from cutis.recipes.folder import (
    begin,
    best_checkpoint,
    build,
    decoding,
    is_first_process,
    read_folder,
    recipe_of,
    restore,
    same_data,
    silent,
    take_over,
    task_of,
    thin,
    versions,
)
from cutis.recipes.knowledge_mining_config import KnowledgeMiningConfig
from cutis.recipes.prompting_config import PromptingConfig
from cutis.recipes.quantization_config import QuantizationConfig
from cutis.recipes.recipe import Recipe
from cutis.recipes.supervised import Supervised

__all__ = [
    "CONFIGS",
    "Prepared",
    "Run",
    "as_they_are",
    "carry_out",
    "load_run",
    "load_segmenter",
    "parts_of",
    "prepare",
    "train_supervised",
]

CONFIGS: Mapping[str, type[SegmentationConfig]] = {
    "supervised": SupervisedConfig,
    "distillation": DistillationConfig,
    "adversarial": AdversarialConfig,
    "prompting": PromptingConfig,
    "knowledge_mining": KnowledgeMiningConfig,
    "contrastive": ContrastiveConfig,
    "quantization": QuantizationConfig,
}
"""The field `recipe` of a segmenter's configuration ('supervised' where there is none) -> what validates it."""
_NO_SEGMENTER = {
    "contrastive": "has trained an encoder and no masks: train on from it with 'cutis train ... --start'",
    "prompting": "finds what it is pointed to: see 'cutis evaluate-prompts' and 'cutis analyze --box'",
}


@dataclass(frozen=True)
class Run:
    """A trained network in evaluation mode, and all that is needed to use it."""

    folder: Path
    config: SegmentationConfig
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
    config, facts = read_folder(folder, CONFIGS.get(recipe_of(folder), SupervisedConfig))
    best_checkpoint(folder)  # missing is said before a network is built
    return Run(folder, config, restore(build_network(config), folder), facts)


def load_segmenter(folder: Path) -> Run:
    """`load_run` of what finds lesions by itself; a run of another task, or that only prepared one, is refused."""
    if (task := task_of(folder)) != "segmentation":
        raise CutisError(f"{folder} is a run of task {task}: give a segmenter's")
    if reason := _NO_SEGMENTER.get(recipe_of(folder)):
        raise CutisError(f"{folder} {reason}")
    return load_run(folder)


def build_network(config: SegmentationConfig) -> nn.Module:
    """The network with the weights it starts from, as the seed gives them; the global random state stays as it is."""
    return build(config.network, config.seed)


def parts_of(
    config: SegmentationConfig, data: Path, say: Callable[[str], None] = lambda text: None
) -> dict[str, tuple[Sample, ...]]:
    """'train', 'validation', 'test', ...: the samples with masks of the run's data sets, split by lesion over all.

    `say` is told how many of each data set are left out, and why.
    """
    samples: list[Sample] = []
    for name in config.datasets:
        dataset = open_dataset(data, name)
        if not len(dataset):
            raise CutisError(f"{data} holds no images of {name}: give the folder that holds the data sets of the run")
        masked = [sample for sample in dataset if sample.mask is not None]
        if not masked:
            raise CutisError(f"{name} below {data} has no masks to learn from: take it out of the field 'datasets'")
        reasons = {
            "without a mask": len(dataset) - len(masked),
            "named by its tables but not there": len(dataset.absent),
            "masks without their image": len(dataset.orphans),
        }
        if any(reasons.values()):
            say(
                f"{name}: left out {', '.join(f'{n} {why}' for why, n in reasons.items() if n)}; {len(masked)} are used"
            )
        samples += masked
    parts = split(samples, config.split.fractions, config.split.seed)
    if held := config.split.held_out:
        pool = (*parts.get("train", ()), *parts.get("validation", ()))
        parts["train"], parts["validation"] = kfold(pool, held.folds, config.split.seed)[held.fold]
    return parts


def train_supervised(
    config: SupervisedConfig,
    data: Path,
    folder: Path,
    *,
    cache: Path,
    resume: bool,
    start: Path | None = None,
    devices: int | str = 1,
    nodes: int = 1,
    accelerator: str = "auto",
    say: Callable[[str], None] = print,
    after_epoch: Callable[[int, float], None] | None = None,
) -> Run:
    """Train as `config` says on the data sets below `data`; everything that comes of it is in `folder`.

    `start`: a run folder whose best weights are the first ones, instead of what the seed gives.
    With several `devices` each runs this function in a process of its own; the first one alone writes and says.
    """
    ready = prepare(config, data, folder, cache=cache, resume=resume, start=start, say=say)
    for gate in gates_of(ready.network):
        gate.settle()  # nothing here would teach it
    recipe = Supervised(
        ready.network,
        config.loss,
        config.learning_rate,
        config.weight_decay,
        warmup=config.warmup_epochs / config.epochs,
        threshold=config.threshold,
    )
    batches = training_batches(config, ready.training)
    return carry_out(
        recipe, batches, ready, config, data, folder, resume=resume, devices=devices, nodes=nodes,
        accelerator=accelerator, after_epoch=after_epoch,
    )  # fmt: skip


@dataclass(frozen=True)
class Prepared:
    """What every segmenter's recipe begins with: both parts decoded, the network, the facts for run.json."""

    training: SegmentationCache
    validation: SegmentationCache
    network: nn.Module
    facts: dict[str, Any]
    say: Callable[[str], None]


def prepare(
    config: SegmentationConfig, data: Path, folder: Path, *, cache: Path, resume: bool, start: Path | None,
    say: Callable[[str], None], parts: Mapping[str, tuple[Sample, ...]] | None = None,
) -> Prepared:  # fmt: skip
    """Decode the images of the run and build its network; nothing is written into `folder` yet.

    `parts`: another division than `parts_of` gives; training images without a mask are then allowed.
    """
    if not is_first_process():
        say = silent
    elif (folder / "config.yaml").exists() and not resume:
        raise CutisError(f"{folder} holds a run already: give another --output, or --resume to go on with it")
    masked = parts is None
    parts = parts_of(config, data, say) if parts is None else parts
    train, validation = parts.get("train", ()), thin(parts.get("validation", ()), config.validation_images)
    if not train or not validation:
        raise CutisError(f"{data}: {len(train)} training and {len(validation)} validation images: both are needed")
    caches = tuple(
        open_cache(samples, config.preprocessing.size, cache, decoding(f"{what} images", say), masks=masks)
        for samples, what, masks in ((train, "training", masked), (validation, "validation", True))
    )
    network = build_network(config)
    facts = _facts(config, parts, caches)
    if config.weights and not resume and not start:
        facts["weights"] = _fill_encoder(network, config, caches[0], say)
    if start:
        facts["start"] = _begin_with(network, start)
    return Prepared(caches[0], caches[1], network, facts, say)


def carry_out(
    recipe: Recipe,
    batches: DataLoader,
    ready: Prepared,
    config: SegmentationConfig,
    data: Path,
    folder: Path,
    *,
    resume: bool,
    devices: int | str,
    nodes: int,
    accelerator: str,
    after_epoch: Callable[[int, float], None] | None,
    epochs: int | None = None,
    monitor: str = "dice",
    checks: Collated | None = None,
    then: str | None = None,
) -> Run:
    """Begin the run folder, or go on with it, and train `recipe` on `batches`; `monitor` on validation images chooses.

    `epochs`: others than the configuration's, for a recipe with a second phase. `checks`: what the validation's batches
    are made of, if they show more than image and mask. `then`: what to do with the run, where it is no segmenter yet.
    """
    facts = ready.facts
    if resume:
        facts = same_data(folder, facts) | facts  # what it began from is not forgotten
    if is_first_process():
        _say_uniform(ready.training, ready.say)
        begin(folder, config, facts)
    torch.set_float32_matmul_precision("high")
    options = EngineOptions(
        epochs or config.epochs, config.accumulate, config.clip_norm, config.average, config.precision, config.patience,
        tuple(sample.dataset for sample in ready.validation.samples), devices, nodes, accelerator, monitor, after_epoch,
    )  # fmt: skip
    validation = loader(
        checks or SegmentationSet(ready.validation, config.preprocessing, None),
        EachOnce(len(ready.validation), config.preprocessing.size, config.batch_size),
        0,
    )
    fit(recipe, batches, validation, options, folder, resume=resume)
    then = then or f"cutis evaluate {folder} --data {data}, cutis export {folder} --output {folder}/export"
    ready.say(f"done: {folder}; next: {then}")
    return load_run(folder)


def _begin_with(network: nn.Module, start: Path) -> str:
    """Give `network` the weights of the run in `start`, of a contrastive run the encoder's; the checkpoint's hash."""
    first = load_run(start).network
    if recipe_of(start) != "contrastive":
        return take_over(network, first, start)
    if not hasattr(network, "encoder"):
        raise CutisError(f"{type(network).__name__} has no encoder, and {start} has trained nothing else: leave it out")
    return take_over(network.encoder, first.encoder, start)


def _fill_encoder(
    network: nn.Module, config: SegmentationConfig, images: SegmentationCache, say: Callable[[str], None]
) -> str:
    """Begin with the encoder's weights of the configuration, which must normalise pixels as they want; in words."""
    assert config.weights
    source = config.weights if config.weights == "imagenet" else Path(config.weights)
    found = fill_encoder(network, str(config.network.options.get("encoder", "resnet34")), source)
    steps = config.preprocessing
    wanted = {"mean": found.mean, "std": found.std}
    unlike = {name: v for name, v in wanted.items() if v and not np.allclose(v, getattr(steps, name), atol=1e-3)}
    if unlike:
        fields = ", ".join(f"preprocessing.{name} to {[round(x, 4) for x in v]}" for name, v in unlike.items())
        raise CutisError(f"the weights in {config.weights} want pixels normalised in their way: set {fields}")
    if found.folded:
        plain = plain_batches(SegmentationSet(images, steps, None), steps.size)
        refit_batch_norm(network.encoder, (batch.image for batch in plain))
    say(f"the encoder starts {found.said}")
    return found.said


def training_batches(
    config: SegmentationConfig, cache: SegmentationCache, pictures: Collated | None = None
) -> DataLoader:
    """The augmented batches of a run: each data set drawn as often as the configuration says, at its phase's size.

    `pictures`: another set over the same cache, for recipes that show more than image and mask.
    """
    shares = np.array([config.datasets.get(sample.dataset, 1.0) for sample in cache.samples])
    images = config.epoch_images or round(shares.sum())
    sampler = KeySampler(shares, max(1, images // config.batch_size), config.batch_size, config.seed, config.size_at)
    if pictures is None:
        assert isinstance(config, SupervisedConfig)  # the other recipes make their own
        pictures = SegmentationSet(cache, config.preprocessing, config.augmentation)
    return loader(pictures, sampler, config.workers)


def as_they_are(
    cache: SegmentationCache, preprocessing: Preprocessing, samples: Sequence[Sample], batch_size: int
) -> DataLoader:
    """Batches of these samples of a cache, in their order, without augmentation: to measure something on them."""
    place = {(sample.dataset, sample.id): index for index, sample in enumerate(cache.samples)}
    keys = [Key(place[sample.dataset, sample.id], preprocessing.size, -1) for sample in samples]
    batches: Any = [keys[start : start + batch_size] for start in range(0, len(keys), batch_size)]
    return loader(SegmentationSet(cache, preprocessing, None), batches, 0)


def _say_uniform(cache: SegmentationCache, say: Callable[[str], None]) -> None:
    full, empty = uniform(cache)
    named = ", ".join(f"{sample.dataset} {sample.id}" for sample in [*full, *empty][:3])
    if named:
        say(
            f"{len(full)} training masks cover the whole picture and {len(empty)} cover nothing ({named}"
            f"{', ...' if len(full) + len(empty) > 3 else ''}): they are trained on as they are"
        )


def _facts(
    config: SegmentationConfig, parts: Mapping[str, tuple[Sample, ...]], caches: Sequence[SegmentationCache]
) -> dict[str, Any]:
    counts = {
        part: {name: sum(s.dataset == name for s in samples) for name in config.datasets}
        for part, samples in parts.items()
    }
    return {
        "versions": versions(),
        "data": {"training": caches[0].key, "validation": caches[1].key, "counts": counts},
        "parameters": sum(p.numel() for p in build_network(config).parameters()),
    }
