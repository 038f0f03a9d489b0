"""Parity in numbers, checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cutis.export.onnx import TOLERANCE, torch_probabilities
from cutis.export.parity import compare, compare_over, open_session, parity_table, probabilities


def test_counts_by_hand():
    first = np.zeros((2, 1, 2, 2), np.float32)
    second = first.copy()
    first[0, 0, 0] = 0.9  # two pixels against one: Dice 2/3, one of eight pixels differs
    second[0, 0, 0, 0] = 0.8
    found = compare(first, second, threshold=0.5)
    assert found.images == 2
    assert found.largest == pytest.approx(0.9) and found.mean == pytest.approx((0.1 + 0.9) / 8)
    assert found.pixels == pytest.approx(1 / 8)
    assert found.dice == pytest.approx((2 / 3 + 1) / 2)  # the second image: both empty, Dice 1
    assert found.worst_dice == pytest.approx(2 / 3)


def test_different_shapes_are_an_error():
    with pytest.raises(ValueError, match="shapes"):
        compare(np.zeros((1, 1, 2, 2), np.float32), np.zeros((1, 2, 2), np.float32), 0.5)


def test_in_parts_or_at_once_is_the_same(images):
    def one(batch):
        return batch[..., :1].transpose(0, 3, 1, 2).astype(np.float32) / 255

    def other(batch):
        return one(batch) ** 1.1

    at_once = compare(one(images[:19]), other(images[:19]), 0.5)
    parts = compare_over(one, other, images[:19], 0.5)
    assert parts.images == 19
    for name in ("largest", "mean", "pixels", "dice", "worst_dice"):
        assert getattr(parts, name) == pytest.approx(getattr(at_once, name)), name


def test_torch_and_onnx_on_the_same_pixels(exported, toy, preprocessing, images):
    session = open_session(exported)
    found = compare_over(
        lambda batch: torch_probabilities(toy, preprocessing, batch),
        lambda batch: probabilities(session, batch),
        images,
        0.45,
    )
    assert found.largest <= TOLERANCE["float32"] and found.pixels <= 1e-4 and found.images == len(images)


def test_table_has_a_row_a_pair():
    same = compare(np.ones((1, 1, 1, 1), np.float32), np.ones((1, 1, 1, 1), np.float32), 0.5)
    table = parity_table({"torch = fp32": same, "fp32 = int8": same})
    assert table.row_count == 2 and len(table.columns) == 7
