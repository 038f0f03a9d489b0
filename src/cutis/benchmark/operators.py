"""What each operator of a model takes under ONNX Runtime, by its own profile, with the products and bytes it moves.

The graph that runs is the optimised one: convolutions fused with what follows them, in onnxruntime's own layouts. The
profile tells the shapes of what every node reads and writes, but not of weights that were packed beforehand: so times
come from one session, and shapes from another of the same graph that packs nothing.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutis.benchmark.products import multiply_adds

__all__ = ["Operator", "parsed", "profile"]

_BYTES = {
    "float": 4, "uint8": 1, "int8": 1, "int32": 4, "int64": 8, "bool": 1, "float16": 2, "double": 8, "uint32": 4,
}  # fmt: skip
_TIME = "_kernel_time"


class Operator(NamedTuple):
    """One node: `kind`, its median milliseconds, its multiply-adds, and the bytes that it reads and writes.

    `integers`: whether it multiplies bytes.
    """

    name: str
    kind: str
    ms: float
    multiply_adds: int
    bytes: int
    integers: bool


def profile(content: bytes, feeds: Mapping[str, NDArray], runs: int) -> list[Operator]:
    """The model's nodes in the order they run, each with its median over `runs` after two of warm-up; one thread."""
    shapes = {event["name"]: event for event in _events(content, feeds, 1, packed=False)}
    timed = _events(content, feeds, runs + 2, packed=True)
    return parsed([{**event, "args": shapes.get(event["name"], event).get("args")} for event in timed], skip=2)


def _events(content: bytes, feeds: Mapping[str, NDArray], runs: int, *, packed: bool) -> list[dict[str, Any]]:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.add_session_config_entry("session.disable_prepacking", "0" if packed else "1")
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for _ in range(runs):
            session.run(None, dict(feeds))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return [event for event in events if event.get("cat") == "Node" and event["name"].endswith(_TIME)]


def parsed(events: Sequence[Mapping[str, Any]], *, skip: int) -> list[Operator]:
    """onnxruntime's events of nodes -> operators; the first `skip` runs of each node are left out.

    >>> shape = {"op_name": "Relu", "input_type_shape": [{"float": [1, 4]}], "output_type_shape": [{"float": [1, 4]}]}
    >>> event = {"name": "relu_kernel_time", "args": shape}
    >>> parsed([{**event, "dur": dur} for dur in (900, 10, 30, 20)], skip=1)
    [Operator(name='relu', kind='Relu', ms=0.02, multiply_adds=0, bytes=32, integers=False)]
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        found.setdefault(event["name"].removesuffix(_TIME), []).append(event)
    operators = []
    for name, of in found.items():
        told = of[-1]["args"]
        given, answers = told.get("input_type_shape", []), told.get("output_type_shape", [])
        shapes = [next(iter(entry.values())) for entry in given]
        output = next(iter(answers[0].values())) if answers else []
        products = multiply_adds(told["op_name"], shapes, output)
        integers = bool(products) and next(iter(given[0])) in ("uint8", "int8")
        moved = sum(_size(entry) for entry in (*given, *answers))
        ms = float(np.median([event["dur"] for event in of[skip:]])) / 1000
        operators.append(Operator(name, told["op_name"], ms, products, moved, integers))
    return operators


def _size(entry: Mapping[str, Sequence[int]]) -> int:
    return sum(math.prod(shape) * _BYTES.get(kind, 4) for kind, shape in entry.items())
