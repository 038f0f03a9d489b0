"""Rows and summaries on disk and on paper: CSV (one row an image), JSON, Markdown; each file whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cutis.errors import CutisError
from cutis.evaluation.evaluate import Row
from cutis.evaluation.statistics import Interval
from cutis.evaluation.summary import Comparison, Summary
from cutis.files import atomic_write
from cutis.metrics.segmentation import MEASURES

__all__ = [
    "comparison_table",
    "markdown_table",
    "read_rows",
    "summary_table",
    "write_json",
    "write_rows",
]

TITLES = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "thresholded_jaccard": "Jaccard, below 0.65 = 0",
    "hd95_256": "HD95, px at 256",
    "surface_dice_256": "Surface Dice, 2 px at 256",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "accuracy": "Accuracy",
}
"""Measures in the order of a table, and what it calls them."""

_TEXT = ("dataset", "id", "group")
_NUMBERS = ("width", "height", "truth_area", "predicted_area")


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """One line an image: data set, id, group, size, areas, every measure with all its digits; NaN is an empty cell."""
    rows = list(rows)
    measures = list(rows[0].measures) if rows else []
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*_TEXT, *_NUMBERS, *measures])
    for row in rows:
        known = [getattr(row, name) for name in (*_TEXT, *_NUMBERS)]
        table.writerow(known + ["" if math.isnan(value) else repr(value) for value in row.measures.values()])
    atomic_write(path, text.getvalue())


def read_rows(path: Path) -> list[Row]:
    """The rows that `write_rows` wrote; CutisError for any other file or an image that is in it twice."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.DictReader(stream)
            columns = table.fieldnames or []
            if missing := [name for name in (*_TEXT, *_NUMBERS, *MEASURES) if name not in columns]:
                raise KeyError(missing[0])
            measures = [name for name in columns if name not in (*_TEXT, *_NUMBERS)]
            rows = [_row(line, measures) for line in table]
    except OSError as error:
        raise CutisError(f"{path} cannot be read ({error.strerror}): give the rows.csv of an evaluation") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise CutisError(f"{path} is not the rows.csv of an evaluation ({error!r}): give one") from error
    seen: set[tuple[str, str]] = set()
    for row in rows:
        if (row.dataset, row.id) in seen:
            raise CutisError(f"{path} holds {row.id} of {row.dataset} twice: evaluate again")
        seen.add((row.dataset, row.id))
    return rows


def write_json(path: Path, content: Any) -> None:
    """Indented JSON that any reader takes; NaN becomes null."""
    atomic_write(path, json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def markdown_table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table whose source is aligned too: the first column to the left, the others to the right.

    >>> print(markdown_table(["", "ph2"], [["Dice", "0.93"], ["HD95", "7.1"]]))
    |      |  ph2 |
    | :--- | ---: |
    | Dice | 0.93 |
    | HD95 |  7.1 |
    """
    cells = [[text.replace("|", "\\|") for text in line] for line in (header, *lines)]
    widths = [max(4, *(len(line[column]) for line in cells)) for column in range(len(header))]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    rows = [
        [line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))]
        for line in cells
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))


def summary_table(summaries: Sequence[Summary]) -> str:
    """One column a data set: images, lesions, sizes, each mean with its interval, empty masks."""
    lines = [
        ["Images (lesions)", *(f"{s.images:,} ({s.lesions:,})" for s in summaries)],
        ["Size, px", *(s.sizes for s in summaries)],
    ]
    lines += [[title, *(_interval(s.measures[name], of=s.images) for s in summaries)] for name, title in TITLES.items()]
    lines += [["Empty truth / prediction / both", *(" / ".join(map(str, s.empty)) for s in summaries)]]
    return markdown_table(["", *(s.dataset for s in summaries)], lines)


def comparison_table(comparison: Comparison) -> str:
    """One line a measure: difference with its interval, and the p-values of both tests."""
    lines = [
        [
            title,
            str(test.n),
            _interval(test.difference, of=test.difference.n, sign="+"),
            _p(test.t_p),
            _p(test.wilcoxon_p),
        ]
        for name, title in TITLES.items()
        if (test := comparison.measures.get(name))
    ]
    return markdown_table([comparison.dataset, "Images", "Difference", "p, paired t", "p, Wilcoxon"], lines)


def _row(line: dict[str, str], measures: Sequence[str]) -> Row:
    known: dict[str, Any] = {name: line[name] for name in _TEXT} | {name: int(line[name]) for name in _NUMBERS}
    return Row(**known, measures={name: float(line[name] or "nan") for name in measures})


def _interval(interval: Interval, *, of: int, sign: str = "") -> str:
    if interval.n == 0:
        return "undefined"
    digits = 2 if max(abs(interval.mean), abs(interval.high)) > 1 else 4
    mean, low, high = (f"{value:{sign}.{digits}f}" for value in interval[:3])
    return f"{mean} [{low}, {high}]" + (f" (n={interval.n})" if interval.n != of else "")


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def _plain(value: Any) -> Any:
    """NamedTuples and rows -> dictionaries, NaN -> None, all the way down."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Row):
        value = asdict(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
