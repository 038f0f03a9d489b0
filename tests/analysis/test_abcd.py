"""Shapes whose measures are known, and that measures do not change as a lesion is turned or enlarged."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cutis.analysis.abcd import COLOURS, measure_colours, measure_shape

Mask = NDArray[np.bool_]
H, W = 480, 640


def polygon(points: list[tuple[float, float]], angle: float = 0.0, scale: float = 1.0) -> Mask:
    """Points about (0, 0), turned by `angle` degrees and enlarged, in the middle of a picture."""
    turn = np.array([[math.cos(a := math.radians(angle)), -math.sin(a)], [math.sin(a), math.cos(a)]])
    placed = np.array(points) @ turn.T * scale + (W / 2, H / 2)
    fine = np.zeros((8 * H, 8 * W), np.uint8)  # fillPoly marks every pixel that the edge touches: of small pixels, then
    cv2.fillPoly(fine, [np.round(placed * 8).astype(np.int32)], 255)
    return cv2.resize(fine, (W, H), interpolation=cv2.INTER_AREA) >= 128


def arc(start: float, end: float, a: float, b: float) -> list[tuple[float, float]]:
    return [(a * math.cos(t), b * math.sin(t)) for t in np.linspace(start, end, 400)]


DISC = arc(0, 2 * math.pi, 100, 100)
ELLIPSE = arc(0, 2 * math.pi, 160, 80)
HALF_DISC = arc(0, math.pi, 120, 120)
SQUARE = [(-90.0, -90.0), (90.0, -90.0), (90.0, 90.0), (-90.0, 90.0)]
L_SHAPE = [(-80.0, -120.0), (-20.0, -120.0), (-20.0, 60.0), (120.0, 60.0), (120.0, 120.0), (-80.0, 120.0)]


def test_disc() -> None:
    shape = measure_shape(polygon(DISC))
    assert shape.asymmetry.asymmetric_axes == 0
    assert max(shape.asymmetry.major_axis, shape.asymmetry.minor_axis) < 0.02
    assert shape.border.irregularity == pytest.approx(1, abs=0.01)
    assert shape.border.perimeter == pytest.approx(200 * math.pi, rel=0.01)
    assert shape.border.hull_defect < 0.01
    assert shape.diameter == pytest.approx(200, rel=0.01)


def test_ellipse() -> None:
    shape = measure_shape(polygon(ELLIPSE, angle=-30))
    h = ((160 - 80) / (160 + 80)) ** 2
    perimeter = math.pi * 240 * (1 + 3 * h / (10 + math.sqrt(4 - 3 * h)))  # Ramanujan
    assert shape.asymmetry.asymmetric_axes == 0
    assert max(shape.asymmetry.major_axis, shape.asymmetry.minor_axis) < 0.03
    assert shape.asymmetry.angle_degrees == pytest.approx(30, abs=1)  # counter-clockwise, as people see it
    assert shape.border.perimeter == pytest.approx(perimeter, rel=0.01)
    assert shape.border.irregularity == pytest.approx(perimeter**2 / (4 * math.pi * math.pi * 160 * 80), rel=0.015)
    assert shape.diameter == pytest.approx(320, rel=0.01)


def test_square() -> None:
    shape = measure_shape(polygon(SQUARE))
    assert shape.asymmetry.asymmetric_axes == 0
    assert shape.border.irregularity == pytest.approx(4 / math.pi, rel=0.02)
    assert shape.border.perimeter == pytest.approx(720, rel=0.015)
    assert shape.diameter == pytest.approx(180 * math.sqrt(2), rel=0.01)
    assert shape.border.hull_defect < 0.01


def test_half_disc_is_symmetric_about_one_axis() -> None:
    shape = measure_shape(polygon(HALF_DISC))
    assert shape.asymmetry.asymmetric_axes == 1
    # Folded about the level line through its centroid, y0 = 4 r / (3 pi): integrate the narrower of y0 - t and y0 + t.
    y = np.linspace(0, 1, 200_001)
    width, y0 = np.sqrt(1 - y**2), 4 / (3 * math.pi)
    mirrored = np.interp(2 * y0 - y, y, width, left=0, right=0)
    expected = 1 - np.minimum(width, mirrored).sum() / width.sum()
    assert shape.asymmetry.major_axis == pytest.approx(expected, abs=0.02)  # the long axis lies along the flat side
    assert shape.asymmetry.minor_axis < 0.02
    assert shape.border.irregularity == pytest.approx((math.pi + 2) ** 2 / (2 * math.pi**2), rel=0.02)
    assert shape.diameter == pytest.approx(240, rel=0.01)


def test_an_l_is_asymmetric_and_dented() -> None:
    shape = measure_shape(polygon(L_SHAPE))
    assert shape.asymmetry.asymmetric_axes == 2
    area, hull = 60 * 240 + 140 * 60, 200 * 240 - 0.5 * 140 * 180
    assert shape.border.hull_defect == pytest.approx(1 - area / hull, abs=0.02)


@settings(max_examples=20, deadline=None)
@given(
    angle=st.floats(-180, 180),
    scale=st.floats(0.5, 1.3),
    points=st.sampled_from([ELLIPSE, HALF_DISC, SQUARE, L_SHAPE]),
)
def test_turned_or_enlarged_a_lesion_measures_the_same(angle: float, scale: float, points: list) -> None:
    plain, moved = measure_shape(polygon(points)), measure_shape(polygon(points, angle, scale))
    assert moved.asymmetry.major_axis == pytest.approx(plain.asymmetry.major_axis, abs=0.04)
    assert moved.asymmetry.minor_axis == pytest.approx(plain.asymmetry.minor_axis, abs=0.04)
    assert moved.asymmetry.asymmetric_axes == plain.asymmetry.asymmetric_axes
    assert moved.border.irregularity == pytest.approx(plain.border.irregularity, rel=0.04)
    assert moved.border.hull_defect == pytest.approx(plain.border.hull_defect, abs=0.04)
    assert moved.diameter == pytest.approx(plain.diameter * scale, rel=0.02)


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (5, 7, 1, 40), (0, 0, 30, 1), (3, 3, 2, 2), (0, 0, 64, 48)])
def test_the_smallest_and_the_largest_lesions_have_measures(box: tuple[int, int, int, int]) -> None:
    mask = np.zeros((48, 64), bool)
    left, top, width, height = box
    mask[top : top + height, left : left + width] = True
    shape = measure_shape(mask)
    assert shape.diameter == pytest.approx(math.hypot(width, height), abs=1.5)
    assert np.isfinite([shape.border.irregularity, shape.border.perimeter, shape.asymmetry.major_axis]).all()


@pytest.mark.parametrize("name", COLOURS)
def test_each_reference_has_its_own_name(name: str) -> None:
    (colour,) = measure_colours(np.full((50, 3), COLOURS[name], np.uint8))  # type: ignore[index]
    assert (colour.name, colour.share) == (name, 1.0)


def test_shares_are_counted_and_small_ones_left_out() -> None:
    pixels = np.concatenate(
        [np.full((n, 3), COLOURS[name], np.uint8) for n, name in ((600, "dark brown"), (380, "black"), (20, "white"))]
    )
    assert [(colour.name, colour.share) for colour in measure_colours(pixels)] == [("dark brown", 0.6), ("black", 0.38)]
