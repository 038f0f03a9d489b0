"""Mirror images, transposition and rotation: each as numpy does it, image and mask alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutis.data.turns import Turns

NEVER = {"horizontal": 0, "vertical": 0, "transpose": 0, "rotation": 0, "rotation_degrees": 0}
IMAGE = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
MASK = (np.random.default_rng(2).random((16, 16)) > 0.5).astype(np.uint8)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, lambda a: a),
        ({"horizontal": 1}, np.fliplr),
        ({"vertical": 1}, np.flipud),
        ({"transpose": 1}, lambda a: a.swapaxes(0, 1)),
        ({"horizontal": 1, "vertical": 1}, lambda a: a[::-1, ::-1]),
    ],
)
def test_each_change_is_numpys(change, expected):
    found = Turns(**NEVER | change).apply(IMAGE, MASK, 16, np.random.default_rng(0))
    assert np.array_equal(found.image, expected(IMAGE)) and np.array_equal(found.mask, expected(MASK))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_a_turn_keeps_lengths_and_the_middle(seed):
    turns = Turns(horizontal=0.5, vertical=0.5, transpose=0.5, rotation=1, rotation_degrees=90)
    matrix = turns.matrix(33, 17, np.random.default_rng(seed))
    linear = matrix[:, :2] * 33 / 17
    assert np.allclose(linear @ linear.T, np.eye(2)) and np.allclose(matrix @ [16, 16, 1], [8, 8])


def test_chances_are_kept():
    turns = Turns(**NEVER | {"horizontal": 0.25})
    drawn = [turns.matrix(8, 8, np.random.default_rng(seed))[0, 0] for seed in range(400)]
    assert 70 <= drawn.count(-1.0) <= 130 and drawn.count(-1.0) + drawn.count(1.0) == 400
