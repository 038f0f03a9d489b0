"""Whether a probability means what it says: reliability, calibration error, temperature, conformal prediction sets.

Expected calibration error over equal bins of the top probability, and temperature scaling: Guo et al., "On Calibration
of Modern Neural Networks" (ICML 2017), Sec. 2 and 4.2. Prediction sets: the least ambiguous sets of Sadinle, Lei and
Wasserman (JASA 2019) by split conformal prediction (Vovk et al., 2005): the score of an image is 1 - p of its true
class, and the quantile has the finite-sample correction: it is the ceil((n + 1) coverage)-th of n scores.

What differs: the temperature is found by bisection. The negative log-likelihood is convex in 1 / T, so its one slope is
all that is needed and no optimiser's settings can change the answer. Conformal coverage holds over lesions drawn like
those it was fitted on; several images of one lesion are not: fit on one image a lesion, or say so.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Reliability",
    "SetQuality",
    "conformal_quantile",
    "expected_calibration_error",
    "fit_temperature",
    "prediction_sets",
    "reliability",
    "set_quality",
    "softmax",
]

COLDEST, HOTTEST = 0.01, 100.0
"""The range in which a temperature is sought: a network that is never wrong would want 0."""

Values = NDArray[np.float64]


class Reliability(NamedTuple):
    """One value a bin, (..., B): images (or their weight), mean top probability, share right; NaN if empty."""

    images: Values
    confidence: Values
    accuracy: Values


class SetQuality(NamedTuple):
    """Prediction sets against the truth: share that holds it, also by class (NaN: absent), sizes, share empty."""

    coverage: float
    by_class: Values
    mean_size: float
    sizes: NDArray[np.int64]
    empty: float


def softmax(logits: ArrayLike, temperature: float) -> Values:
    """(N, K) logits -> (N, K) probabilities of logits / temperature.

    >>> softmax([[0.0, np.log(3.0)]], 1.0).round(4).tolist()
    [[0.25, 0.75]]
    """
    scaled = np.asarray(logits, np.float64) / temperature
    grown = np.exp(scaled - scaled.max(-1, keepdims=True))
    return grown / grown.sum(-1, keepdims=True)


def reliability(probabilities: ArrayLike, truth: ArrayLike, bins: int, weights: ArrayLike | None = None) -> Reliability:
    """(N, K) and (N,) class indices -> `Reliability` over `bins` equal bins (low, high] of the top probability.

    The answer is the class of the top probability (the first of equals). With weights (..., N): (..., B).

    >>> found = reliability([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]], [0, 1, 1], bins=2)
    >>> found.images.tolist(), found.confidence.round(4).tolist(), found.accuracy.round(4).tolist()
    ([0.0, 3.0], [nan, 0.7667], [nan, 0.6667])
    """
    table, true = _checked(probabilities, truth)
    confidence = table.max(-1)
    member = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    weight = np.ones(len(true)) if weights is None else np.asarray(weights, np.float64)
    into = np.eye(bins)[member]
    count = weight @ into
    safe = np.where(count > 0, count, np.nan)
    return Reliability(count, (weight * confidence) @ into / safe, (weight * (table.argmax(-1) == true)) @ into / safe)


def expected_calibration_error(
    probabilities: ArrayLike, truth: ArrayLike, bins: int, weights: ArrayLike | None = None
) -> Values:
    """(N, K) and (N,) -> (): mean over images of |share right - mean top probability| of their bin.

    >>> round(float(expected_calibration_error([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]], [0, 1, 1], bins=2)), 4)
    0.1
    """
    count, confidence, right = reliability(probabilities, truth, bins, weights)
    return np.nansum(count * np.abs(right - confidence), -1) / count.sum(-1)


def fit_temperature(logits: ArrayLike, truth: ArrayLike) -> float:
    """(N, K) logits and (N,) class indices of validation images -> the T of least negative log-likelihood.

    Within 0.01 to 100; the end of that range where the likelihood grows beyond it (no answer wrong, or no better than
    chance). Dividing by T never changes the order of the classes.

    >>> z = np.log([[0.8, 0.2]] * 5)
    >>> round(fit_temperature(3 * z, [0, 0, 0, 0, 1]), 6)  # three times too sure
    3.0
    """
    table, true = _checked(logits, truth)
    own = table[np.arange(len(true)), true]

    def slope(log_t: float) -> float:  # d NLL / d (1 / T): falls through 0 as T grows
        return float(((softmax(table, math.exp(log_t)) * table).sum(-1) - own).mean())

    low, high = math.log(COLDEST), math.log(HOTTEST)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return math.exp((low + high) / 2)


def conformal_quantile(probabilities: ArrayLike, truth: ArrayLike, coverage: float) -> float:
    """(N, K) calibrated probabilities and (N,) class indices of validation images -> the quantile of 1 - p_true.

    Sets of it hold the true class of a new image with probability `coverage` or more. 1.0, every class, where there are
    too few images to promise that: fewer than coverage / (1 - coverage).

    >>> conformal_quantile([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.2, 0.8]], [0, 0, 1, 1], 0.75).__round__(6)
    0.6
    >>> conformal_quantile([[0.9, 0.1]], [0], 0.9)
    1.0
    """
    if not 0 < coverage < 1:
        raise ValueError(f"a coverage is between 0 and 1, not {coverage}")
    table, true = _checked(probabilities, truth)
    scores = np.sort(1 - table[np.arange(len(true)), true])
    rank = math.ceil(round((len(scores) + 1) * coverage, 9))  # 0.9 * 10 is 9, also in binary
    return 1.0 if rank > len(scores) else float(scores[rank - 1])


def prediction_sets(probabilities: ArrayLike, quantile: float) -> NDArray[np.bool_]:
    """(N, K) calibrated probabilities -> (N, K) bool: the classes with 1 - p at most `quantile`. A set may be empty.

    >>> prediction_sets([[0.7, 0.25, 0.05]], 0.8).tolist()
    [[True, True, False]]
    """
    return 1 - np.asarray(probabilities, np.float64) <= quantile


def set_quality(sets: NDArray[np.bool_], truth: ArrayLike) -> SetQuality:
    """(N, K) bool and (N,) class indices -> `SetQuality`; `sizes` counts the sets of 0 to K classes.

    >>> found = set_quality(np.array([[1, 0], [1, 1], [1, 0], [0, 0]], bool), [0, 1, 1, 0])
    >>> found.coverage, found.by_class.tolist(), found.mean_size, found.sizes.tolist(), found.empty
    (0.5, [0.5, 0.5], 1.0, [1, 2, 1], 0.25)
    """
    true = np.asarray(truth)
    held = sets[np.arange(len(true)), true]
    classes = sets.shape[1]
    images = np.bincount(true, minlength=classes)
    by_class = np.bincount(true, held, minlength=classes) / np.where(images > 0, images, np.nan)
    size = sets.sum(-1)
    sizes = np.bincount(size, minlength=classes + 1)
    return SetQuality(float(held.mean()), by_class, float(size.mean()), sizes, float((size == 0).mean()))


def _checked(table: ArrayLike, truth: ArrayLike) -> tuple[Values, NDArray[np.int64]]:
    values, true = np.asarray(table, np.float64), np.asarray(truth)
    if values.ndim != 2 or true.shape != values.shape[:1] or not len(true) or true.dtype.kind not in "iu":
        raise ValueError(f"(N, K) values and (N,) class indices are needed; got {values.shape} and {true.shape}")
    if not np.isfinite(values).all() or not 0 <= true.min() <= true.max() < values.shape[1]:
        raise ValueError(f"values must be finite and class indices 0 to {values.shape[1] - 1}")
    return values, true.astype(np.int64)
