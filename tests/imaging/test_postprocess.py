"""clean_mask against scipy's labelling and hole filling, and the properties that follow from its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cutis.imaging.postprocess import clean_mask

masks = arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24)))


def by_scipy(mask: np.ndarray) -> np.ndarray:
    ndimage = pytest.importorskip("scipy.ndimage")
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    if count == 0:
        return np.zeros_like(mask)
    areas = ndimage.sum_labels(mask, labels, index=range(1, count + 1))
    return ndimage.binary_fill_holes(labels == 1 + int(np.argmax(areas)))


@given(masks)
def test_equals_scipy(mask):
    np.testing.assert_array_equal(clean_mask(mask), by_scipy(mask))


@given(masks)
def test_cleaning_twice_changes_nothing_and_the_argument_is_kept(mask):
    before = mask.copy()
    once = clean_mask(mask)
    np.testing.assert_array_equal(clean_mask(once), once)
    np.testing.assert_array_equal(mask, before)
    assert once.dtype == bool and once.shape == mask.shape
    assert once.any() == mask.any()


def test_smooth_blobs_equal_scipy():
    ndimage = pytest.importorskip("scipy.ndimage")
    for seed in range(20):
        noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(256, 256)), 6)
        mask = noise > 0
        np.testing.assert_array_equal(clean_mask(mask), by_scipy(mask))


def test_a_view_with_strides_is_cleaned_like_its_copy():
    mask = np.random.default_rng(0).random((60, 80)) > 0.4
    np.testing.assert_array_equal(clean_mask(mask[::2, ::-3]), clean_mask(mask[::2, ::-3].copy()))


def test_diagonal_neighbours_belong_together_and_a_diagonal_gap_does_not_open_a_hole():
    mask = np.array([[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]], bool)
    expected = np.array([[0, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]], bool)
    np.testing.assert_array_equal(clean_mask(mask), expected)
