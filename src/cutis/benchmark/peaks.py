"""What one thread of this machine can do at most, measured: matrix products in fp32 and INT8, and memory's bandwidth.

Williams et al. 2009, Roofline: no program is faster than its multiply-adds at the peak and its bytes at the bandwidth.
The products are onnxruntime's own (large square ones, the best of several sides), fp32 and unsigned by signed bytes, as
our INT8 files compute; the bandwidth is that of a copy too large for any cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutis.export.parity import open_session

__all__ = ["SIDES", "Peaks", "measure_peaks"]

SIDES = (256, 512, 1024)
_COPIED = 64 * 2**20  # bytes
_IN_CACHE = 256 * 2**10
_OPSET = 17


class Peaks(NamedTuple):
    """Multiply-adds a second by precision, bytes a second (read and written) of memory and of the near cache."""

    fp32: float
    int8: float
    memory: float
    cache: float

    def multiply_adds(self, precision: str) -> float:
        """A second, at most."""
        return self.int8 if precision == "int8" else self.fp32


def measure_peaks(rounds: int) -> Peaks:
    """On one thread: the best of `rounds` of each, in turns, so that a noisy moment lowers none of them alone."""
    programs: dict[str, tuple[Callable[[], object], float]] = {}
    for side in SIDES:
        for precision in ("fp32", "int8"):
            programs[f"{precision} {side}"] = _product(precision, side), float(side**3)
    for name, size in (("memory", _COPIED), ("cache", _IN_CACHE)):
        programs[name] = _copy(size), 2.0 * size * max(1, _COPIED // size)
    best = dict.fromkeys(programs, 0.0)
    for _ in range(rounds):
        for name, (program, work) in programs.items():
            program()
            start = time.perf_counter()
            program()
            best[name] = max(best[name], work / (time.perf_counter() - start))
    fp32, int8 = (max(best[f"{precision} {side}"] for side in SIDES) for precision in ("fp32", "int8"))
    return Peaks(fp32, int8, best["memory"], best["cache"])


def _product(precision: str, side: int) -> Callable[[], object]:
    """One square product under onnxruntime, as a graph of one node; the second factor is a weight, packed once."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    if precision == "fp32":
        left: NDArray = rng.standard_normal((side, side), dtype=np.float32)
        right: NDArray = rng.standard_normal((side, side), dtype=np.float32)
        kind, given, answer = "MatMul", TensorProto.FLOAT, TensorProto.FLOAT
    else:
        left = rng.integers(0, 256, (side, side), dtype=np.uint8)
        right = rng.integers(-127, 128, (side, side), dtype=np.int8)
        kind, given, answer = "MatMulInteger", TensorProto.UINT8, TensorProto.INT32
    graph = helper.make_graph(
        [helper.make_node(kind, ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", given, [side, side])],
        [helper.make_tensor_value_info("c", answer, [side, side])],
        [numpy_helper.from_array(right, "b")],
    )
    opset = helper.make_opsetid("", _OPSET)
    session = open_session(helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())
    return lambda: session.run(None, {"a": left})


def _copy(size: int) -> Callable[[], object]:
    source, target = np.ones(size, np.uint8), np.empty(size, np.uint8)
    times = max(1, _COPIED // size)

    def program() -> None:
        for _ in range(times):
            np.copyto(target, source)

    return program
