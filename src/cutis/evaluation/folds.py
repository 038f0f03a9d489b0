"""The answers of several folds' networks for the same images: means over the folds, their deviation, and an interval.

SE-LCN, Sec. 5.4.3: the standard deviation has divisor n, as the paper's printed ones do. The interval is of the mean
over the folds, the test images' lesions resampled with all folds' answers: it says what other test lesions would
change, not what another training would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutis.evaluation.class_summary import ClassSummary, statistic_of
from cutis.evaluation.classifiers import ClassRow
from cutis.evaluation.statistics import Interval, bootstrap
from cutis.evaluation.summary import Bootstrap
from cutis.evaluation.tables import markdown_table

__all__ = ["FoldSummary", "Spread", "fold_tables", "summarise_folds"]


class Spread(NamedTuple):
    """Over the folds: the mean, the standard deviation (divisor n), each fold's value."""

    mean: float
    sd: float
    values: list[float]


class FoldSummary(NamedTuple):
    """Measure -> `Spread` and interval of its mean; class -> precision, recall, F1; mean counts, rows the truth."""

    names: list[str]
    measures: dict[str, Spread]
    intervals: dict[str, Interval]
    by_class: dict[str, dict[str, Spread]]
    support: dict[str, int]
    confusion: list[list[float]]


def summarise_folds(
    folds: Mapping[str, Sequence[ClassRow]], summaries: Sequence[ClassSummary], resampling: Bootstrap
) -> FoldSummary:
    """Rows of the same images in the same order by fold, and each fold's own summary -> `FoldSummary`."""
    statistics = [statistic_of(rows, of_answers_only=True) for rows in folds.values()]

    def mean(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        found = [statistic(weights) for statistic in statistics]
        return {name: np.mean([one[name] for one in found], axis=0) for name in found[0]}

    groups = [row.group for row in next(iter(folds.values()))]
    first = summaries[0]
    return FoldSummary(
        list(folds),
        {name: _spread([s.measures[name].mean for s in summaries]) for name in first.measures},
        bootstrap(mean, groups, **resampling._asdict()),
        {
            name: {part: _spread([getattr(s.by_class[name], part) for s in summaries]) for part in _PARTS}
            for name in first.by_class
        },
        {name: of.images for name, of in first.by_class.items()},
        np.mean([s.confusion for s in summaries], axis=0).tolist(),
    )


def fold_tables(folds: FoldSummary, titles: Mapping[str, str]) -> str:
    """Two tables: measures with each fold's value; classes with their support and who was taken for whom on average."""
    count = len(folds.names)
    lines = []
    for name, title in titles.items():
        if (of := folds.measures.get(name)) is not None:
            interval = folds.intervals[name]
            span = "" if np.isnan(interval.low) else f"[{interval.low:.3f}, {interval.high:.3f}]"
            lines.append([title, _text(of), span, *(f"{value:.3f}" for value in of.values)])
    header = [f"{count} folds", "Mean ± SD", "Interval of the mean", *folds.names]
    by_class = [
        [name, f"{folds.support[name]:,}", *(_text(of) for of in parts.values()), *(f"{value:g}" for value in counts)]
        for (name, parts), counts in zip(folds.by_class.items(), folds.confusion, strict=True)
    ]
    titles_of_class = [f"mean of {count} folds", "Images", "Precision", "Recall", "F1"]
    tables = [
        markdown_table(header, lines),
        markdown_table([*titles_of_class, *(f"as {name}" for name in folds.by_class)], by_class),
    ]
    return "\n\n".join(tables)


_PARTS = ("precision", "recall", "f1")


def _spread(values: Sequence[float]) -> Spread:
    return Spread(float(np.mean(values)), float(np.std(values)), list(values))


def _text(of: Spread) -> str:
    return "undefined" if np.isnan(of.mean) else f"{of.mean:.3f} ± {of.sd:.3f}"
