"""Rows of a classifier -> its measures with intervals, by class, and the comparison with another on the same images.

SE-LCN, Sec. 5.3 (accuracy, kappa, macro precision, recall, F1), and what a clinic asks beside them: balanced accuracy,
AUROC, sensitivity for melanoma at a fixed specificity, whether probabilities and prediction sets hold what they
promise, and how often the answer is 'not sure'. Intervals resample lesions (`statistics.bootstrap`). Two models are
compared on the images both have: each measure's difference resampled by lesion, and McNemar's exact test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutis.errors import CutisError
from cutis.evaluation.classifiers import ClassRow
from cutis.evaluation.statistics import Interval, bootstrap
from cutis.evaluation.summary import Bootstrap
from cutis.metrics import classification as score
from cutis.metrics.calibration import expected_calibration_error

__all__ = [
    "BINS",
    "ClassComparison",
    "ClassSummary",
    "OfClass",
    "compare_classes",
    "mcnemar",
    "statistic_of",
    "summarise_classes",
]

BINS = 15
"""Of the expected calibration error (Guo et al., 2017)."""
MELANOMA = "mel"
SPECIFICITIES = (0.8, 0.9)

Values = NDArray[np.float64]
Statistic = Callable[[Values], Mapping[str, Values]]


class OfClass(NamedTuple):
    """One class against the rest."""

    images: int
    precision: float
    recall: float
    f1: float
    auroc: float


class ClassSummary(NamedTuple):
    """One data set. `confusion`: rows the truth, columns the answers, in the order of `by_class`."""

    dataset: str
    images: int
    lesions: int
    measures: dict[str, Interval]
    by_class: dict[str, OfClass]
    confusion: list[list[int]]


class ClassComparison(NamedTuple):
    """This model minus another on the images of one data set that both have; `p`: McNemar's, two-sided, exact."""

    dataset: str
    images: int
    only_here: int
    only_there: int
    differences: dict[str, Interval]
    right_here_only: int
    right_there_only: int
    p: float


class _Table(NamedTuple):
    truth: NDArray[np.int64]
    called: NDArray[np.int64]
    probabilities: Values
    classes: tuple[str, ...]

    @classmethod
    def of(cls, rows: Sequence[ClassRow]) -> _Table:
        classes = tuple(rows[0].probabilities)
        truth, called = (np.array([classes.index(getattr(row, name)) for row in rows]) for name in ("truth", "answer"))
        return cls(truth, called, np.array([list(row.probabilities.values()) for row in rows]), classes)

    @property
    def scored(self) -> bool:
        return bool(np.isfinite(self.probabilities).all())


def summarise_classes(rows: Sequence[ClassRow], resampling: Bootstrap) -> list[ClassSummary]:
    """Rows of any number of data sets -> a `ClassSummary` of each, in the order they appear."""
    return [_summary(name, of, resampling) for name, of in _by_dataset(rows).items()]


def compare_classes(
    here: Sequence[ClassRow], there: Sequence[ClassRow], resampling: Bootstrap
) -> list[ClassComparison]:
    """Differences here minus there over the images (data set, id) that both have; CutisError where they share none."""
    sides, found = [_by_dataset(here), _by_dataset(there)], []
    for dataset in (name for name in sides[0] if name in sides[1]):
        one, two = ({row.id: row for row in side[dataset]} for side in sides)
        shared = [name for name in one if name in two]
        if len(shared) < 2:
            continue
        first, second = [one[name] for name in shared], [two[name] for name in shared]
        if any(a.truth != b.truth for a, b in zip(first, second, strict=True)):
            raise CutisError("the two evaluations know different classes of the same images: compare one task")
        stats = statistic_of(first, of_answers_only=True), statistic_of(second, of_answers_only=True)

        def difference(weights: Values, stats: tuple[Statistic, Statistic] = stats) -> dict[str, Values]:
            left, right = (stat(weights) for stat in stats)
            return {name: left[name] - right[name] for name in left if name in right}

        right = [np.array([row.answer == row.truth for row in side]) for side in (first, second)]
        only = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
        differences = bootstrap(difference, [row.group for row in first], **resampling._asdict())
        counts = len(shared), len(one) - len(shared), len(two) - len(shared)
        found.append(ClassComparison(dataset, *counts, differences, *only, mcnemar(*only)))
    if not found:
        raise CutisError("the two evaluations share no two images of a data set: evaluate both on the same data")
    return found


def mcnemar(first: int, second: int) -> float:
    """Images that only the first, only the second model calls right -> the exact two-sided p-value.

    >>> mcnemar(9, 1), mcnemar(4, 4)
    (0.021484375, 1.0)
    """
    total = first + second
    tail = sum(math.comb(total, k) for k in range(min(first, second) + 1))
    return min(1.0, 2 * tail / 2**total)


def _summary(dataset: str, rows: Sequence[ClassRow], resampling: Bootstrap) -> ClassSummary:
    groups = [row.group for row in rows]
    measures = bootstrap(statistic_of(rows, of_answers_only=False), groups, **resampling._asdict())
    table = _Table.of(rows)
    truth, called, p, classes = table
    confusion = score.confusion_matrix(truth, called, len(classes))
    precision, recall, f1 = (of(confusion).tolist() for of in (score.precision, score.recall, score.f1))
    area = [float(score.auroc(p[:, k], truth == k)) if table.scored else math.nan for k in range(len(classes))]
    by_class = {
        name: OfClass(int(confusion[k].sum()), precision[k], recall[k], f1[k], area[k])
        for k, name in enumerate(classes)
    }
    return ClassSummary(dataset, len(rows), len(set(groups)), measures, by_class, confusion.astype(int).tolist())


def statistic_of(rows: Sequence[ClassRow], *, of_answers_only: bool) -> Statistic:
    """(R, N) weights of the rows -> (R,) values of every measure that they allow.

    Where an image has no probabilities (NaN) there is no measure that needs them.
    """
    table = _Table.of(rows)
    squared = score.brier(table.probabilities, table.truth)

    def statistic(weights: Values) -> dict[str, Values]:
        total = weights.sum(-1)
        found = _answers(table, weights)
        if table.scored:
            found |= _ranking(table, weights)
            found["brier"] = weights @ squared / total
            found["ece"] = expected_calibration_error(table.probabilities, table.truth, BINS, weights)
        return found if of_answers_only else found | _sets(rows, weights) | _maps(rows, weights)

    return statistic


def _answers(table: _Table, weights: Values) -> dict[str, Values]:
    confusion = score.confusion_matrix(table.truth, table.called, len(table.classes), weights)
    found = {
        "accuracy": score.accuracy(confusion),
        "balanced_accuracy": score.balanced_accuracy(confusion),
        "kappa": score.cohen_kappa(confusion),
    }
    for name, values in (("precision", score.precision), ("recall", score.recall), ("f1", score.f1)):
        found[f"macro_{name}"] = score.macro(values(confusion), confusion)
        found[f"weighted_{name}"] = score.weighted(values(confusion), confusion)
    return found


def _ranking(table: _Table, weights: Values) -> dict[str, Values]:
    truth, _, p, classes = table
    found = {}
    if len(classes) == 2:
        found["auroc"] = score.auroc(p[:, 1], truth == 1, weights)
    else:
        each = np.stack([score.auroc(p[:, k], truth == k, weights) for k in np.unique(truth)])
        known = ~np.isnan(each)
        found["macro_auroc"] = np.where(known, each, 0).sum(0) / np.where(known.any(0), known.sum(0), np.nan)
    if MELANOMA in classes and 0 < (truth == classes.index(MELANOMA)).sum() < len(truth):
        k = classes.index(MELANOMA)
        for least in SPECIFICITIES:
            point = score.sensitivity_at_specificity(p[:, k], truth == k, least, weights)
            found[f"melanoma_sensitivity_at_{least:g}"] = point.sensitivity
    return found


def _sets(rows: Sequence[ClassRow], weights: Values) -> dict[str, Values]:
    """Of the prediction sets and of what is answered at all; nothing where the model makes no sets."""
    if rows[0].held is None:
        return {}
    held = [row.held or () for row in rows]
    inside = np.array([row.truth in of for row, of in zip(rows, held, strict=True)], np.float64)
    sure = np.array([row.sure for row in rows], np.float64)
    right = sure * [row.answer == row.truth for row in rows]
    total, answered = weights.sum(-1), weights @ sure
    return {
        "coverage": weights @ inside / total,
        "set_size": weights @ np.array([len(of) for of in held], np.float64) / total,
        "not_sure": 1 - answered / total,
        "accuracy_when_sure": np.where(answered > 0, weights @ right / np.where(answered > 0, answered, 1), np.nan),
    }


def _maps(rows: Sequence[ClassRow], weights: Values) -> dict[str, Values]:
    found = {}
    for name in rows[0].maps:
        values = np.array([row.maps[name] for row in rows])
        known = ~np.isnan(values)
        total = weights @ known
        mean = weights @ np.where(known, values, 0) / np.where(total > 0, total, 1)
        found[f"map_{name}"] = np.where(total > 0, mean, np.nan)
    return found


def _by_dataset(rows: Sequence[ClassRow]) -> dict[str, list[ClassRow]]:
    found: dict[str, list[ClassRow]] = {}
    for row in rows:
        found.setdefault(row.dataset, []).append(row)
    return found
