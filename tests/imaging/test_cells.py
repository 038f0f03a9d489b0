"""A map laid over the picture: each cell's value stands where the cell looks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutis.imaging.cells import Cells, spread


@pytest.mark.parametrize("size", [64, 100])
def test_cells_of_equal_parts_are_opencvs_resize(size):
    activation = np.random.default_rng(0).random((5, 4), np.float32)
    wanted = cv2.resize(activation[:4], (size, size), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(spread(activation[:4], size, Cells(first=size / 8, step=size / 4)), wanted, atol=1e-5)


@given(st.integers(1, 6), st.integers(1, 6), st.floats(-20, 60), st.floats(1, 40), st.integers(0, 2**32 - 1))
def test_a_map_stays_between_its_values_and_passes_through_them(height, width, first, step, seed):
    activation = np.random.default_rng(seed).random((height, width), np.float32)
    laid = spread(activation, 48, Cells(first=first, step=step))
    assert laid.shape == (48, 48) and laid.dtype == np.float32
    assert activation.min() - 1e-6 <= laid.min() and laid.max() <= activation.max() + 1e-6


def test_a_value_is_where_its_cell_looks():
    activation = np.zeros((4, 4), np.float32)
    activation[1, 2] = 1
    laid = spread(activation, 128, Cells(first=0.5, step=32))  # cells look at pixels 0, 32, 64 and 96
    assert np.unravel_index(laid.argmax(), laid.shape) == (32, 64) and laid[32, 64] == 1
    assert laid[48, 64] == pytest.approx(0.5)


def test_a_step_of_zero_is_refused():
    with pytest.raises(ValueError, match="greater than 0"):
        Cells(first=0.5, step=0)
