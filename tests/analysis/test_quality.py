"""Each warning is given for a picture made to deserve it, and for no other."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cutis.analysis.quality import Look, judge
from cutis.data.synthetic import draw_lesion


@pytest.fixture(scope="module")
def good() -> NDArray[np.uint8]:
    image = draw_lesion(np.random.default_rng(1), width=256, height=192, symmetry=2, tone=0.1).image
    noise = np.random.default_rng(2).normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 245).astype(np.uint8)


def said(picture: NDArray[np.uint8], **about: object) -> list[str]:
    look = Look(picture, None, 1024, False)._replace(**about)  # type: ignore[arg-type]
    return judge(look).warnings


def test_a_good_picture_has_no_warning(good: NDArray[np.uint8]) -> None:
    assert said(good) == []


def test_blur(good: NDArray[np.uint8]) -> None:
    (warning,) = said(cv2.GaussianBlur(good, (0, 0), 6))
    assert "blurred" in warning


def test_a_small_picture_is_called_small_not_blurred(good: NDArray[np.uint8]) -> None:
    (warning,) = said(cv2.GaussianBlur(good, (0, 0), 6), longest_side=150)
    assert "small (150 pixels" in warning


def test_dark_and_bright(good: NDArray[np.uint8]) -> None:
    assert any("dark" in warning for warning in said((good * 0.3).astype(np.uint8)))
    bright = good.copy()
    bright[:60, :120] = 255
    assert any("overexposed" in warning for warning in said(bright))


def test_a_black_lesion_is_not_bad_light(good: NDArray[np.uint8]) -> None:
    black, lesion = good.copy(), np.zeros((192, 256), bool)
    lesion[60:130, 80:170] = True
    black[lesion] = 8
    assert not any("dark" in warning for warning in said(black, lesion=lesion))
    assert judge(Look(black, lesion, 1024, False)).underexposed < 0.01
    assert judge(Look(black, None, 1024, False)).underexposed > 0.1


def test_dark_corners(good: NDArray[np.uint8]) -> None:
    y, x = np.mgrid[:192, :256]
    outside = (x - 128) ** 2 + (y - 96) ** 2 > 110**2
    vignetted = good.copy()
    vignetted[outside] = 12
    quality = judge(Look(vignetted, None, 1024, False))
    assert quality.dark_corners == pytest.approx(outside.mean(), abs=0.02)
    assert any("corners" in warning for warning in quality.warnings)
    middle = good.copy()
    middle[80:120, 100:160] = 12
    assert judge(Look(middle, None, 1024, False)).dark_corners == 0


def test_hair_and_a_lesion_at_the_edge(good: NDArray[np.uint8]) -> None:
    hairy = good.copy()
    for x in range(0, 300, 14):
        cv2.line(hairy, (x, 0), (x - 40, 191), (25, 20, 20), 1, cv2.LINE_AA)
    assert any("Hair" in warning for warning in said(hairy))
    (painted,) = said(good, hair=0.3)
    assert "painted over" in painted
    (warning,) = said(good, touches_frame=True)
    assert "touches the edge" in warning
