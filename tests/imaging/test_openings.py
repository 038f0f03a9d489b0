"""Openings by bits against OpenCV's, whose answer they must give pixel for pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutis.imaging.hair import _DIRECTIONS, _line, _lines
from cutis.imaging.openings import opened_by_any


def by_opencv(mask: np.ndarray, length: int) -> np.ndarray:
    lines = [_line(length, direction * np.pi / _DIRECTIONS) for direction in range(_DIRECTIONS)]
    pixels = mask.view(np.uint8)
    return np.max([cv2.morphologyEx(pixels, cv2.MORPH_OPEN, line) for line in lines], axis=0).view(bool)


@given(st.integers(1, 150), st.integers(1, 40), st.sampled_from([3, 7, 15, 25]), st.floats(0, 1), st.integers(0, 2**31))
def test_the_same_as_opencv_on_noise(width, height, length, density, seed):
    mask = np.random.default_rng(seed).random((height, width)) < density
    np.testing.assert_array_equal(opened_by_any(mask, _lines(length)), by_opencv(mask, length))


@pytest.mark.parametrize("width", [63, 64, 65, 200])
def test_the_same_as_opencv_on_strands(width):
    random = np.random.default_rng(width)
    drawn = np.zeros((120, width), np.uint8)
    for _ in range(15):
        ends = random.integers(0, (width, 120), (2, 2))
        cv2.line(drawn, ends[0].tolist(), ends[1].tolist(), 1, int(random.integers(1, 4)))
    found = opened_by_any(drawn.view(bool), _lines(15))
    np.testing.assert_array_equal(found, by_opencv(drawn.view(bool), 15))
    assert 0 < found.sum() < drawn.size


def test_what_is_given_stays_as_it_is():
    mask = np.random.default_rng(0).random((40, 70)) < 0.8
    before = mask.copy()
    opened_by_any(mask, _lines(7))
    np.testing.assert_array_equal(mask, before)
