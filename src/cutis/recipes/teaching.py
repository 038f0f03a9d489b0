"""`cutis teach`: a teacher is asked about every training image of a run, once, and what it says is kept.

SparseSegNet, Sec. 3.3 ("only 3-5% training-time overhead due to frozen teacher extraction"). Which images, and how they
are divided, is read from the configuration of the run that will learn from it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from rich.progress import MofNCompleteColumn, Progress, TaskID
from torch import Tensor, nn

from cutis.data.cache import SegmentationCache, open_cache
from cutis.data.catalogue import open_dataset
from cutis.data.samples import Sample
from cutis.data.splits import split
from cutis.errors import CutisError
from cutis.imaging.preprocessing import Preprocessing
from cutis.imaging.read import read_image
from cutis.recipes.config import SegmentationConfig, SupervisedConfig, load_config, parse_flags
from cutis.recipes.distillation_config import TeacherChoice
from cutis.recipes.folder import decoding
from cutis.recipes.run import CONFIGS, load_segmenter, parts_of
from cutis.teachers.base import Live, Source, Teacher, normalised
from cutis.teachers.cache import TeacherCache, describe, fill, open_teacher_cache
from cutis.teachers.clipseg import load_clipseg
from cutis.teachers.network import NetworkTeacher, maps_of
from cutis.teachers.recalibration import recalibrate
from cutis.teachers.sam import load_sam
from cutis.teachers.seem import SeemAnswers

__all__ = ["Kept", "device_of", "make_source", "teach", "teach_from_file", "training_images"]


@dataclass(frozen=True)
class Kept:
    """What is kept of its answers: `side` x `side` cells of `channels` channels, projected as `fitted_on` images and,
    where given, the cache to `align` with decide."""

    side: int
    channels: int
    fitted_on: int
    align: Path | None = None


def training_images(
    config: SegmentationConfig, data: Path, cache: Path, say: Callable[[str], None]
) -> SegmentationCache:
    """The decoded training images of the run that `config` describes, as its training will open them."""
    samples = parts_of(config, data, say).get("train", ())
    if not samples:
        raise CutisError(f"{data}: no training images to ask a teacher about")
    return open_cache(samples, config.preprocessing.size, cache, decoding("training images", say))


def teach(
    choice: TeacherChoice,
    config: SegmentationConfig,
    data: Path,
    kept: Kept,
    *,
    output: Path | None,
    cache: Path,
    batch: int,
    device: str,
    plan: bool = False,
    say: Callable[[str], None] = print,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> TeacherCache | None:
    """Make the cache of a teacher over the training images of `config`, or complete it; None if `plan` only asks how
    large it would be."""
    images = training_images(config, data, cache, say)
    source = make_source(choice, config, data, images, batch, device, say)
    align = open_teacher_cache(kept.align, images) if kept.align else None
    manifest = describe(source, images, side=kept.side, channels=kept.channels, fitted_on=kept.fitted_on, align=align)
    home = output or manifest.home(cache)
    free = shutil.disk_usage(next(folder for folder in (home, *home.parents) if folder.is_dir())).free
    say(
        f"{source.name}: {len(images)} images, (1 + {kept.channels}) x {kept.side} x {kept.side} numbers of 2 bytes: "
        f"{manifest.size / 1e6:.0f} MB in {home} ({free / 1e9:.1f} GB free)"
    )
    if plan:
        return None
    made = fill(source, images, home, manifest, align=align, batch=batch, progress=progress)
    say(
        f"done: {home}; the projection keeps {made.projection.explained:.1%} of the embedding's variance; the "
        f"teacher's Dice on these images is {made.dice.mean():.4f} (one worse than its student teaches nothing)"
    )
    return made


def teach_from_file(
    choice: TeacherChoice, config: Path, fields: Sequence[str], data: Path, kept: Kept, *, output: Path | None,
    cache: Path, batch: int, plan: bool, accelerator: str,
) -> None:  # fmt: skip
    """`teach` as the command line calls it, with a progress bar."""
    try:
        values = yaml.safe_load(config.read_text(encoding="utf-8"))
        recipe = values.get("recipe", "supervised") if isinstance(values, dict) else "supervised"
    except (OSError, yaml.YAMLError):
        recipe = "supervised"  # what is wrong with the file, load_config says
    settings = load_config(config, parse_flags(fields), CONFIGS.get(recipe, SupervisedConfig))
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn()) as bars:
        tasks: dict[str, TaskID] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        teach(
            choice, settings, data, kept, output=output, cache=cache, batch=batch, plan=plan,
            device=device_of(accelerator), say=bars.console.print, progress=progress,
        )  # fmt: skip


def device_of(accelerator: str) -> str:
    """--accelerator as torch names it; 'auto' is the best there is.

    >>> device_of("cpu"), device_of("gpu")
    ('cpu', 'cuda')
    """
    if accelerator == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    return {"gpu": "cuda"}.get(accelerator, accelerator)


def make_source(
    choice: TeacherChoice, config: SegmentationConfig, data: Path, images: SegmentationCache, batch: int, device: str,
    say: Callable[[str], None],
) -> Source:  # fmt: skip
    """The teacher of `choice`, ready to be asked about `images`."""
    if choice.recalibrate and choice.kind in ("sam", "clipseg", "seem"):
        raise CutisError(f"{choice.kind} has no batch norms that could be recalibrated: leave --recalibrate out")
    if choice.kind == "seem":
        return SeemAnswers(choice.weights, images)
    if choice.kind == "sam":
        return Live(load_sam(choice.weights, _prompter(choice.prompts, device), device), images, device)
    if choice.kind == "clipseg":
        return Live(load_clipseg(choice.weights, choice.text, device), images, device)
    return Live(_run_teacher(choice, config, data, batch, device, say), images, device)


def _run_teacher(
    choice: TeacherChoice, config: SegmentationConfig, data: Path, batch: int, device: str, say: Callable[[str], None]
) -> Teacher:
    name, network, steps = _named_run(Path(choice.kind), device)
    if choice.recalibrate:
        pictures = _unlabelled(choice.recalibrate, config, data)
        say(f"recalibrating the batch norms of {name} on {len(pictures)} images of {choice.recalibrate}")
        shifts = recalibrate(network, _batches(pictures, steps, batch, device))
        name = f"{name} recalibrated on {choice.recalibrate}"
        most = max(shifts, key=lambda norm: shifts[norm])
        mean = sum(shifts.values()) / len(shifts)
        say(f"channel means moved by {mean:.3f} standard deviations, most in {most} ({shifts[most]:.3f})")
    return NetworkTeacher(name, network, steps, layer=choice.layer or "")


def _prompter(folder: Path | None, device: str) -> Teacher | None:
    """The run in `folder`, of which only the mask is asked for: any of its layers will do."""
    if folder is None:
        return None
    name, network, steps = _named_run(folder, device)
    if steps.hair_removal or steps.clahe or steps.reinhard or steps.log_fusion:
        raise CutisError(f"{folder} was trained on recoloured pictures, SAM sees them as they are: prompt with another")
    return NetworkTeacher(name, network, steps, layer=next(iter(maps_of(network, steps.size))))


def _named_run(folder: Path, device: str) -> tuple[str, nn.Module, Preprocessing]:
    run = load_segmenter(folder)
    return run.name, run.network.to(device), run.preprocessing


def _unlabelled(name: str, config: SegmentationConfig, data: Path) -> tuple[Sample, ...]:
    """The images of a data set, with or without masks, that the run's division does not hold back."""
    samples = split(open_dataset(data, name), config.split.fractions, config.split.seed).get("train", ())
    if len(samples) < 2:
        raise CutisError(f"{data} has {len(samples)} images of {name} in the training part: too few to recalibrate on")
    return samples


def _batches(samples: Sequence[Sample], steps: Preprocessing, batch: int, device: str) -> Iterator[Tensor]:
    """Normalised; of one image alone no batch is made, a batch norm could not learn from it."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(samples), batch):
            part = samples[start : start + batch]
            if len(part) == 1:
                return
            squares = np.stack(list(pool.map(lambda s: steps.apply(read_image(s.image).pixels).square, part)))
            yield normalised(torch.from_numpy(squares).to(device).permute(0, 3, 1, 2).float() / 255, steps)
