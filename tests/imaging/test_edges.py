"""LoG against scipy.ndimage.gaussian_laplace, and the fusion against the paper's equation in float64."""

from __future__ import annotations

import numpy as np
import pytest

from cutis.imaging.edges import laplacian_of_gaussian, log_fusion

PHOTO = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)


def by_scipy(rgb: np.ndarray, sigma: float) -> np.ndarray:
    ndimage = pytest.importorskip("scipy.ndimage")
    channels = np.moveaxis(rgb.astype(np.float64), -1, 0)
    return np.stack([ndimage.gaussian_laplace(channel, sigma) for channel in channels], axis=-1)


@pytest.mark.parametrize("sigma", [0.7, 1.2, 2.5])
def test_equals_scipy(sigma):
    np.testing.assert_allclose(laplacian_of_gaussian(PHOTO, sigma), by_scipy(PHOTO, sigma), atol=2e-3)


def test_images_smaller_than_the_kernel_equal_scipy_too():
    tiny = PHOTO[:3, :2]
    np.testing.assert_allclose(laplacian_of_gaussian(tiny, 1.2), by_scipy(tiny, 1.2), atol=2e-3)


def test_fusion_is_the_papers_equation():
    expected = np.clip(0.8 * PHOTO + 0.2 * by_scipy(PHOTO, 1.2), 0, 255)
    assert np.abs(log_fusion(PHOTO) - expected).max() <= 0.502  # rounding


def test_an_edge_of_100_moves_by_at_most_what_the_module_says():
    step = np.zeros((32, 32, 3), np.uint8)
    step[:, 16:] = 100
    moved = log_fusion(step).astype(float) - 0.8 * step
    assert 2.5 <= np.abs(moved).max() <= 3.5
    assert moved[16, 15, 0] > 0 > moved[16, 16, 0]  # towards softer
