"""`cutis evaluate --predictions FILE.csv`, in order: read, find the truth, measure, compare, print, write."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from cutis import __version__
from cutis.data.ham10000 import CLASSES
from cutis.evaluation.class_report import ClassReport, publish, read_class_rows
from cutis.evaluation.class_summary import compare_classes, summarise_classes
from cutis.evaluation.classifiers import ClassRow
from cutis.evaluation.folds import summarise_folds
from cutis.evaluation.prediction_truth import Known, Truth, share_seen, truth_of
from cutis.evaluation.predictions import Classes, Predictions, names, read_predictions
from cutis.evaluation.report import make_folder
from cutis.evaluation.summary import BOOTSTRAP

__all__ = ["run"]


def run(
    path: Path,
    *,
    labels: Path | None,
    train: Path | None,
    classes: str | None,
    data: Path | None,
    datasets: Sequence[str] | None,
    output: Path | None,
    against: Path | None,
    command: str,
) -> int:
    """Measure the predictions in `path`, print the tables, write the files if `output` is given; 0."""
    known = Classes.of_text(classes) if classes else Classes(CLASSES, False)
    predictions = read_predictions(path, known)
    truth = truth_of(predictions, labels, data, datasets)
    others = read_class_rows(against) if against else []
    if output:
        make_folder(output)
    folds = _rows(predictions, truth.images)
    rows = [row for of in folds.values() for row in of]
    comparisons = compare_classes(rows, others, BOOTSTRAP) if against else []
    summaries = summarise_classes(rows, BOOTSTRAP)
    unit = _unit(list(truth.images.values()))
    origin = _origin(predictions, truth, train) | {"resampled": unit, "cutis": __version__, "command": command}
    if against:
        origin["compared with"] = str(against)
    over = summarise_folds(folds, summaries, BOOTSTRAP) if len(predictions.folds) > 1 else None
    report = ClassReport(origin, summaries, comparisons, [], over, unit, truth.left_out)
    publish(report, rows, output)
    return 0


def _rows(predictions: Predictions, images: Mapping[str, Known]) -> dict[str, list[ClassRow]]:
    """Fold -> its rows, the folds as data sets of their own; one model's images are of the data set that knows them."""
    classes, table = predictions.classes.names, predictions.probabilities
    unknown = [math.nan] * len(classes)
    found: dict[str, list[ClassRow]] = {}
    for k, answers in enumerate(predictions.answers.tolist()):
        fold = f"fold {predictions.folds[k]}" if predictions.folds else ""
        rows = [
            ClassRow(
                fold or images[name].dataset or "predictions", name, images[name].lesion or name,
                classes[images[name].truth], classes[answer], True, None, None,
                dict(zip(classes, unknown if table is None else table[n].tolist(), strict=True)), {},
            )
            for n, (name, answer) in enumerate(zip(predictions.ids, answers, strict=True))
            if name in images
        ]  # fmt: skip
        found[fold] = rows
    return found


def _origin(predictions: Predictions, truth: Truth, train: Path | None) -> dict[str, str]:
    found = {"predictions": f"{predictions.path}, {len(predictions.ids):,} images", "truth": truth.source}
    if truth.left_out:
        found["left out"] = (
            f"{len(truth.left_out):,} predicted images that have no class there, in no mean: {names(truth.left_out)}"
        )
    if train:
        seen, all_of = share_seen([known.lesion for known in truth.images.values()], train)
        found["seen in training"] = (
            f"{seen / all_of:.0%} of the images ({seen:,} of {all_of:,}) show a lesion that is in {train}"
        )
    return found


def _unit(images: Sequence[Known]) -> str:
    """What the bootstrap draws, as a report says it."""
    alone = sum(not known.lesion for known in images)
    if alone == len(images):
        return "images, as their lesions are unknown"
    return f"lesions; {alone:,} images of unknown lesion each by itself" if alone else "lesions"
