"""What a mean over images is worth: an interval that respects lesions, paired tests, and a check of published pairs.

Bootstrap of whole groups (Efron and Tibshirani, 1993; Field and Welsh, 2007): several images of one lesion are no
independent evidence, so lesions are drawn, each with all its images. Paired t and Wilcoxon's signed-rank test compare
two models on the same images. NaN values (a measure undefined for an image) are left out and the count says so.
Measures that are no mean over images (kappa, F1, AUROC) go through `bootstrap`, where drawn lesions are weights of
their images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cutis.errors import CutisError, missing

__all__ = ["Interval", "Paired", "bootstrap", "bootstrap_mean", "jaccard_bounds", "paired", "pair_is_possible"]

_CHUNK = 2**22  # drawn group numbers held at a time: 32 MB


class Interval(NamedTuple):
    """A mean with its bootstrap interval; `n` values of `groups` lesions (NaN left out). NaN where there are none."""

    mean: float
    low: float
    high: float
    n: int
    groups: int


class Paired(NamedTuple):
    """Two models on the same `n` images: mean of the differences (first minus second) and the two-sided p-values."""

    n: int
    difference: Interval
    t: float
    t_p: float
    wilcoxon: float
    wilcoxon_p: float


def bootstrap_mean(
    values: ArrayLike, groups: Sequence[str], *, confidence: float, resamples: int, seed: int
) -> Interval:
    """(N,) values and their N group names -> the mean over images and its percentile interval, groups resampled.

    With every image its own group this is the ordinary bootstrap.

    >>> interval = bootstrap_mean([0.9, 0.8, 0.7, 1.0], ["a", "a", "b", "c"], confidence=0.95, resamples=1000, seed=0)
    >>> round(interval.mean, 3), interval.n, interval.groups, interval.low < 0.85 < interval.high
    (0.85, 4, 3, True)
    """
    numbers = np.asarray(values, np.float64)
    if numbers.shape != (len(groups),):
        raise ValueError(f"one group a value is needed; got {numbers.shape} values and {len(groups)} groups")
    known = ~np.isnan(numbers)
    numbers = numbers[known]
    if numbers.size == 0:
        return Interval(np.nan, np.nan, np.nan, 0, 0)
    _, member = np.unique(np.asarray(groups)[known], return_inverse=True)
    sums, sizes = np.bincount(member, numbers).astype(np.float64), np.bincount(member)
    means = _resampled_means(sums, sizes, resamples, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(numbers.mean()), float(low), float(high), numbers.size, len(sizes))


def bootstrap(
    statistic: Callable[[NDArray[np.float64]], Mapping[str, NDArray[np.float64]]],
    groups: Sequence[str],
    *,
    confidence: float,
    resamples: int,
    seed: int,
) -> dict[str, Interval]:
    """Percentile intervals of any measures of N images, groups resampled as in `bootstrap_mean`, with the same draws.

    `statistic` takes weights (R, N), how often each image counts, and gives (R,) values by name. Each interval's `mean`
    is the measure of the images as they are. Resamples in which a measure is undefined (NaN) are left out of its
    interval.

    >>> values = np.array([0.9, 0.8, 0.7, 1.0])
    >>> def mean(weights):
    ...     return {"mean": weights @ values / weights.sum(-1)}
    >>> found = bootstrap(mean, ["a", "a", "b", "c"], confidence=0.95, resamples=1000, seed=0)["mean"]
    >>> other = bootstrap_mean(values, ["a", "a", "b", "c"], confidence=0.95, resamples=1000, seed=0)
    >>> bool(np.allclose(found, other))
    True
    """
    images = len(groups)
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    count, rng = len(names), np.random.default_rng(seed)
    values = {name: float(value[0]) for name, value in statistic(np.ones((1, images))).items()}
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in values}
    for start in range(0, resamples, rows := max(1, _CHUNK // max(1, images))):
        picks = rng.integers(count, size=(min(rows, resamples - start), count))
        cells = (picks + count * np.arange(len(picks))[:, None]).ravel()
        times = np.bincount(cells, minlength=count * len(picks)).reshape(len(picks), count)
        for name, value in statistic(times[:, member].astype(np.float64)).items():
            drawn[name].append(value)
    return {name: _percentiles(values[name], drawn[name], confidence, images, count) for name in values}


def paired(
    first: ArrayLike, second: ArrayLike, groups: Sequence[str], *, confidence: float, resamples: int, seed: int
) -> Paired:
    """(N,) values of two models on the same N images -> `Paired`. Images where either is NaN are left out.

    Where no image differs both p-values are 1. The tests take each image as independent; the interval of the difference
    resamples by group. Needs scipy; CutisError without it, or with fewer than two images.

    >>> a, b = [0.90, 0.85, 0.80, 0.95, 0.70], [0.88, 0.80, 0.81, 0.90, 0.60]
    >>> result = paired(a, b, list("abcde"), confidence=0.95, resamples=1000, seed=0)
    >>> result.n, round(result.difference.mean, 3), round(result.t_p, 3), round(result.wilcoxon_p, 3)
    (5, 0.042, 0.083, 0.125)
    """
    try:
        from scipy import stats
    except ModuleNotFoundError as error:
        raise missing("the paired tests need", "scipy") from error
    one, two = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != two.shape:
        raise ValueError(f"paired values must be of the same images; got {one.shape} and {two.shape}")
    difference = bootstrap_mean(one - two, groups, confidence=confidence, resamples=resamples, seed=seed)
    known = ~np.isnan(one - two)
    one, two = one[known], two[known]
    if len(one) < 2:
        raise CutisError(f"a paired test needs at least two shared images; there are {len(one)}")
    if (one == two).all():
        return Paired(len(one), difference, 0.0, 1.0, 0.0, 1.0)
    t, ranks = stats.ttest_rel(one, two), stats.wilcoxon(one, two)
    return Paired(
        len(one), difference, float(t.statistic), float(t.pvalue), float(ranks.statistic), float(ranks.pvalue)
    )


def jaccard_bounds(mean_dice: float) -> tuple[float, float]:
    """The mean Jaccard that a mean Dice over the same images allows: at least D / (2 - D) (Jensen), at most D.

    An image's Jaccard is the convex function d / (2 - d) of its Dice d, so the mean of the function is at least the
    function of the mean, and at most the chord from (0, 0) to (1, 1).

    >>> [round(bound, 4) for bound in jaccard_bounds(0.9063)]
    [0.8287, 0.9063]
    """
    if not 0 <= mean_dice <= 1:
        raise ValueError(f"a mean Dice is between 0 and 1, not {mean_dice}: divide percentages by 100")
    return mean_dice / (2 - mean_dice), mean_dice


def pair_is_possible(mean_dice: float, mean_jaccard: float, *, rounding: float) -> bool:
    """Can both be means over the same images? `rounding`: half of the last digit printed (0.00005 for 90.63%).

    SLSNet's ISIC 2017 pair is not:

    >>> pair_is_possible(0.9063, 0.8198, rounding=0.00005)
    False
    >>> pair_is_possible(0.9063, 0.8412, rounding=0.00005)
    True
    """
    lowest = jaccard_bounds(max(0.0, mean_dice - rounding))[0] - rounding
    highest = jaccard_bounds(min(1.0, mean_dice + rounding))[1] + rounding
    return lowest <= mean_jaccard <= highest


def _resampled_means(
    sums: NDArray[np.float64], sizes: NDArray[np.int64], resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(G,) sums and sizes of groups -> (resamples,) means over the images of G groups drawn with replacement."""
    count = len(sums)
    means = []
    for start in range(0, resamples, rows := max(1, _CHUNK // count)):
        drawn = rng.integers(count, size=(min(rows, resamples - start), count))
        means.append(sums[drawn].sum(1) / sizes[drawn].sum(1))
    return np.concatenate(means)


def _percentiles(
    value: float, drawn: Sequence[NDArray[np.float64]], confidence: float, images: int, groups: int
) -> Interval:
    known = np.concatenate(drawn)
    known = known[~np.isnan(known)]
    if np.isnan(value) or not known.size:
        return Interval(value, np.nan, np.nan, images, groups)
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high), images, groups)
