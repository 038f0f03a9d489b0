"""A graph of standard ONNX operators, written as Python expressions.

`Steps` adds one node a call and answers the name of its output, so that an equation reads from top to bottom.

>>> steps = Steps()
>>> doubled = steps.add(steps.given("x", "float", ["n"]), steps.given("x_again", "float", ["n"]))
>>> model = steps.model("doubled", {doubled: ("sum", "float", ["n"])})
>>> [node.op_type for node in model.graph.node]
['Add', 'Identity']
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Steps"]

OPSET, IR = 17, 10  # as the bundled networks
_TYPES = {
    "uint8": TensorProto.UINT8,
    "int64": TensorProto.INT64,
    "float": TensorProto.FLOAT,
    "double": TensorProto.DOUBLE,
    "bool": TensorProto.BOOL,
}
Shape = Sequence[int | str]


class Steps:
    """The nodes of a graph so far. Any operator is a method by its name in lower case with underscores."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._constants: list[onnx.TensorProto] = []

    def given(self, name: str, kind: str, shape: Shape) -> str:
        """An input of the graph."""
        self._inputs.append(helper.make_tensor_value_info(name, _TYPES[kind], list(shape)))
        return name

    def constant(self, values: ArrayLike, dtype: Any = np.float64) -> str:
        """Numbers that the graph carries; double unless said otherwise."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """One operator; the names of its outputs."""
        names = [f"v{len(self._nodes)}_{k}" for k in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def __getattr__(self, method: str) -> Any:
        if method.startswith("_"):
            raise AttributeError(method)
        kind = _OPERATORS.get(method, method.capitalize())
        return lambda *inputs, **attributes: self.node(kind, *inputs, **attributes)[0]

    def cast(self, value: str, kind: str) -> str:
        return self.node("Cast", value, to=_TYPES[kind])[0]

    def model(self, name: str, outputs: Mapping[str, tuple[str, str, Shape]]) -> onnx.ModelProto:
        """The checked model; `outputs`: value -> (its name outside, type, shape)."""
        for value, (outside, _, _) in outputs.items():
            self._nodes.append(helper.make_node("Identity", [value], [outside]))
        described = [helper.make_tensor_value_info(n, _TYPES[kind], list(shape)) for n, kind, shape in outputs.values()]
        graph = helper.make_graph(self._nodes, name, self._inputs, described, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
        onnx.checker.check_model(model, full_check=True)
        return model


_OPERATORS = {"matmul": "MatMul", "top_k": "TopK", "reduce_sum": "ReduceSum", "reduce_max": "ReduceMax"}
