"""Classification measures: against scikit-learn on random answers, by hand where a class is absent, and as laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn import metrics

from cutis.metrics import classification as ours

K = 4
LABELS = st.lists(st.tuples(st.integers(0, K - 1), st.integers(0, K - 1)), min_size=1, max_size=40)
SCORED = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30).filter(
    lambda pairs: len({side for _, side in pairs}) == 2
)


def columns(pairs):
    return [np.array(column) for column in zip(*pairs, strict=True)]


@given(LABELS)
def test_all_measures_are_scikit_learns(pairs):
    truth, pred = columns(pairs)
    matrix = ours.confusion_matrix(truth, pred, K)
    assert_allclose(matrix, metrics.confusion_matrix(truth, pred, labels=range(K)))
    assert_allclose(ours.accuracy(matrix), metrics.accuracy_score(truth, pred))
    present = np.unique(truth)
    for average, mean in (("macro", ours.macro), ("weighted", ours.weighted)):
        options = {"labels": present, "average": average, "zero_division": 0}
        theirs = metrics.precision_recall_fscore_support(truth, pred, **options)[:3]
        found = [mean(measure(matrix), matrix) for measure in (ours.precision, ours.recall, ours.f1)]
        assert_allclose(found, theirs, atol=1e-12)
    one_each = metrics.precision_recall_fscore_support(truth, pred, labels=range(K), zero_division=np.nan)
    assert_allclose(ours.recall(matrix), one_each[1])
    known = ~np.isnan(one_each[0])  # a class there and never called: 0 here, undefined there
    assert_allclose(ours.precision(matrix)[known], one_each[0][known])
    assert_allclose(matrix.sum(1), one_each[3])
    expected = recalls_mean(truth, pred)
    assert_allclose(ours.balanced_accuracy(matrix), expected)
    for k in range(K):
        others = truth != k
        wanted = np.mean(pred[others] != k) if others.any() else np.nan
        assert_allclose(ours.specificity(matrix)[k], wanted)


def recalls_mean(truth, pred):
    """Balanced accuracy from its definition; scikit-learn warns where an answer is no true class."""
    return np.mean([np.mean(pred[truth == k] == k) for k in np.unique(truth)])


@given(LABELS)
def test_kappa_is_scikit_learns(pairs):
    truth, pred = columns(pairs)
    found = ours.cohen_kappa(ours.confusion_matrix(truth, pred, K))
    if len(set(truth) | set(pred)) == 1:
        assert np.isnan(found)
    else:
        assert_allclose(found, metrics.cohen_kappa_score(truth, pred, labels=range(K)), atol=1e-12)
        assert found <= 1


def test_an_absent_class_is_left_out_and_a_class_never_called_counts():
    matrix = ours.confusion_matrix([0, 0, 1, 1], [0, 2, 0, 0], 4)  # 1 is never called, 2 absent but called, 3 neither
    assert_allclose(ours.recall(matrix), [0.5, 0, np.nan, np.nan])
    assert_allclose(ours.precision(matrix), [1 / 3, 0, 0, np.nan])
    assert_allclose(ours.f1(matrix), [2 / 5, 0, 0, np.nan])
    assert_allclose(ours.macro(ours.precision(matrix), matrix), 1 / 6)
    assert_allclose(ours.balanced_accuracy(matrix), 0.25)


@given(SCORED)
def test_auroc_is_scikit_learns_with_ties(pairs):
    scores, sides = columns(pairs)
    assert_allclose(ours.auroc(scores, sides), metrics.roc_auc_score(sides, scores))
    assert_allclose(ours.auroc(scores, sides) + ours.auroc(-scores, sides), 1)


@given(SCORED, st.sampled_from([0, 0.3, 0.5, 0.8, 0.9, 1]))
def test_sensitivity_at_specificity_is_on_scikit_learns_curve(pairs, at_least):
    scores, sides = columns(pairs)
    false_share, found_share, _ = metrics.roc_curve(sides, scores, drop_intermediate=False)
    negatives = np.count_nonzero(~sides)
    allowed = np.round(false_share * negatives) <= negatives * (1 - at_least) + 1e-9
    point = ours.sensitivity_at_specificity(scores, sides, at_least)
    assert_allclose(point.sensitivity, found_share[allowed].max())
    assert point.specificity >= at_least - 1e-12
    called = scores >= point.threshold
    assert_allclose([called[sides].mean(), 1 - called[~sides].mean()], point[:2])


@given(SCORED, st.integers(0, 2**32 - 1))
def test_a_weight_is_so_many_copies(pairs, seed):
    scores, sides = columns(pairs)
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(scores)))
    auc = ours.auroc(scores, sides, weights)
    point = ours.sensitivity_at_specificity(scores, sides, 0.7, weights)
    matrices = ours.confusion_matrix(sides.astype(int), scores % 2, 2, weights)
    for row, times in enumerate(weights):
        score, side = np.repeat(scores, times), np.repeat(sides, times)
        assert_allclose(matrices[row], ours.confusion_matrix(side.astype(int), score % 2, 2))
        if len(set(side)) == 2:
            assert_allclose(auc[row], ours.auroc(score, side))
            alone = ours.sensitivity_at_specificity(score, side, 0.7)
            assert_allclose([point.sensitivity[row], point.specificity[row]], alone[:2])
        else:
            assert np.isnan(auc[row])
            assert np.isnan(point.sensitivity[row] + point.specificity[row])


def test_weighted_matrices_give_the_same_measures_at_once():
    rng = np.random.default_rng(0)
    truth, pred, weights = rng.integers(0, 3, 30), rng.integers(0, 3, 30), rng.integers(0, 3, (5, 30))
    matrices = ours.confusion_matrix(truth, pred, 3, weights)
    for measure in (ours.accuracy, ours.cohen_kappa, ours.balanced_accuracy, ours.precision, ours.f1):
        assert_allclose(measure(matrices), [measure(matrix) for matrix in matrices])


def test_brier_is_scikit_learns():
    rng = np.random.default_rng(1)
    probabilities, truth = rng.dirichlet(np.ones(K), 50), rng.integers(0, K, 50)
    theirs = metrics.brier_score_loss(truth, probabilities, labels=range(K), scale_by_half=False)
    assert_allclose(ours.brier(probabilities, truth).mean(), theirs)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ours.confusion_matrix([0, 3], [0, 1], 3), "0 to 2; got 0 to 3"),
        (lambda: ours.confusion_matrix([0, -1], [0, 1], 3), "got -1 to 0"),
        (lambda: ours.confusion_matrix([0, 1], [0], 3), "2 true classes and 1 answers"),
        (lambda: ours.confusion_matrix([0.0], [0], 3), "float64"),
        (lambda: ours.auroc([0.1, np.nan], [True, False]), "NaN"),
        (lambda: ours.auroc([0.1], [True, False]), "one score"),
        (lambda: ours.sensitivity_at_specificity([0.1], [True], 90), "not 90"),
    ],
)
def test_wrong_arrays_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
