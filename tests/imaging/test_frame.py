"""Letterbox and its inverse: where every pixel lies, for any size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cutis.imaging.frame import Frame, letterbox

sides = st.integers(1, 700)


@given(sides, sides, st.integers(8, 300))
def test_the_frame_is_inside_the_square_centred_and_keeps_the_aspect(width, height, size):
    frame = Frame.fit(width, height, size)
    assert frame.left >= 0 and frame.left + frame.inner_width <= size
    assert frame.top >= 0 and frame.top + frame.inner_height <= size
    assert max(frame.inner_width, frame.inner_height) == size
    assert abs((size - frame.inner_width) - 2 * frame.left) <= 1
    assert abs((size - frame.inner_height) - 2 * frame.top) <= 1
    scale = size / max(width, height)
    assert abs(frame.inner_width - width * scale) <= max(0.5, 1 - width * scale) + 1e-9
    assert abs(frame.inner_height - height * scale) <= max(0.5, 1 - height * scale) + 1e-9


@settings(max_examples=50, deadline=None)
@given(sides, sides, st.integers(8, 300))
def test_there_and_back_gives_the_shape_and_a_flat_colour(width, height, size):
    image = np.full((height, width, 3), (180, 130, 90), np.uint8)
    square, frame = letterbox(image, size)
    assert square.shape == (size, size, 3)
    np.testing.assert_array_equal(frame.restore(square), image)
    inside = frame.crop(np.ones((size, size), bool))
    assert inside.size == frame.inner_width * frame.inner_height
    outside = square.copy()
    frame.crop(outside)[...] = 0
    assert not outside.any()  # the padding is black


@settings(max_examples=50, deadline=None)
@given(st.integers(40, 400), st.integers(40, 400), st.integers(96, 256), st.data())
def test_a_box_comes_back_where_it_was(width, height, size, data):
    assume(max(width, height) < 4 * min(width, height))
    left, top = data.draw(st.integers(0, width // 3)), data.draw(st.integers(0, height // 3))
    right, bottom = data.draw(st.integers(width * 2 // 3, width)), data.draw(st.integers(height * 2 // 3, height))
    mask = np.zeros((height, width), np.uint8)
    mask[top:bottom, left:right] = 255
    square, frame = letterbox(mask, size)
    ys, xs = np.nonzero(frame.restore(square) >= 128)
    pixel = max(1.0, max(width, height) / size)  # one pixel of the coarser picture
    found = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    assert np.abs(np.subtract(found, (left, top, right, bottom))).max() <= pixel


def test_shrinking_averages_every_pixel():
    stripes = np.zeros((1000, 1000), np.uint8)
    stripes[::4] = 200
    square, _ = letterbox(stripes, 100)
    assert square.mean() == pytest.approx(50, abs=1)


def test_an_image_of_the_right_size_is_untouched():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    np.testing.assert_array_equal(letterbox(image, 64)[0], image)
