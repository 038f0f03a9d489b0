"""Localisation of maps: by hand, against scikit-image's dilation, empty cases, and the Gaussian that sees nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from numpy.testing import assert_allclose
from skimage import morphology

from cutis.metrics.localization import centred_gaussian, dilated, localize

MASKS = nps.arrays(np.bool_, st.tuples(st.integers(1, 30), st.integers(1, 60)))


@given(MASKS)
def test_dilation_is_scikit_images_twice(mask):
    side = 2 * int(0.05 * mask.shape[1] / 2) + 1
    once = morphology.dilation(mask, np.ones((side, side), bool))
    assert (dilated(mask) == morphology.dilation(once, np.ones((side, side), bool))).all()


@pytest.mark.parametrize(("width", "side"), [(19, 1), (224, 11), (256, 13), (600, 31), (1024, 51)])
def test_the_kernel_is_5_percent_of_the_width(width, side):
    mask = np.zeros((2 * side + 1, width), bool)
    mask[side, width // 2] = True
    assert np.count_nonzero(dilated(mask)[side]) == 2 * side - 1


@given(MASKS.filter(np.any), st.data())
def test_formulas(mask, data):
    activation = data.draw(nps.arrays(np.float32, mask.shape, elements=st.floats(0, 1, width=32)))
    found = localize(activation, mask)
    x, y = activation > 0.5, dilated(mask)
    assert_allclose(found.iou, (x & y).sum() / (x | y).sum())
    assert_allclose(found.overlap, (x & y).sum() / x.sum() if x.any() else 0)
    assert 0 <= found.iou <= found.overlap <= 1
    if np.count_nonzero(activation == activation.max()) == 1 < activation.size:
        assert found.hit == y[np.unravel_index(activation.argmax(), mask.shape)]


def test_dead_maps_and_missing_lesions():
    mask = np.zeros((20, 20), bool)
    assert np.isnan(localize(np.ones((5, 5)), mask)).all()
    mask[8:12, 8:12] = True
    assert localize(np.zeros((5, 5)), mask) == (0, 0, 0)
    everywhere = localize(np.ones((5, 5)), mask)
    assert everywhere == (16 / 400, 16 / 400, 0)  # a kernel of one pixel at this width


def test_a_small_map_is_resized_to_the_picture():
    mask = np.zeros((100, 200), bool)
    mask[:50, :100] = True
    activation = np.zeros((2, 2))
    activation[0, 0] = 1
    found = localize(activation, mask)
    assert found.hit == 1
    assert found.overlap == 1
    assert 0.3 < found.iou < 1


def test_of_equal_highest_points_the_share_counts():
    mask = np.zeros((10, 10), bool)
    mask[:5] = True
    activation = np.zeros((10, 10))
    activation[[1, 2, 3, 8], 4] = 0.9
    assert localize(activation, mask).hit == 0.75


def test_a_centred_gaussian_finds_lesions_in_the_middle_without_looking():
    rows, columns = np.mgrid[:120, :160]
    lesion = np.hypot(rows - 60, columns - 80) < 35
    found = localize(centred_gaussian(120, 160, sigma=0.25), lesion)
    assert found.hit == 1
    assert found.iou > 0.7
    assert localize(centred_gaussian(120, 160, sigma=0.25), np.roll(lesion, (60, 80), (0, 1))).hit == 0


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.05, 1))
def test_the_gaussian_is_symmetric_and_highest_in_the_middle(height, width, sigma):
    bump = centred_gaussian(height, width, sigma=sigma)
    assert_allclose(bump, bump[::-1, ::-1], atol=1e-6)
    assert bump[height // 2, width // 2] == pytest.approx(1)
    assert bump.min() >= 0
    assert bump.max() == 1


@pytest.mark.parametrize(
    ("activation", "mask"),
    [
        (np.full((2, 2), 2.0), np.ones((4, 4), bool)),
        (np.full((2, 2), np.nan), np.ones((4, 4), bool)),
        (np.zeros((2, 2)), np.ones((4, 4), np.uint8)),
        (np.zeros((1, 2, 2)), np.ones((4, 4), bool)),
    ],
)
def test_wrong_arrays_are_refused(activation, mask):
    with pytest.raises(ValueError, match=r"needed|must lie"):
        localize(activation, mask)
