"""Intervals and tests: against scipy and by hand, coverage on a toy, and published pairs that cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from numpy.testing import assert_allclose
from scipy import stats

from cutis.errors import CutisError
from cutis.evaluation.statistics import bootstrap, bootstrap_mean, jaccard_bounds, pair_is_possible, paired

DRAW = {"confidence": 0.95, "resamples": 2000, "seed": 7}


def test_bootstrap_of_single_images_agrees_with_scipy():
    values = np.random.default_rng(0).beta(8, 1, 120)
    ours = bootstrap_mean(values, [str(i) for i in range(120)], confidence=0.95, resamples=20_000, seed=1)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=2).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    width = theirs.high - theirs.low
    assert_allclose([ours.low, ours.high], theirs, atol=0.03 * width)
    assert (ours.n, ours.groups) == (120, 120)


def test_intervals_cover_the_truth_only_if_lesions_are_resampled():
    # 40 lesions of 1 to 12 images; a lesion's images are nearly alike, so there are about 40 pieces of evidence.
    rng = np.random.default_rng(3)
    covered = {"lesion": 0, "image": 0}
    trials = 300
    for trial in range(trials):
        sizes = rng.integers(1, 13, 40)
        lesion = np.repeat(np.arange(40), sizes).astype(str)
        values = np.repeat(rng.normal(0.8, 0.1, 40), sizes) + rng.normal(0, 0.01, sizes.sum())
        images = np.arange(len(values)).astype(str)
        for name, groups in (("lesion", lesion), ("image", images)):
            interval = bootstrap_mean(values, groups, confidence=0.95, resamples=300, seed=trial)
            covered[name] += interval.low <= 0.8 <= interval.high
    assert 0.88 <= covered["lesion"] / trials <= 0.98
    assert covered["image"] / trials < 0.7


def test_bootstrap_is_seeded_and_ignores_the_order_of_images():
    rng = np.random.default_rng(5)
    values, groups = rng.random(50), rng.integers(0, 20, 50).astype(str)
    first = bootstrap_mean(values, groups, **DRAW)
    assert first == bootstrap_mean(values, groups, **DRAW)
    order = rng.permutation(50)
    assert_allclose(bootstrap_mean(values[order], groups[order], **DRAW), first)
    assert first != bootstrap_mean(values, groups, **DRAW | {"seed": 8})


def test_chunks_do_not_matter(monkeypatch):
    values, groups = np.random.default_rng(5).random(50), [str(n) for n in range(50)]
    whole = bootstrap_mean(values, groups, **DRAW)
    monkeypatch.setattr("cutis.evaluation.statistics._CHUNK", 500)
    assert bootstrap_mean(values, groups, **DRAW) == whole


def test_nan_is_left_out_and_counted():
    with_nan = bootstrap_mean([0.5, np.nan, 0.7, np.nan], ["a", "b", "c", "c"], **DRAW)
    without = bootstrap_mean([0.5, 0.7], ["a", "c"], **DRAW)
    assert with_nan == without
    assert (with_nan.n, with_nan.groups) == (2, 2)
    nothing = bootstrap_mean([np.nan], ["a"], **DRAW)
    assert nothing.n == nothing.groups == 0
    assert np.isnan(nothing[:3]).all()
    with pytest.raises(ValueError, match="one group a value"):
        bootstrap_mean([0.5, 0.6], ["a"], **DRAW)


@given(nps.arrays(np.float64, st.integers(1, 20), elements=st.floats(0, 1)))
def test_interval_holds_its_bounds(values):
    interval = bootstrap_mean(values, [str(n // 2) for n in range(len(values))], **DRAW | {"resamples": 50})
    assert values.min() - 1e-9 <= interval.low <= interval.high <= values.max() + 1e-9
    if len(values) <= 2:  # one lesion: nothing to resample
        assert_allclose([interval.low, interval.high], interval.mean)


def test_paired_is_scipys():
    rng = np.random.default_rng(9)
    first = rng.random(60)
    second = first + rng.normal(0.02, 0.05, 60)
    result = paired(first, second, [str(n) for n in range(60)], **DRAW)
    t, ranks = stats.ttest_rel(first, second), stats.wilcoxon(first, second)
    assert_allclose([result.t, result.t_p], [t.statistic, t.pvalue])
    assert_allclose([result.wilcoxon, result.wilcoxon_p], [ranks.statistic, ranks.pvalue])
    assert result.difference.mean == pytest.approx((first - second).mean())
    back = paired(second, first, [str(n) for n in range(60)], **DRAW)
    assert_allclose([back.t, back.t_p, back.wilcoxon_p], [-result.t, result.t_p, result.wilcoxon_p])


def test_paired_by_hand():
    # Differences 1, 2, 3, 4, -5: mean 1, variance 12.5; t = 1 / sqrt(12.5 / 5). Ranks of minus: 5, of plus: 10.
    result = paired([2, 4, 6, 8, 0], [1, 2, 3, 4, 5], list("abcde"), **DRAW)
    assert result.t == pytest.approx(1 / np.sqrt(2.5))
    assert result.wilcoxon == 5


def test_paired_leaves_nan_out_and_knows_equals():
    result = paired([0.1, np.nan, 0.4, 0.5], [0.2, 0.3, 0.5, np.nan], list("abcd"), **DRAW)
    assert result.n == result.difference.n == 2
    same = paired([0.1, 0.2, 0.3], [0.1, 0.2, 0.3], list("abc"), **DRAW)
    assert (same.difference.mean, same.t_p, same.wilcoxon_p) == (0, 1, 1)
    with pytest.raises(CutisError, match="at least two"):
        paired([0.1, np.nan], [0.2, 0.3], list("ab"), **DRAW)
    with pytest.raises(ValueError, match="same images"):
        paired([0.1, 0.2], [0.2], list("ab"), **DRAW)


@given(nps.arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1)))
def test_real_pairs_keep_jensens_bounds(dice):
    jaccard = dice / (2 - dice)
    low, high = jaccard_bounds(dice.mean().clip(0, 1))
    assert low - 1e-12 <= jaccard.mean() <= high + 1e-12
    assert pair_is_possible(round(dice.mean(), 4), round(jaccard.mean(), 4), rounding=0.00005)


@pytest.mark.parametrize(
    ("dice", "jaccard", "possible"),
    [
        (0.9063, 0.8198, False),  # SLSNet, ISBI 2017 (its abstract)
        (0.9063, 0.8287, True),  # the least Jaccard of that Dice, rounded
        (0.9063, 0.8285, False),
        (0.9063, 0.9065, False),  # above Dice
        (1.0, 1.0, True),
        (0.0, 0.0, True),
    ],
)
def test_published_pairs(dice, jaccard, possible):
    assert pair_is_possible(dice, jaccard, rounding=0.00005) is possible


def test_percentages_are_refused():
    with pytest.raises(ValueError, match="divide percentages"):
        jaccard_bounds(90.63)


def test_bootstrap_of_any_measure_draws_as_the_bootstrap_of_means(monkeypatch):
    rng = np.random.default_rng(5)
    values, groups = rng.random(50), rng.integers(0, 20, 50).astype(str)

    def measures(weights):
        share = weights @ values / weights.sum(-1)
        return {"mean": share, "square": share**2, "sometimes": np.where(share > values.mean(), share, np.nan)}

    found = bootstrap(measures, groups, **DRAW)
    assert_allclose(found["mean"], bootstrap_mean(values, groups, **DRAW))
    assert_allclose(found["square"][:3], np.square(found["mean"][:3]), rtol=1e-3)  # a square keeps the order
    assert np.isnan(found["sometimes"].low)  # undefined for the images as they are
    monkeypatch.setattr("cutis.evaluation.statistics._CHUNK", 700)
    assert_allclose(bootstrap(measures, groups, **DRAW)["mean"], found["mean"])


def test_resamples_in_which_a_measure_is_undefined_are_left_out():
    found = bootstrap(lambda weights: {"rare": np.where(weights[:, 0] > 0, 1.0, np.nan)}, list("abc"), **DRAW)
    assert found["rare"][:3] == (1, 1, 1)
