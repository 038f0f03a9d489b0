"""`cutis evaluate`, the order of its steps: select, measure, summarise, compare, print, write."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cutis import __version__
from cutis.data.samples import Sample
from cutis.data.splits import OURS
from cutis.evaluation import report
from cutis.evaluation.evaluate import Predictor, evaluate
from cutis.evaluation.predictors import NetworkModel, from_masks
from cutis.evaluation.selection import SplitRule, select
from cutis.evaluation.summary import BOOTSTRAP, compare, summarise
from cutis.evaluation.tables import read_rows

__all__ = ["OUR_RULE", "Subject", "of_masks", "of_model", "of_run", "run"]

OUR_RULE = SplitRule(("isic2017", "isic2018_task1", "ham10000", "ph2"), **OURS)
"""What the bundled model was trained on; other people's masks are compared on the same test images."""

PredictMask = Callable[[Path, Any], NDArray[np.bool_]]


class Subject(NamedTuple):
    """What is evaluated: a predictor, its name as reports print it, the split it was trained with, safe parallelism."""

    predict: Predictor
    name: str
    rule: SplitRule
    workers: int


def of_masks(folder: Path) -> Subject:
    """Anyone's masks, judged on our test images."""
    return Subject(from_masks(folder), f"masks in {folder}", OUR_RULE, _cores())


def of_model(model: Any, predict_mask: PredictMask) -> Subject:
    """An exported model: `predict_mask(image file, model)` is the analysis pipeline's. One thread an image."""
    info = model.info
    name = f"{info.name} {info.version}, {info.precision}, SHA-256 {info.sha256[:12]}"
    return Subject(lambda sample: predict_mask(sample.image, model), name, OUR_RULE, _cores())


def of_run(folder: Path, predict_mask: PredictMask) -> Subject:
    """A training run with its own split: one image at a time, torch has the cores or a GPU. Needs cutis[train]."""
    import torch

    from cutis.recipes.run import load_segmenter

    made = load_segmenter(folder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = NetworkModel(made.network, made.preprocessing, threshold=made.threshold, device=device)
    division = made.config.split
    shares = division.fractions
    if division.held_out:  # both were divided anew: only the test part can be told from the shares
        shares = {name if name == "test" else f"{name} of all folds": share for name, share in shares.items()}
    rule = SplitRule(tuple(made.config.datasets), shares, division.seed)
    return Subject(lambda sample: predict_mask(sample.image, model), f"{made.name}, run {folder}", rule, 1)


def run(
    subject: Subject,
    data: Path,
    *,
    datasets: Sequence[str] | None,
    part: str,
    output: Path | None,
    against: Path | None,
    limit: int | None,
    command: str,
    spread: Callable[[Sequence[Sample]], Sequence[Sample]] = tuple,
) -> int:
    """Evaluate, print the tables, write the files if `output` is given; 0, or 1 if an image could not be measured.

    `spread` makes several samples of one that is to be measured in several ways.
    """
    others = read_rows(against) if against else []  # what would fail after the work is tried before it
    if output:
        report.make_folder(output)
    selected = select(data, datasets=datasets, part=part, rule=subject.rule, limit=limit)
    chosen = spread([sample for own in selected.values() for sample in own])
    samples: dict[str, list[Sample]] = {}
    for sample in chosen:
        samples.setdefault(sample.dataset, []).append(sample)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("evaluating", total=len(chosen))
        evaluation = evaluate(subject.predict, chosen, workers=subject.workers, done=lambda: bar.advance(task))
    origin = {
        "model": subject.name,
        "split": _split_text(part, subject.rule) + (f"; at most {limit} images of each data set" if limit else ""),
        "cutis": __version__,
        "command": command,
    }
    summaries = summarise(evaluation.rows, BOOTSTRAP)
    comparisons = compare(evaluation.rows, others, BOOTSTRAP) if against else []
    result = report.Report(
        origin | ({"compared with": str(against)} if against else {}), evaluation, summaries, comparisons
    )
    sys.stdout.write(report.markdown(result))
    if output:
        report.write(output, result, samples, subject.predict)
    return 1 if evaluation.failures else 0


def _split_text(part: str, rule: SplitRule) -> str:
    if part == "all":
        return "all images, also those that the model was trained on"
    shares = ", ".join(f"{name} {share:g}" for name, share in rule.fractions.items())
    return f"{part}, of {shares} by lesion with seed {rule.seed} over {', '.join(rule.datasets)}; other data sets whole"


def _cores() -> int:
    return min(8, os.cpu_count() or 1)
