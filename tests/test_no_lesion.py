"""benchmarks/no_lesion.py: which piece of a picture counts as plain skin."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from cutis.analysis.runtime import load_model
from cutis.data.synthetic import draw_lesion

spec = importlib.util.spec_from_file_location("no_lesion", Path(__file__).parents[1] / "benchmarks/no_lesion.py")
assert spec and spec.loader
no_lesion = importlib.util.module_from_spec(spec)
spec.loader.exec_module(no_lesion)


def test_the_largest_rectangle_beside_the_lesion_is_taken_and_holds_none_of_it():
    mask = np.zeros((100, 200), bool)
    mask[40:60, 20:60] = True
    where = np.stack(np.meshgrid(np.arange(200), np.arange(100)), -1)
    piece = no_lesion.skin_beside(where, mask)
    assert piece[..., 0].min() == 65  # right of column 59, a tenth of 40 and one more away
    assert piece.shape[:2] == (100, 135)


def test_a_lesion_that_fills_the_picture_leaves_no_skin():
    mask = np.zeros((100, 100), bool)
    mask[15:90, 10:85] = True
    assert no_lesion.skin_beside(np.zeros((100, 100, 3), np.uint8), mask) is None


def test_a_drawn_lesion_is_marked_with_confidence():
    drawn = draw_lesion(np.random.default_rng(3), width=320, height=240, symmetry=2)
    assert no_lesion.confidence(drawn.image, load_model()) > no_lesion.MIN_CONFIDENCE


def test_skin_of_a_single_colour_is_not():
    assert no_lesion.confidence(np.full((240, 320, 3), (205, 160, 145), np.uint8), load_model()) == 0
