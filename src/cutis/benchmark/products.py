"""Parameters and multiply-adds of any network or ONNX file: those with weights, and those of attention apart.

SLSNet, Table 5, prints what its convolutions cost and leaves attention out; `cutis.models.budget` counts that way, for
the networks here. A transformer has no convolutions to speak of, so what peers cost is counted in one way for all:
products with weights (convolutions, linear layers) and products of two activations, which is what attention is.
PyTorch's own counter follows a network, its operators' shapes an ONNX file; neither computes anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cutis.errors import CutisError

if TYPE_CHECKING:
    import onnx
    from torch import nn

__all__ = ["Products", "multiply_adds", "of_file", "of_network"]

_CONVOLUTIONS = {"Conv": 1, "FusedConv": 1, "NhwcFusedConv": 1, "ConvInteger": 1, "QLinearConv": 3}
_TRANSPOSED = {"ConvTranspose": 1}
_MATRICES = {"MatMul": 1, "FusedMatMul": 1, "MatMulInteger": 1, "DynamicQuantizeMatMul": 1, "MatMulIntegerToFloat": 1}
_MATRICES |= {"QLinearMatMul": 3, "Gemm": 1, "FusedGemm": 1, "QGemm": 3}
_SECOND = {**_CONVOLUTIONS, **_TRANSPOSED, **_MATRICES}
"""Operator -> which of its inputs is the second factor."""


class Products(NamedTuple):
    """`parameters`; multiply-adds for one image: `weighted` (with weights), `attention` (of two activations)."""

    parameters: int
    weighted: int
    attention: int


def of_network(network: nn.Module, size: int) -> Products:
    """Of one image of `size` x `size` pixels; the network must be on the "meta" device (its values are not needed).

    Its attention must be plain ("eager" in transformers): a fused one hides its products.

    >>> from torch import nn
    >>> of_network(nn.Conv2d(3, 2, 3, padding=1, bias=False, device="meta"), 10)
    Products(parameters=54, weighted=5400, attention=0)
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.zeros(1, 3, size, size, device="meta"))
    counts = {str(operator): count // 2 for operator, count in counter.get_flop_counts()["Global"].items()}
    attention = sum(count for operator, count in counts.items() if "bmm" in operator)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Products(parameters, sum(counts.values()) - attention, attention)


def of_file(path: Path) -> Products:
    """Of one image, from the graph of an ONNX file in fp32 or INT8; batch norms are folded there."""
    import onnx

    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].ClearField("dim_param")
        value.type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {value.name: _shape(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    sizes = {entry.name: tuple(entry.dims) for entry in graph.initializer}
    shapes |= sizes
    made_by = {name: node for node in graph.node for name in node.output}
    counts = {"weighted": 0, "attention": 0}
    weights: set[str] = set()
    for node in graph.node:
        if node.op_type not in _SECOND:
            continue
        factors = [_origin(name, made_by, sizes) for name in node.input]
        second = factors[_SECOND[node.op_type]]
        given = [shapes.get(name, ()) for name in node.input]
        output = shapes.get(node.output[0], ())
        if not output or not all(output):
            raise CutisError(
                f"{path.name}: the shape of what {node.name} gives is not known, so nothing can be counted"
            )
        counts["attention" if second is None else "weighted"] += multiply_adds(node.op_type, given, output)
        weights |= {factor for factor in factors[1:] if factor is not None and math.prod(sizes[factor]) > 1}
    return Products(sum(math.prod(sizes[name]) for name in weights), **counts)


def multiply_adds(operator: str, inputs: Sequence[Sequence[int]], output: Sequence[int]) -> int:
    """Of one node of an ONNX graph, plain, quantised or as onnxruntime fused it; 0 where it multiplies no matrices.

    >>> multiply_adds("Conv", [(1, 3, 10, 10), (2, 3, 3, 3)], (1, 2, 10, 10))
    5400
    >>> multiply_adds("MatMul", [(4, 8, 16), (16, 32)], (4, 8, 32)), multiply_adds("Relu", [(9,)], (9,))
    (16384, 0)
    """
    if operator not in _SECOND:
        return 0
    second = inputs[_SECOND[operator]]
    if operator in _CONVOLUTIONS:
        return math.prod(output) // second[0] * math.prod(second)
    if operator in _TRANSPOSED:
        return math.prod(inputs[0]) // second[0] * math.prod(second)
    summed = math.prod(second[-2:]) // (output[-1] if len(second) > 1 else 1)  # whichever way a factor is turned
    return math.prod(output) * summed


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _origin(name: str, made_by: dict[str, onnx.NodeProto], sizes: dict[str, tuple[int, ...]]) -> str | None:
    """The initializer that a value is, as stored, quantised or turned; None where it is computed from the picture."""
    while name not in sizes:
        node = made_by.get(name)
        if node is None or node.op_type not in ("Cast", "DequantizeLinear", "Reshape", "Transpose"):
            return None
        name = node.input[0]
    return name
