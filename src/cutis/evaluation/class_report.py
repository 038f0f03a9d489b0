"""A classifier's evaluation as a page and as files (rows.csv, summary.json, summary.md), and the order of its steps."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cutis import __version__
from cutis.errors import CutisError
from cutis.evaluation.class_summary import ClassComparison, ClassSummary, compare_classes, summarise_classes
from cutis.evaluation.classifiers import ClassRow, ClassSubject, MaskOf, judge, select_labelled
from cutis.evaluation.evaluate import Failure
from cutis.evaluation.folds import FoldSummary, fold_tables
from cutis.evaluation.report import failure_list, make_folder
from cutis.evaluation.statistics import Interval
from cutis.evaluation.summary import BOOTSTRAP
from cutis.evaluation.tables import markdown_table, write_json
from cutis.files import atomic_write

__all__ = [
    "TITLES",
    "ClassReport",
    "markdown",
    "publish",
    "read_class_rows",
    "run",
    "summary_tables",
    "write_class_rows",
]

TITLES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "kappa": "Cohen's kappa",
    "macro_precision": "Precision, macro",
    "macro_recall": "Recall, macro",
    "macro_f1": "F1, macro",
    "weighted_precision": "Precision, weighted",
    "weighted_recall": "Recall, weighted",
    "weighted_f1": "F1, weighted",
    "auroc": "AUROC",
    "macro_auroc": "AUROC, macro",
    "melanoma_sensitivity_at_0.8": "Melanoma: sensitivity at specificity 0.8",
    "melanoma_sensitivity_at_0.9": "Melanoma: sensitivity at specificity 0.9",
    "brier": "Brier score",
    "ece": "Expected calibration error",
    "coverage": "Class in its prediction set",
    "set_size": "Classes a set",
    "not_sure": "'Not sure'",
    "accuracy_when_sure": "Accuracy of the others",
    "map_iou": "Map: IoU",
    "map_gaussian_iou": "Centred Gaussian: IoU",
    "map_overlap": "Map: overlap",
    "map_gaussian_overlap": "Centred Gaussian: overlap",
    "map_hit": "Map: pointing game",
    "map_gaussian_hit": "Centred Gaussian: pointing game",
}
"""Measures in the order of a table, and what it calls them."""

NOTE = """Each with its {confidence:.0%} bootstrap interval ({resamples:,} resamples of {unit}). Macro averages are over
the classes that have images, weighted ones by their number."""
NOTE_ON_MAPS = " Maps are measured as in SE-LCN, Sec. 5.3.2."
NOTE_ON_FOLDS = (
    "SD: the standard deviation of the folds, divisor n as SE-LCN prints it. Intervals: as below, of the mean."
)

_TEXT = ("dataset", "id", "group", "truth", "answer")
_MAPS = tuple(f"{prefix}{name}" for prefix in ("", "gaussian_") for name in ("iou", "overlap", "hit"))


class ClassReport(NamedTuple):
    """Everything one evaluation has to say; `origin` is what to print of model, split, version and command.

    `folds`: where the summaries are of folds. `unit`: what the intervals resample. `left_out`: images without truth.
    """

    origin: Mapping[str, Any]
    summaries: Sequence[ClassSummary]
    comparisons: Sequence[ClassComparison]
    failures: Sequence[Failure]
    folds: FoldSummary | None = None
    unit: str = "lesions"
    left_out: Sequence[str] = ()


def run(
    subject: ClassSubject,
    data: Path,
    *,
    datasets: Sequence[str] | None,
    part: str,
    output: Path | None,
    against: Path | None,
    limit: int | None,
    command: str,
    mask_of: MaskOf | None,
    masks: str,
) -> int:
    """Evaluate, print the tables, write the files if `output` is given; 0, or 1 if an image could not be measured.

    `masks`: what the report says about where the masks come from.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    others = read_class_rows(against) if against else []  # what would fail after the work is tried before it
    if output:
        make_folder(output)
    samples = [
        one for of in select_labelled(subject, data, datasets=datasets, part=part, limit=limit).values() for one in of
    ]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("evaluating", total=len(samples))
        rows, failures = judge(subject, samples, mask_of, lambda: bar.advance(task))
    origin = {
        "model": subject.name, "split": part + (f"; at most {limit} images of each data set" if limit else ""),
        "masks": masks if subject.needs_mask else "not used", "cutis": __version__, "command": command,
    } | ({"compared with": str(against)} if against else {})  # fmt: skip
    comparisons = compare_classes(rows, others, BOOTSTRAP) if against and rows else []
    report = ClassReport(origin, summarise_classes(rows, BOOTSTRAP), comparisons, failures)
    publish(report, rows, output)
    return 1 if failures else 0


def publish(report: ClassReport, rows: Sequence[ClassRow], output: Path | None) -> None:
    """Print the report; into the folder `output`, where given, rows.csv, summary.json and summary.md."""
    sys.stdout.write(markdown(report))
    if output:
        write_class_rows(output / "rows.csv", rows)
        named = {"datasets": report.summaries, "comparisons": report.comparisons, "failures": report.failures}
        named |= {name: of for name in ("folds", "left_out") if (of := getattr(report, name))}
        write_json(output / "summary.json", {"origin": report.origin, "bootstrap": BOOTSTRAP, **named})
        atomic_write(output / "summary.md", "# Evaluation\n\n" + markdown(report))


def markdown(report: ClassReport) -> str:
    """The report as a page: where it comes from, the tables, the comparison, what could not be measured."""
    lines = [f"- {key}: `{value}`" if key == "command" else f"- {key}: {value}" for key, value in report.origin.items()]
    parts = ["\n".join(lines)]
    if report.folds:
        parts += [fold_tables(report.folds, TITLES), NOTE_ON_FOLDS]
    if report.summaries:
        of_maps = NOTE_ON_MAPS if any("map_iou" in s.measures for s in report.summaries) else ""
        parts += [summary_tables(report.summaries), NOTE.format(unit=report.unit, **BOOTSTRAP._asdict()) + of_maps]
    parts += [_comparison(comparison) for comparison in report.comparisons]
    if report.failures:
        parts.append(failure_list(report.failures))
    return "\n\n".join(parts) + "\n"


def summary_tables(summaries: Sequence[ClassSummary]) -> str:
    """All measures, one column a data set; then for each data set its classes and who was taken for whom."""
    lines = [["Images (lesions)", *(f"{s.images:,} ({s.lesions:,})" for s in summaries)]]
    for name, title in TITLES.items():
        if any(name in s.measures for s in summaries):
            lines.append([title, *(_interval(s.measures.get(name)) for s in summaries)])
    parts = [markdown_table(["", *(s.dataset for s in summaries)], lines)]
    for s in summaries:
        ranked = any(not math.isnan(of.auroc) for of in s.by_class.values())
        parts_of_class = ("Precision", "Recall", "F1", *(["AUROC"] if ranked else []))
        header = [s.dataset, "Images", *parts_of_class, *(f"as {name}" for name in s.by_class)]
        rows = [
            [name, f"{of.images:,}", *map(_number, of[1 : len(parts_of_class) + 1]), *map(str, counts)]
            for (name, of), counts in zip(s.by_class.items(), s.confusion, strict=True)
        ]
        parts.append(markdown_table(header, rows))
    return "\n\n".join(parts)


def write_class_rows(path: Path, rows: Sequence[ClassRow]) -> None:
    """One line an image: truth, answer, every probability with all its digits, the set, maps; NaN: an empty cell."""
    classes = list(rows[0].probabilities) if rows else []
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*_TEXT, "sure", "set", "unlikeness", *(f"p_{name}" for name in classes), *_MAPS])
    for row in rows:
        known = [getattr(row, name) for name in _TEXT]
        held = "" if row.held is None else "|".join(row.held) or "-"
        maps = [row.maps.get(name, math.nan) for name in _MAPS]
        numbers = [row.unlikeness, *row.probabilities.values(), *maps]
        cells = ["" if value is None or math.isnan(value) else repr(float(value)) for value in numbers]
        table.writerow([*known, int(row.sure), held, *cells])
    atomic_write(path, text.getvalue())


def read_class_rows(path: Path) -> list[ClassRow]:
    """The rows that `write_class_rows` wrote; CutisError for any other file or an image that is in it twice."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.DictReader(stream)
            classes = [name[2:] for name in table.fieldnames or () if name.startswith("p_")]
            rows = [_row(line, classes) for line in table]
    except OSError as error:
        raise CutisError(f"{path} cannot be read ({error.strerror}): give the rows.csv of an evaluation") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise CutisError(f"{path} is not the rows.csv of a classifier's evaluation ({error!r}): give one") from error
    twice = len(rows) - len({(row.dataset, row.id) for row in rows})
    if twice or not rows:
        raise CutisError(f"{path} holds {'images twice' if twice else 'no image'}: evaluate again")
    return rows


def _row(line: dict[str, str], classes: Sequence[str]) -> ClassRow:
    held = {"": None, "-": ()}.get(line["set"], tuple(line["set"].split("|")))
    probabilities = {name: float(line[f"p_{name}"] or "nan") for name in classes}
    if not {line["truth"], line["answer"]} <= probabilities.keys():
        raise ValueError(f"{line['id']} has a class without a probability")
    return ClassRow(
        line["dataset"], line["id"], line["group"], line["truth"], line["answer"], bool(int(line["sure"])), held,
        float(line["unlikeness"]) if line["unlikeness"] else None, probabilities,
        {name: float(line[name] or "nan") for name in _MAPS},
    )  # fmt: skip


def _comparison(c: ClassComparison) -> str:
    lines = [[TITLES[name], _interval(value, sign="+")] for name, value in c.differences.items() if name in TITLES]
    said = (
        f"This model minus the other on {c.images} images; only this one has {c.only_here}, only the other "
        f"{c.only_there}. Right here alone: {c.right_here_only}, there alone: {c.right_there_only}; "
        f"McNemar's exact p {'< 0.0001' if c.p < 1e-4 else f'{c.p:.4f}'}."
    )
    return f"{markdown_table([c.dataset, 'Difference'], lines)}\n\n{said}"


def _interval(interval: Interval | None, sign: str = "") -> str:
    if interval is None or math.isnan(interval.mean):
        return "undefined"
    return f"{interval.mean:{sign}.4f} [{interval.low:{sign}.4f}, {interval.high:{sign}.4f}]"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
