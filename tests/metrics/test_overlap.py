"""Overlap measures: by hand, by the ISIC challenge's worked cases, against scikit-learn and MONAI, and as laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from numpy.testing import assert_allclose

from cutis.metrics.overlap import (
    Counts,
    accuracy,
    count,
    dice,
    jaccard,
    sensitivity,
    specificity,
    thresholded_jaccard,
)

FORMULAS = (dice, jaccard, thresholded_jaccard, accuracy, sensitivity, specificity)
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7))


@st.composite
def pairs(draw):
    """Two bool stacks of one shape; sparse and full masks are likely."""
    shape = draw(SHAPES)
    masks = nps.arrays(np.bool_, shape) | st.just(np.zeros(shape, bool)) | st.just(np.ones(shape, bool))
    return draw(masks), draw(masks)


# The ISIC challenge's scorer is tested on one 2x2 lesion in a 4x4 picture against these predictions (tp, fp, fn, tn by
# hand): empty, apart, a quarter, half, half filled, three quarters filled, equal, one pixel more, all.
ISIC_CASES = {
    "empty": ([], 0, 0, 4, 12),
    "apart": ([(2, 2), (2, 3), (3, 2), (3, 3)], 0, 4, 4, 8),
    "quarter": ([(1, 1), (1, 2), (2, 1), (2, 2)], 1, 3, 3, 9),
    "half": ([(0, 1), (0, 2), (1, 1), (1, 2)], 2, 2, 2, 10),
    "half filled": ([(0, 1), (1, 1)], 2, 0, 2, 12),
    "three quarters": ([(0, 1), (1, 0), (1, 1)], 3, 0, 1, 12),
    "equal": ([(0, 0), (0, 1), (1, 0), (1, 1)], 4, 0, 0, 12),
    "one more": ([(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)], 4, 1, 0, 11),
    "all": ([(i, j) for i in range(4) for j in range(4)], 4, 12, 0, 0),
}


@pytest.mark.parametrize("case", ISIC_CASES)
def test_isic_challenge_cases(case):
    pixels, tp, fp, fn, tn = ISIC_CASES[case]
    truth, pred = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    truth[:2, :2] = True
    for pixel in pixels:
        pred[pixel] = True
    counts = count(pred, truth)
    assert counts == Counts(tp, fp, fn, tn)
    index = tp / (tp + fp + fn)
    assert dice(counts) == 2 * tp / (2 * tp + fp + fn)
    assert jaccard(counts) == index
    assert thresholded_jaccard(counts) == (index if case in ("three quarters", "equal", "one more") else 0)
    assert accuracy(counts) == (tp + tn) / 16
    assert sensitivity(counts) == tp / 4
    assert specificity(counts) == tn / 12


def test_empty_masks_follow_the_written_rule():
    empty, full, some = np.zeros((3, 3), bool), np.ones((3, 3), bool), np.eye(3, dtype=bool)
    for formula in (dice, jaccard, thresholded_jaccard, accuracy):
        assert formula(count(empty, empty)) == 1
    for formula in (dice, jaccard, thresholded_jaccard):
        assert formula(count(some, empty)) == 0
        assert formula(count(empty, some)) == 0
    assert np.isnan(sensitivity(count(some, empty)))
    assert np.isnan(sensitivity(count(empty, empty)))
    assert specificity(count(empty, empty)) == 1
    assert np.isnan(specificity(count(some, full)))
    assert sensitivity(count(empty, full)) == 0


def test_the_threshold_itself_passes():
    counts = Counts(*np.array([[649_999, 65, 13], [350_001, 35, 7], [0, 0, 0], [0, 0, 0]]))
    assert thresholded_jaccard(counts).tolist() == [0, 0.65, 0.65]


@given(pairs())
def test_against_scikit_learn(pair):
    from sklearn.metrics import accuracy_score, f1_score, jaccard_score, recall_score

    pred, truth = pair
    counts = count(pred, truth)
    for index, (p, t) in enumerate(zip(pred.reshape(len(pred), -1), truth.reshape(len(truth), -1), strict=True)):
        assert_allclose(dice(counts)[index], f1_score(t, p, zero_division=1.0))
        assert_allclose(jaccard(counts)[index], jaccard_score(t, p, zero_division=1.0) if p.any() or t.any() else 1)
        assert_allclose(accuracy(counts)[index], accuracy_score(t, p))
        assert_allclose(sensitivity(counts)[index], recall_score(t, p, zero_division=np.nan))
        assert_allclose(specificity(counts)[index], recall_score(~t, ~p, zero_division=np.nan))


def test_dice_against_monai():
    import torch
    from monai.metrics import compute_dice, compute_iou

    rng = np.random.default_rng(3)
    pred, truth = rng.random((2, 20, 17, 23)) < rng.random((2, 20, 1, 1))
    tensors = [torch.from_numpy(mask[:, None].astype(np.float32)) for mask in (pred, truth)]
    assert_allclose(dice(count(pred, truth)), compute_dice(*tensors).numpy()[:, 0], rtol=1e-6)
    assert_allclose(jaccard(count(pred, truth)), compute_iou(*tensors).numpy()[:, 0], rtol=1e-6)


@given(pairs())
def test_laws(pair):
    pred, truth = pair
    counts = count(pred, truth)
    assert (sum(counts) == pred[0].size).all()
    d, j = dice(counts), jaccard(counts)
    assert_allclose(j, d / (2 - d))
    assert (thresholded_jaccard(counts) <= j).all()
    for formula in FORMULAS:
        values = formula(counts)
        assert values.shape == (len(pred),)
        assert ((values >= 0) & (values <= 1) | np.isnan(values)).all()
    for formula in (dice, jaccard, thresholded_jaccard, accuracy):
        assert_allclose(formula(count(truth, pred)), formula(counts))  # symmetric
    assert_allclose(specificity(count(~pred, ~truth)), sensitivity(counts))  # lesion and background change places


@given(pairs(), st.randoms(use_true_random=False))
def test_only_counts_matter(pair, random):
    pred, truth = pair
    order = list(range(pred[0].size))
    random.shuffle(order)
    moved = [mask.reshape(len(mask), -1)[:, order].reshape(mask.shape) for mask in pair]
    for formula in FORMULAS:
        assert_allclose(formula(count(*moved)), formula(count(pred, truth)))


@given(pairs())
def test_one_image_or_many(pair):
    pred, truth = pair
    many = count(pred, truth)
    for index in range(len(pred)):
        assert count(pred[index], truth[index]) == Counts(*(part[index] for part in many))


@pytest.mark.parametrize(
    ("pred", "truth", "said"),
    [
        (np.zeros((2, 2), np.uint8), np.zeros((2, 2), bool), "must be bool"),
        (np.zeros((2, 2), bool), np.zeros((2, 2), np.float32), "must be bool"),
        (np.zeros((2, 2), bool), np.zeros((2, 3), bool), "must both be"),
        (np.zeros(4, bool), np.zeros(4, bool), "must both be"),
        (np.zeros((0, 4), bool), np.zeros((0, 4), bool), "must both be"),
    ],
)
def test_refuses(pred, truth, said):
    with pytest.raises(ValueError, match=said):
        count(pred, truth)
