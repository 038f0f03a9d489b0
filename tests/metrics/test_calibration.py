"""Calibration: temperatures found again, errors by scikit-learn's curve, and coverage that conformal sets promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import optimize
from sklearn import calibration, metrics

from cutis.metrics.calibration import (
    conformal_quantile,
    expected_calibration_error,
    fit_temperature,
    prediction_sets,
    reliability,
    set_quality,
    softmax,
)


def drawn(n, k, seed, sharp=2.0):
    """Logits, and classes drawn from their softmax: calibrated by construction."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, sharp, (n, k))
    chosen = (softmax(logits, 1).cumsum(1) < rng.random((n, 1))).sum(1)
    return logits, chosen.clip(max=k - 1)


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_the_temperature_is_found_again(factor):
    logits, truth = drawn(20_000, 7, 0)
    found = fit_temperature(factor * logits, truth)
    assert found == pytest.approx(factor, rel=0.03)
    theirs = optimize.minimize_scalar(
        lambda t: metrics.log_loss(truth, softmax(factor * logits, t)), bounds=(0.05, 20), method="bounded",
        options={"xatol": 1e-8},
    ).x  # fmt: skip
    assert found == pytest.approx(theirs, rel=1e-5)


def test_a_temperature_stays_in_its_range():
    logits = np.array([[2.0, 0], [0, 2.0]])
    assert fit_temperature(logits, [0, 1]) == pytest.approx(0.01)
    assert fit_temperature(logits, [1, 0]) == pytest.approx(100)


def test_calibrated_answers_have_little_error_and_sure_ones_much():
    logits, truth = drawn(100_000, 5, 1)  # chance alone leaves about 0.8 * 0.45 / sqrt(n / 15): 0.004
    assert expected_calibration_error(softmax(logits, 1), truth, 15) < 0.01
    too_sure = expected_calibration_error(softmax(logits, 0.3), truth, 15)
    right = (logits.argmax(1) == truth).mean()
    assert too_sure == pytest.approx(softmax(logits, 0.3).max(1).mean() - right, abs=0.01)


def test_bins_are_scikit_learns():
    logits, truth = drawn(500, 3, 2)
    probabilities = softmax(logits, 0.7)
    found = reliability(probabilities, truth, 10)
    right = probabilities.argmax(1) == truth
    share, mean = calibration.calibration_curve(right, probabilities.max(1), n_bins=10, strategy="uniform")
    some = found.images > 0
    assert_allclose(found.accuracy[some], share)
    assert_allclose(found.confidence[some], mean)
    assert found.images.sum() == 500
    wanted = np.abs(found.accuracy - found.confidence)[some] @ found.images[some] / 500
    assert_allclose(expected_calibration_error(probabilities, truth, 10), wanted)


def test_a_weight_is_so_many_copies():
    logits, truth = drawn(60, 3, 3)
    probabilities, times = softmax(logits, 1), np.random.default_rng(0).integers(0, 3, (2, 60))
    errors = expected_calibration_error(probabilities, truth, 5, times)
    for error, row in zip(errors, times, strict=True):
        copies = np.repeat(np.arange(60), row)
        assert_allclose(error, expected_calibration_error(probabilities[copies], truth[copies], 5))


def test_edges_of_bins_belong_below():
    found = reliability([[0.5, 0.5], [1.0, 0.0]], [0, 0], 2)
    assert found.images.tolist() == [1, 1]


@given(st.integers(1, 60), st.floats(0.02, 0.98), st.integers(0, 2**32 - 1))
def test_the_quantile_is_the_corrected_rank(n, coverage, seed):
    logits, truth = drawn(n, 4, seed)
    probabilities = softmax(logits, 1)
    quantile = conformal_quantile(probabilities, truth, coverage)
    scores = 1 - probabilities[np.arange(n), truth]
    within = np.count_nonzero(scores <= quantile)
    wanted = (n + 1) * coverage
    if wanted > n:
        assert quantile == 1
        assert prediction_sets(probabilities, quantile).all()
    else:
        assert within >= wanted - 1e-6
        assert np.count_nonzero(scores < quantile) < wanted
    quality = set_quality(prediction_sets(probabilities, quantile), truth)
    assert quality.coverage == pytest.approx(within / n)  # the sets are the score's own
    assert quality.sizes.sum() == n
    assert quality.empty == pytest.approx(quality.sizes[0] / n)


def test_new_images_are_covered_as_often_as_promised():
    covered, sizes = [], []
    for seed in range(200):
        logits, truth = drawn(260, 5, seed, sharp=1.5)
        probabilities = softmax(logits, 0.5)  # badly calibrated on purpose: coverage must not need calibration
        quantile = conformal_quantile(probabilities[:60], truth[:60], 0.9)
        quality = set_quality(prediction_sets(probabilities[60:], quantile), truth[60:])
        covered.append(quality.coverage)
        sizes.append(quality.mean_size)
    # exact for continuous scores: ceil(0.9 * 61) / 61 = 0.9016; 200 trials scatter by 0.003
    assert np.mean(covered) == pytest.approx(55 / 61, abs=0.01)
    assert 1 < np.mean(sizes) < 5


def test_coverage_by_class():
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]], bool)
    quality = set_quality(sets, [0, 0, 1])
    assert_allclose(quality.by_class, [1, 0, np.nan])
    assert (quality.coverage, quality.mean_size, quality.empty) == pytest.approx((2 / 3, 1, 1 / 3))


@pytest.mark.parametrize("coverage", [0, 1, 90])
def test_a_coverage_is_a_share(coverage):
    with pytest.raises(ValueError, match="between 0 and 1"):
        conformal_quantile([[0.5, 0.5]], [0], coverage)


@pytest.mark.parametrize(("table", "truth"), [([[0.5, np.nan]], [0]), ([[0.5, 0.5]], [2]), ([0.5], [0]), ([[0.5]], [])])
def test_wrong_arrays_are_refused(table, truth):
    with pytest.raises(ValueError, match="class indices"):
        fit_temperature(table, np.array(truth, int))
