"""How well classes are told apart: count the confusion matrix first, derive any measure after; ranking by score too.

SE-LCN, Sec. 5.3 (accuracy, Cohen's kappa, macro and weighted precision, recall and F1) and what the HAM10000 challenges
use beside them (balanced accuracy, AUROC, sensitivity at a fixed specificity). All values are scikit-learn's, where it
defines them. What takes single images also takes `weights`, (..., N), how often each counts: that makes a bootstrap of
two thousand resamples one matrix product.

Absent classes: recall of a class without images is undefined, NaN, and macro averages leave the class out; precision of
a class that is there and never predicted is 0 and counts in them (left out, it would reward never naming a rare class).
AUROC without both sides is NaN. Brier score: sum over the classes, mean over images: 0 is perfect, 2 the worst.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "OperatingPoint",
    "accuracy",
    "auroc",
    "balanced_accuracy",
    "brier",
    "cohen_kappa",
    "confusion_matrix",
    "f1",
    "macro",
    "precision",
    "recall",
    "sensitivity_at_specificity",
    "specificity",
    "weighted",
]

Values = NDArray[np.float64]


class OperatingPoint(NamedTuple):
    """The cut at which `specificity` is just kept: call an image positive at `threshold` or above. (...,) each."""

    sensitivity: Values
    specificity: Values
    threshold: Values


def confusion_matrix(truth: ArrayLike, pred: ArrayLike, classes: int, weights: ArrayLike | None = None) -> Values:
    """(N,) class indices, twice -> (K, K): how many images of class i (row) were called j (column).

    With weights (..., N): (..., K, K). ValueError for unequal lengths or an index that is no class.

    >>> confusion_matrix([0, 0, 1, 2], [0, 1, 1, 1], 3).astype(int).tolist()
    [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    """
    true, called = (_indices(values, classes) for values in (truth, pred))
    if true.shape != called.shape:
        raise ValueError(f"one answer an image is needed; got {true.size} true classes and {called.size} answers")
    pairs = true * classes + called
    if weights is None:
        return np.bincount(pairs, minlength=classes**2).reshape(classes, classes).astype(np.float64)
    weight = np.asarray(weights, np.float64)
    counts = weight @ np.eye(classes**2)[pairs]
    return counts.reshape(*weight.shape[:-1], classes, classes)


def accuracy(confusion: Values) -> Values:
    """(..., K, K) -> (...): share of images called by their own class; NaN without images.

    >>> float(accuracy(np.array([[3.0, 1.0], [0.0, 4.0]])))
    0.875
    """
    return _ratio(_hits(confusion).sum(-1), confusion.sum((-2, -1)), empty=np.nan)


def precision(confusion: Values) -> Values:
    """(..., K, K) -> (..., K): of what was called a class, the share that is; 0 if never called, NaN if also absent.

    >>> precision(np.array([[3.0, 1.0, 0], [1.0, 3.0, 0], [0, 0, 0]])).tolist()
    [0.75, 0.75, nan]
    """
    some = _support(confusion) > 0
    return np.where(some, *(_ratio(_hits(confusion), confusion.sum(-2), empty=empty) for empty in (0.0, np.nan)))


def recall(confusion: Values) -> Values:
    """(..., K, K) -> (..., K): of a class's images, the share called by its name; NaN for an absent class.

    >>> recall(np.array([[3.0, 1.0], [0.0, 0.0]])).tolist()
    [0.75, nan]
    """
    return _ratio(_hits(confusion), _support(confusion), empty=np.nan)


def specificity(confusion: Values) -> Values:
    """(..., K, K) -> (..., K): of the other classes' images, the share not called by this name; NaN if there are none.

    >>> specificity(np.array([[3.0, 1.0], [1.0, 4.0]])).tolist()
    [0.8, 0.75]
    """
    others = confusion.sum((-2, -1))[..., None] - _support(confusion)
    return _ratio(others - (confusion.sum(-2) - _hits(confusion)), others, empty=np.nan)


def f1(confusion: Values) -> Values:
    """(..., K, K) -> (..., K): 2 TP / (2 TP + FP + FN); NaN for a class neither there nor called.

    >>> f1(np.array([[3.0, 1.0], [1.0, 4.0]])).tolist()
    [0.75, 0.8]
    """
    return _ratio(2 * _hits(confusion), _support(confusion) + confusion.sum(-2), empty=np.nan)


def macro(values: Values, confusion: Values) -> Values:
    """(..., K) values of classes -> (...): their plain mean over the classes that have images.

    >>> matrix = np.array([[3.0, 1.0, 0], [1.0, 1.0, 0], [0, 0, 0]])
    >>> float(macro(recall(matrix), matrix))
    0.625
    """
    return _mean(values, (_support(confusion) > 0).astype(np.float64))


def weighted(values: Values, confusion: Values) -> Values:
    """(..., K) values of classes -> (...): their mean weighted by the number of each class's images.

    >>> matrix = np.array([[3.0, 1.0], [1.0, 1.0]])
    >>> round(float(weighted(recall(matrix), matrix)), 4) == round(float(accuracy(matrix)), 4)
    True
    """
    return _mean(values, _support(confusion))


def balanced_accuracy(confusion: Values) -> Values:
    """(..., K, K) -> (...): macro recall, the ISIC 2018 challenge's headline.

    >>> float(balanced_accuracy(np.array([[3.0, 1.0], [1.0, 1.0]])))
    0.625
    """
    return macro(recall(confusion), confusion)


def cohen_kappa(confusion: Values) -> Values:
    """(..., K, K) -> (...): agreement beyond chance (Cohen, 1960), 1 at most; NaN where chance alone agrees wholly.

    >>> round(float(cohen_kappa(np.array([[20.0, 5.0], [10.0, 15.0]]))), 3)
    0.4
    """
    total = confusion.sum((-2, -1))
    chance = _ratio((_support(confusion) * confusion.sum(-2)).sum(-1), total**2, empty=np.nan)
    return _ratio(accuracy(confusion) - chance, 1 - chance, empty=np.nan)


def auroc(scores: ArrayLike, positive: ArrayLike, weights: ArrayLike | None = None) -> Values:
    """(N,) scores and (N,) bool -> (): chance that a positive image scores above a negative one, ties counting half.

    One class against the rest: its probability, and `truth == class`. With weights (..., N): (...).

    >>> float(auroc([0.9, 0.4, 0.4, 0.1], [True, True, False, False]))
    0.875
    """
    _, pos, neg = _by_score(scores, positive, weights)
    above = (neg * (np.cumsum(pos, -1) - pos / 2)).sum(-1)
    return _ratio(above, pos.sum(-1) * neg.sum(-1), empty=np.nan)


def sensitivity_at_specificity(
    scores: ArrayLike, positive: ArrayLike, at_least: float, weights: ArrayLike | None = None
) -> OperatingPoint:
    """(N,) scores and (N,) bool -> the highest sensitivity of any cut that keeps specificity `at_least`.

    No interpolation between cuts. A cut above every score (infinite threshold) calls nothing positive. NaN where one
    side is empty. With weights (..., N): (...) each.

    >>> point = sensitivity_at_specificity([0.9, 0.8, 0.7, 0.6, 0.2], [True, False, True, False, False], 2 / 3)
    >>> [round(float(value), 3) for value in point]
    [1.0, 0.667, 0.7]
    """
    if not 0 <= at_least <= 1:
        raise ValueError(f"a specificity is between 0 and 1, not {at_least}")
    cuts, pos, neg = _by_score(scores, positive, weights)
    sides = pos.sum(-1), neg.sum(-1)
    first = np.zeros((*pos.shape[:-1], 1))
    found = _ratio(np.concatenate([first, np.cumsum(pos, -1)], -1), sides[0][..., None], empty=np.nan)
    kept = _ratio(
        sides[1][..., None] - np.concatenate([first, np.cumsum(neg, -1)], -1), sides[1][..., None], empty=np.nan
    )
    last = np.maximum((kept >= at_least).sum(-1) - 1, 0)[..., None]
    sensitivity, kept_there = (np.take_along_axis(values, last, -1)[..., 0] for values in (found, kept))
    threshold = np.concatenate([[np.inf], cuts])[last[..., 0]]
    return OperatingPoint(sensitivity, kept_there, np.where(np.isnan(sensitivity + kept_there), np.nan, threshold))


def brier(probabilities: ArrayLike, truth: ArrayLike) -> Values:
    """(N, K) and (N,) class indices -> (N,): squared distance to the true class, summed over classes, 0 to 2 an image.

    >>> brier([[0.5, 0.5], [1.0, 0.0]], [0, 1]).tolist()
    [0.5, 2.0]
    """
    table = np.asarray(probabilities, np.float64)
    true = _indices(truth, table.shape[-1])
    return ((table - np.eye(table.shape[-1])[true]) ** 2).sum(-1)


def _by_score(scores: ArrayLike, positive: ArrayLike, weights: ArrayLike | None) -> tuple[Values, Values, Values]:
    """Distinct scores, highest first (T,), and the weight of the positive and negative images at each (..., T)."""
    score, side = np.asarray(scores, np.float64), np.asarray(positive, np.bool_)
    if score.ndim != 1 or score.shape != side.shape or not len(score):
        raise ValueError(f"one score and one side an image are needed; got {score.shape} and {side.shape}")
    if np.isnan(score).any():
        raise ValueError("a score is NaN: it has no place in a ranking")
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    weight = np.ones(len(score)) if weights is None else np.asarray(weights, np.float64)
    pos, neg = (np.add.reduceat((weight * of)[..., order], starts, -1) for of in (side, ~side))
    return score[order][starts], pos, neg


def _indices(values: ArrayLike, classes: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"class indices must be (N,) integers; got {array.dtype} {array.shape}")
    if array.size and not 0 <= array.min() <= array.max() < classes:
        raise ValueError(f"class indices must be 0 to {classes - 1}; got {array.min()} to {array.max()}")
    return array.astype(np.int64)


def _hits(confusion: Values) -> Values:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _support(confusion: Values) -> Values:
    return confusion.sum(-1)


def _mean(values: Values, weights: Values) -> Values:
    return _ratio(np.where(weights > 0, values * weights, 0).sum(-1), weights.sum(-1), empty=np.nan)


def _ratio(part: Values, whole: Values, *, empty: float) -> Values:
    some = whole > 0
    return np.where(some, part / np.where(some, whole, 1), empty)
