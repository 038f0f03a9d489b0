"""Overlap of a predicted and a true mask: count the pixels of each image first, derive any measure after.

The measures of the ISIC 2017 and 2018 challenges (Codella et al., 2018 and 2019); thresholded Jaccard is ISIC 2018's
headline: a Jaccard index below 0.65 counts as a failure, 0. Each function gives one value an image, at the resolution
of the masks; nothing is averaged or pooled here.

Empty masks: Dice and both Jaccards of two empty masks are 1, of one empty mask 0 (the challenges' own rule).
Sensitivity needs lesion pixels and specificity needs background: where the truth has none, the value is NaN, undefined,
and whoever averages leaves it out and prints how many were left out. Here the challenges' scorer gives a free 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "JACCARD_THRESHOLD",
    "Counts",
    "accuracy",
    "count",
    "dice",
    "jaccard",
    "sensitivity",
    "specificity",
    "thresholded_jaccard",
]

JACCARD_THRESHOLD = 0.65
"""ISIC 2018: the Jaccard index below which a human reader calls the segmentation a failure."""

Values = NDArray[np.float64]


class Counts(NamedTuple):
    """Pixels of each image, (N,) int64 each: lesion found, background called lesion, lesion missed, background kept."""

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    tn: NDArray[np.int64]


def count(pred: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Counts:
    """(N, H, W) or (H, W) bool, twice -> `Counts` of (N,) or () int64. ValueError for other types or unequal shapes.

    >>> pred, truth = np.array([[1, 1], [0, 0]], bool), np.array([[1, 0], [1, 0]], bool)
    >>> [int(part) for part in count(pred, truth)]
    [1, 1, 1, 1]
    """
    if pred.dtype != np.bool_ or truth.dtype != np.bool_:
        raise ValueError(f"masks must be bool; got {pred.dtype} and {truth.dtype}: cut probabilities or 0/255 first")
    if pred.shape != truth.shape or pred.ndim not in (2, 3) or 0 in pred.shape[-2:]:
        raise ValueError(f"masks must both be (H, W) or (N, H, W); got {pred.shape} and {truth.shape}")
    plane = (-2, -1)
    tp = np.asarray(np.count_nonzero(pred & truth, axis=plane), np.int64)
    fp = np.asarray(np.count_nonzero(pred, axis=plane), np.int64) - tp
    fn = np.asarray(np.count_nonzero(truth, axis=plane), np.int64) - tp
    return Counts(tp, fp, fn, pred.shape[-2] * pred.shape[-1] - tp - fp - fn)


def dice(counts: Counts) -> Values:
    """2 TP / (2 TP + FP + FN), (N,) in [0, 1]; two empty masks: 1.

    >>> float(dice(count(np.ones((2, 2), bool), np.array([[1, 1], [1, 0]], bool)))) == 6 / 7
    True
    """
    return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn, empty=1.0)


def jaccard(counts: Counts) -> Values:
    """TP / (TP + FP + FN), (N,) in [0, 1]; two empty masks: 1.

    >>> float(jaccard(count(np.ones((2, 2), bool), np.array([[1, 1], [1, 0]], bool))))
    0.75
    """
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn, empty=1.0)


def thresholded_jaccard(counts: Counts) -> Values:
    """The Jaccard index, or 0 where it is below 0.65 (ISIC 2018, task 1), (N,).

    >>> thresholded_jaccard(Counts(*np.array([[64, 65], [36, 35], [0, 0], [0, 0]]))).tolist()
    [0.0, 0.65]
    """
    index = jaccard(counts)
    return np.where(index < JACCARD_THRESHOLD, 0.0, index)


def accuracy(counts: Counts) -> Values:
    """(TP + TN) / pixels, (N,) in [0, 1].

    >>> float(accuracy(count(np.zeros((2, 2), bool), np.array([[1, 0], [0, 0]], bool))))
    0.75
    """
    return _ratio(counts.tp + counts.tn, counts.tp + counts.fp + counts.fn + counts.tn, empty=np.nan)


def sensitivity(counts: Counts) -> Values:
    """TP / (TP + FN), (N,) in [0, 1]; NaN where the truth is empty.

    >>> float(sensitivity(count(np.zeros((2, 2), bool), np.zeros((2, 2), bool))))
    nan
    """
    return _ratio(counts.tp, counts.tp + counts.fn, empty=np.nan)


def specificity(counts: Counts) -> Values:
    """TN / (TN + FP), (N,) in [0, 1]; NaN where the truth covers the whole image.

    >>> float(specificity(count(np.ones((2, 2), bool), np.array([[1, 0], [0, 0]], bool))))
    0.0
    """
    return _ratio(counts.tn, counts.tn + counts.fp, empty=np.nan)


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64], *, empty: float) -> Values:
    some = whole > 0
    return np.where(some, part / np.where(some, whole, 1), empty)
