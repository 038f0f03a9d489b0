"""`cutis label`: a folder with a few masks and many images in, masks for all of them out, the least sure first.

What was finished is in labels.csv after every few images, so that `--resume` loses those in hand and no other.
"""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cutis import __version__
from cutis.analysis.names import targets
from cutis.analysis.results import same_settings
from cutis.analysis.words import RESEARCH_ONLY
from cutis.data.catalogue import open_dataset
from cutis.errors import CutisError
from cutis.evaluation.evaluate import in_order
from cutis.evaluation.report import make_folder
from cutis.imaging.read import write_mask
from cutis.label.export import read_labels, worst_first, write_coco, write_labels, write_worst
from cutis.label.one import Asking, Row, Source, label_one
from cutis.label.refined import PROMPTS, by_file, by_network

if TYPE_CHECKING:
    from cutis.data.samples import Sample

__all__ = ["Ask", "label_folder", "run", "summary"]

LABELS, COCO, WORST = "labels.csv", "coco.json", "worst.jpg"
SAVED_EVERY = 25
FEWEST_COMPARED = 10
"""Masks of yours that the surest and the least sure of them are told apart with."""


class Ask(NamedTuple):
    """What the user wants. `model`: bundled name, ONNX file or run folder; `refine`: as `cutis analyze --refine` takes
    it, or None; `check`: at most so many of the user's own masks are compared with predictions."""

    model: str | None
    refine: str | None
    dataset: str | None
    category: str
    check: int
    seed: int
    workers: int | None


def run(folder: Path, output: Path, ask: Ask, *, resume: bool) -> int:
    """Label, and say what came of it; 0, or 1 if an image failed."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("labelling", total=None)
        rows = label_folder(
            folder, output, ask, resume=resume, done=lambda n, of: bar.update(task, completed=n, total=of)
        )
    for row in rows:
        if row.error:
            print(f"cutis: {row.error}", file=sys.stderr)
    print(summary(rows, output))
    return 1 if any(row.error for row in rows) else 0


def label_folder(
    folder: Path, output: Path, ask: Ask, *, resume: bool, done: Any = lambda count, of: None
) -> list[Row]:
    """Write masks/, labels.csv, coco.json and worst.jpg into `output`; the rows, worst first."""
    if output.resolve().is_relative_to(folder.resolve()):
        raise CutisError(f"{output} lies in {folder}: its masks would be taken for images; give another --output")
    dataset = open_dataset(folder, ask.dataset)
    if not len(dataset):
        raise CutisError(f"{folder} holds no images: give a folder of JPEG, PNG, BMP, TIFF or WebP files")
    asking, settings, workers = _asking(ask)
    make_folder(output)
    same_settings(output, settings, resume=resume)
    files = [_relative(sample.image, folder) for sample in dataset]
    names = [f"masks/{name}" for name in targets([Path(file) for file in files])]
    compared = _spread([i for i, sample in enumerate(dataset) if sample.mask], ask.check)
    kept = {row.file: row for row in read_labels(output / LABELS)} if resume else {}
    kept = {file: row for file, row in kept.items() if not row.error and (output / row.mask).exists()}
    rows = [kept[file] for file in files if file in kept]
    jobs = [job for job in zip(range(len(files)), dataset, files, names, strict=True) if job[2] not in kept]

    def work(job: tuple[int, Sample, str, str]) -> Row:
        index, sample, file, name = job
        answer = label_one(sample, file, name, asking, predict=index in compared)
        if answer.mask is not None:
            write_mask(output / name, answer.mask)
        return answer.row

    try:
        for row in in_order(work, jobs, workers):
            rows.append(row)
            done(len(rows), len(files))
            if len(rows) % SAVED_EVERY == 0:
                write_labels(output / LABELS, worst_first(rows))
    finally:
        rows = worst_first(rows)
        write_labels(output / LABELS, rows)
    info = {"description": f"made by cutis label {__version__}. {RESEARCH_ONLY}", "version": __version__, **settings}
    write_coco(output / COCO, rows, ask.category, info)
    write_worst(output / WORST, rows, folder)
    return rows


def summary(rows: Sequence[Row], output: Path) -> str:
    """What was done, how well the predictions fit the user's own masks, and where to look."""
    counts = Counter(row.source for row in rows)
    said = ", ".join(f"{counts[source]} {source}" for source in get_args(Source) if counts[source])
    lines = [f"{len(rows)} images: {said}."]
    checked = sorted((row for row in rows if not math.isnan(row.dice)), key=lambda row: row.confidence)
    if checked:
        fits = np.array([row.dice for row in checked])
        text = f"Beside {len(fits)} masks of yours the predictions have a mean Dice of {fits.mean():.3f}"
        if len(fits) >= FEWEST_COMPARED:
            fifth = len(fits) // 5
            text += f"; the least sure fifth {fits[:fifth].mean():.3f}, the surest {fits[-fifth:].mean():.3f}"
        lines.append(f"{text}. Of a network that was trained on them this flatters.")
    lines.append(f"Look at {output / LABELS} and {output / WORST}, worst first; import {output / COCO}.")
    return "\n".join([*lines, RESEARCH_ONLY])


def _asking(ask: Ask) -> tuple[Asking, dict[str, Any], int]:
    """What predicts; what of it decides the result, for run.json; and how many images at a time."""
    device = "cpu"
    if ask.model and Path(ask.model).is_dir():
        import torch

        from cutis.evaluation.predictors import NetworkModel
        from cutis.recipes.folder import best_checkpoint, digest
        from cutis.recipes.run import load_segmenter

        made = load_segmenter(Path(ask.model))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model: Any = NetworkModel(made.network, made.preprocessing, threshold=made.threshold, device=device)
        settings: dict[str, Any] = {"model": made.name, "model_sha256": digest(best_checkpoint(Path(ask.model)))}
        workers = 1  # torch has the cores or a GPU
    else:
        from cutis.analysis.runtime import load_model

        model = load_model(ask.model)
        settings = {"model": model.info.name, "model_sha256": model.info.sha256}
        workers = ask.workers or min(8, os.cpu_count() or 1)
    settings |= {"category": ask.category, "refined_by": None, "seed": ask.seed, "check": ask.check}
    if ask.refine is None:
        return Asking(model, None), settings, workers
    if ask.refine.endswith(".onnx") or not Path(ask.refine).exists():
        from cutis.analysis.prompted import load_promptable_model

        exported = load_promptable_model(ask.refine)
        settings |= {"refined_by": exported.info.name, "refined_by_fingerprint": exported.info.sha256}
        return Asking(model, by_file(exported, model.preprocessing)), settings, workers
    from cutis.mining.settings import PromptSettings
    from cutis.recipes.promptables import load_promptable

    promptable = load_promptable(ask.refine, device)
    settings |= {"refined_by": promptable.name, "refined_by_fingerprint": promptable.fingerprint}
    refine = by_network(promptable, PromptSettings.model_validate(PROMPTS), ask.seed, device)
    return Asking(model, refine), settings, 1


def _relative(image: Path, folder: Path) -> str:
    """As annotation tools are told: from the folder, with slashes."""
    return Path(os.path.relpath(image, folder)).as_posix()


def _spread(indices: Sequence[int], most: int) -> set[int]:
    """At most `most` of them, evenly spread."""
    if len(indices) <= most:
        return set(indices)
    return {indices[i] for i in np.linspace(0, len(indices) - 1, most).round().astype(int)} if most else set()
