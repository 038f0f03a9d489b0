"""Operators with their products and bytes, and the floor that they stand on."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from cutis.benchmark import peaks as module
from cutis.benchmark.operators import Operator, profile
from cutis.benchmark.peaks import Peaks, measure_peaks
from cutis.benchmark.roofline import floor_ms, operator_rows

PEAKS = Peaks(fp32=1e9, int8=4e9, memory=1e9, cache=1e10)


def quantised_convolution() -> bytes:
    """(1, 3, 8, 8) bytes -> QLinearConv, 4 channels of 3x3: its weights are packed before it runs."""
    constants = {
        "scale": np.float32(0.1), "zero": np.uint8(0), "weights": np.ones((4, 3, 3, 3), np.int8),
        "scales": np.full(4, 0.1, np.float32), "zeros": np.zeros(4, np.int8),
    }  # fmt: skip
    words = ["image", "scale", "zero", "weights", "scales", "zeros", "scale", "zero"]
    graph = helper.make_graph(
        [helper.make_node("QLinearConv", words, ["out"], name="conv", pads=[1, 1, 1, 1])],
        "conv",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.UINT8, [1, 4, 8, 8])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_products_of_a_node_whose_weights_are_packed_are_counted():
    operators = profile(quantised_convolution(), {"image": np.ones((1, 3, 8, 8), np.uint8)}, runs=2)
    (conv,) = [one for one in operators if one.kind == "QLinearConv"]
    assert conv.multiply_adds == 64 * 4 * 27 and conv.integers and conv.ms >= 0
    pixels, weights, rest = 64 * 3 + 64 * 4, 4 * 27, 2 * (4 + 1) + 4 * 4 + 4
    assert conv.bytes == pixels + weights + rest


@pytest.mark.parametrize(
    ("operator", "ms"),
    [
        (Operator("a", "QLinearConv", 9.0, 8_000_000, 1_000_000, True), 2.0),
        (Operator("a", "Conv", 9.0, 8_000_000, 1_000_000, False), 8.0),
        (Operator("a", "Add", 9.0, 0, 3_000_000, False), 3.0),
    ],
)
def test_the_floor_is_the_longer_of_products_and_bytes(operator, ms):
    assert floor_ms(operator, PEAKS, PEAKS.memory) == pytest.approx(ms)


def test_kinds_are_summed_and_the_furthest_from_its_floor_comes_first():
    conv = Operator("a", "Conv", 3.0, 1_000_000, 10, False)
    add = Operator("b", "Add", 2.0, 0, 100_000, False)
    rows = operator_rows("m", [conv, add, conv], PEAKS)
    assert [row.name for row in rows] == ["m: Conv", "m: Add"]
    assert rows[0].values["ms"] == 6 and rows[0].values["roofline ms"] == pytest.approx(2)
    assert rows[0].values["above it ms"] == pytest.approx(4) and rows[0].values["nodes"] == 2
    assert rows[1].values["MB moved"] == pytest.approx(0.1)


def test_peaks_are_measured_and_are_what_they_say(monkeypatch):
    """Work over time: with a clock that says a thousandth of a second for everything, the sides alone decide."""
    monkeypatch.setattr(module, "SIDES", (16, 32))
    monkeypatch.setattr(module, "_COPIED", 2**20)
    now = iter(np.arange(0, 100) / 1000)
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(now)))
    found = measure_peaks(rounds=2)
    assert found.fp32 == found.int8 == pytest.approx(32**3 * 1000)
    assert found.memory == found.cache == pytest.approx(2 * 2**20 * 1000)
