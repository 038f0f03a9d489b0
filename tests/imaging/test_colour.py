"""CLAHE and Reinhard against independent computations; LAB statistics against the direct one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cutis.imaging.colour import clahe, lab_statistics, reinhard

photos = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3)))


def skin(seed: int, shape: tuple[int, int] = (60, 80)) -> np.ndarray:
    """Blurred noise around a skin tone."""
    noise = np.random.default_rng(seed).normal(0, 90, (*shape, 3)).astype(np.float32)
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 4) * 3 + (200, 150, 130), 0, 255).astype(np.uint8)


def clahe_by_hand(channel: np.ndarray, tiles: int, clip: float) -> np.ndarray:
    """Zuiderveld's algorithm, written from its description, for sides that the tiles divide."""
    height, width = channel.shape[0] // tiles, channel.shape[1] // tiles
    limit = max(1, int(clip * height * width / 256))
    tables = np.zeros((tiles, tiles, 256))
    for row in range(tiles):
        for column in range(tiles):
            tile = channel[row * height : (row + 1) * height, column * width : (column + 1) * width]
            counts = np.bincount(tile.ravel(), minlength=256)
            excess = int(np.maximum(counts - limit, 0).sum())
            counts = np.minimum(counts, limit) + excess // 256
            rest = excess % 256
            if rest:
                step = max(256 // rest, 1)
                counts[np.arange(0, 256, step)[:rest]] += 1
            tables[row, column] = np.rint(counts.cumsum() * (255 / (height * width)))
    y = (np.arange(channel.shape[0]) / height - 0.5)[:, None]
    x = (np.arange(channel.shape[1]) / width - 0.5)[None, :]
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    out = np.zeros(channel.shape)
    for down in (0, 1):
        for right in (0, 1):
            share = np.where(down, y - top, 1 - y + top) * np.where(right, x - left, 1 - x + left)
            table = tables[np.clip(top + down, 0, tiles - 1), np.clip(left + right, 0, tiles - 1)]
            out += share * np.take_along_axis(table, channel[..., None].astype(int), axis=-1)[..., 0]
    return out


def test_clahe_equals_the_algorithm_written_out():
    rgb = skin(0, (64, 96))
    for channel in range(3):
        expected = clahe_by_hand(rgb[..., channel], tiles=8, clip=2.0)
        assert np.abs(clahe(rgb)[..., channel] - expected).max() <= 1


def test_clahe_treats_each_channel_by_itself():
    rgb = skin(1)
    other = rgb.copy()
    other[..., 0] = 255 - other[..., 0]
    np.testing.assert_array_equal(clahe(rgb)[..., 1:], clahe(other)[..., 1:])
    assert (clahe(rgb)[..., 0] != clahe(other)[..., 0]).any()


@given(photos)
def test_clahe_takes_any_size(rgb):
    out = clahe(rgb)
    assert out.shape == rgb.shape and out.dtype == np.uint8


def test_reinhard_equals_the_formula_on_every_pixel():
    rgb, mean, std = skin(2), (170.0, 140.0, 145.0), (25.0, 6.0, 7.0)
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.float64)
    moved = (lab - lab.mean((0, 1))) / lab.std((0, 1)) * std + mean
    expected = cv2.cvtColor(np.clip(np.rint(moved), 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)
    np.testing.assert_array_equal(reinhard(rgb, mean, std), expected)


def test_reinhard_reaches_the_statistics_asked_for():
    reached = lab_statistics([reinhard(skin(3), (165.0, 138.0, 142.0), (18.0, 4.0, 5.0))])
    np.testing.assert_allclose(reached[0], (165.0, 138.0, 142.0), atol=1.0)
    np.testing.assert_allclose(reached[1], (18.0, 4.0, 5.0), atol=1.0)


def test_reinhard_to_its_own_statistics_keeps_the_image():
    rgb = skin(4)
    change = np.abs(reinhard(rgb, *lab_statistics([rgb])).astype(int) - rgb)
    assert change.mean() < 1 and change.max() <= 5  # there and back through 8-bit LAB


@given(photos)
def test_reinhard_takes_flat_images(rgb):
    flat = np.full_like(rgb, rgb[0, 0, 0])
    out = reinhard(flat, (128.0, 128.0, 128.0), (20.0, 5.0, 5.0))
    assert (out == out[0, 0]).all()


def test_statistics_are_those_of_all_pixels_together():
    images = [skin(5), skin(6, (20, 30)), skin(7, (7, 5))]
    lab = np.concatenate([cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).reshape(-1, 3) for rgb in images]).astype(np.float64)
    mean, std = lab_statistics(iter(images))
    np.testing.assert_allclose(mean, lab.mean(0), rtol=1e-12)
    np.testing.assert_allclose(std, lab.std(0), rtol=1e-9)
    assert lab_statistics(images[::-1]) == (mean, std)


def test_no_images_have_no_statistics():
    with pytest.raises(ValueError, match="no images"):
        lab_statistics([])


def test_lab_is_the_cie_space():
    colour = pytest.importorskip("skimage.color")
    rgb = skin(8)
    expected = colour.rgb2lab(rgb) * (255 / 100, 1, 1) + (0, 128, 128)
    mean, _ = lab_statistics([rgb])
    np.testing.assert_allclose(mean, expected.mean((0, 1)), atol=0.7)
