"""An evaluation as files: rows.csv, summary.json, summary.md and, for each data set, its worst cases as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2

from cutis.data.samples import Sample
from cutis.errors import CutisError
from cutis.evaluation.evaluate import Evaluation, Failure, Predictor
from cutis.evaluation.summary import BOOTSTRAP, Comparison, Summary
from cutis.evaluation.tables import comparison_table, summary_table, write_json, write_rows
from cutis.evaluation.worst import worst_cases
from cutis.files import atomic_write

__all__ = ["Report", "failure_list", "make_folder", "markdown", "write"]

WORST = {"count": 12, "side": 256, "columns": 4}
"""The sheet of worst cases: how many, tile side in pixels, tiles a row."""

NOTE = """Means over images, each with its {confidence:.0%} bootstrap interval (lesions resampled, {resamples:,} times).
Overlap at the resolution of the data; HD95 and surface Dice in a 256 x 256 letterbox. Empty masks: both empty give
Dice and Jaccard 1 and HD95 0; one empty gives 0 and the frame's diagonal, 362 px. Sensitivity without a lesion and
specificity without background are undefined and left out."""

PICTURES = """
The images of lowest Dice are in worst-<data set>.png: the truth green, the prediction magenta.
"""


class Report(NamedTuple):
    """Everything one evaluation has to say; `origin` is what to print of model, split, version and command."""

    origin: Mapping[str, Any]
    evaluation: Evaluation
    summaries: Sequence[Summary]
    comparisons: Sequence[Comparison]


def markdown(report: Report) -> str:
    """The report as a page: where it comes from, the table, the comparison, what could not be measured."""
    lines = [f"- {key}: `{value}`" if key == "command" else f"- {key}: {value}" for key, value in report.origin.items()]
    parts = ["\n".join(lines)]
    if report.summaries:
        parts += [summary_table(report.summaries), NOTE.format(**BOOTSTRAP._asdict())]
    for comparison in report.comparisons:
        parts += [
            comparison_table(comparison),
            f"This model minus the other. Images only this one has: {comparison.only_here}; "
            f"only the other: {comparison.only_there}.",
        ]
    if report.evaluation.failures:
        parts.append(failure_list(report.evaluation.failures))
    return "\n\n".join(parts) + "\n"


def failure_list(failures: Sequence[Failure]) -> str:
    """Each image that could not be measured, by name, and their number."""
    named = "\n".join(f"- {dataset} {name}: {reason}" for dataset, name, reason in failures)
    return f"Not measured, and in no mean: {len(failures)}\n\n{named}"


def make_folder(output: Path) -> None:
    """Create the folder of the report; CutisError where that cannot be done."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CutisError(f"{output} cannot be made ({error.strerror}): give a folder to write to") from error


def write(output: Path, report: Report, samples: Mapping[str, Sequence[Sample]], predict: Predictor) -> None:
    """Write every file into the folder `output`; CutisError where that cannot be done."""
    rows = report.evaluation.rows
    try:
        write_rows(output / "rows.csv", rows)
        write_json(
            output / "summary.json",
            {
                "origin": report.origin,
                "bootstrap": BOOTSTRAP,
                "datasets": report.summaries,
                "comparisons": report.comparisons,
                "failures": report.evaluation.failures,
            },
        )
        atomic_write(output / "summary.md", "# Evaluation\n\n" + markdown(report) + PICTURES)
        for dataset in samples:
            own = [row for row in rows if row.dataset == dataset]
            if own:
                sheet = worst_cases(own, samples[dataset], predict, **WORST)
                _, png = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
                atomic_write(output / f"worst-{dataset}.png", png.tobytes())
    except OSError as error:
        raise CutisError(f"{output} cannot be written ({error.strerror}): check the folder and free space") from error
