"""The first convolution on the picture's bytes as they are: no cast, no subtraction, no turn, and nothing rounded.

Ours (no paper). The exported graph turns bytes into floats, subtracts the mean and convolves three channels, in INT8
files too: a byte convolution of three channels spends its time gathering nine bytes at a time. But bytes are integers
already, and the mean can move into the bias, so the picture itself needs no rounding; and a row of pixels read as
blocks of `block` pixels is a map with 3 x `block` channels, of which a convolution that is 3 rows high and 2 blocks
wide makes half a block of outputs at once. Its weights are the old ones, set out with zeros.

Exact but for the weights' own INT8 and for the padding: beside the picture lies one value for all channels, the mean of
the channels' means, where the float convolution has each channel's own mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutis.export.graph import readers

if TYPE_CHECKING:
    import onnx

__all__ = ["byte_stem"]

_WIDEST = 64
"""Output channels of the new convolution, at most: more of them cost more products than they save moves."""
_BLOCKS = (8, 4)  # pixels; 8 is as fast as 4 or faster, 2 and 16 are slower
_CHAIN = ("Reshape", "Cast", "Sub", "Reshape", "Transpose", "Conv", "Relu", "QuantizeLinear")


class _Stem(NamedTuple):
    """The nodes from the input to the first bytes between layers, and what they compute with: `weight` (O, 3, 3, 3),
    `bias` (O,), `mean` (3,) in units of a byte, `side` of the picture, pixels of a `block`."""

    nodes: list[onnx.NodeProto]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    mean: NDArray[np.float64]
    side: int
    block: int


def byte_stem(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """Rewrite a quantised network (quantise-dequantise pairs, unsigned) whose first convolution, 3 x 3 at stride 2 with
    a ReLU, is in float; None, and `model` as it was, where it is not so. Changes `model` and returns it."""
    from onnx import helper, numpy_helper

    stem = _stem(model)
    if stem is None:
        return None
    outputs, block = len(stem.weight), stem.block
    groups = block // 2
    scale = np.abs(stem.weight).max((1, 2, 3)) / 127
    scale[scale == 0] = 1
    levels = np.round(stem.weight / scale[:, None, None, None])
    zero = round(float(stem.mean.mean()))
    bias = stem.bias / scale - (levels * (stem.mean - zero)[None, :, None, None]).sum((1, 2, 3))
    constants = {
        "blocks": np.array([-1, stem.side, stem.side // block, 3 * block], np.int64),
        "one": np.array(1, np.float32),
        "zero": np.array(zero, np.uint8),
        "weight": _set_out(levels, block).astype(np.int8),
        "scale": np.tile(scale, groups).astype(np.float32),
        "level": np.zeros(groups * outputs, np.int8),
        "bias": np.tile(np.round(bias), groups).astype(np.int32),
        "nought": np.zeros(groups * outputs, np.int32),
        "pixels": np.array([-1, stem.side // 2, stem.side // 2, outputs], np.int64),
    }
    last = stem.nodes[-1]
    steps: list[tuple[str, list[str], str, dict[str, int | list[int]]]] = [
        ("Reshape", [model.graph.input[0].name, "bytes/blocks"], "bytes/rows", {}),
        ("Transpose", ["bytes/rows"], "bytes/map", {"perm": [0, 3, 1, 2]}),
        ("DequantizeLinear", ["bytes/map", "bytes/one", "bytes/zero"], "bytes/values", {}),
        ("DequantizeLinear", ["bytes/weight", "bytes/scale", "bytes/level"], "bytes/weights", {"axis": 0}),
        ("DequantizeLinear", ["bytes/bias", "bytes/scale", "bytes/nought"], "bytes/biases", {"axis": 0}),
        ("Conv", ["bytes/values", "bytes/weights", "bytes/biases"], "bytes/sums",
         {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 1, 0, 0]}),
        ("Relu", ["bytes/sums"], "bytes/bounded", {}),
        ("QuantizeLinear", ["bytes/bounded", *last.input[1:]], "bytes/found", {}),
        ("Transpose", ["bytes/found"], "bytes/found rows", {"perm": [0, 2, 3, 1]}),
        ("Reshape", ["bytes/found rows", "bytes/pixels"], "bytes/found pixels", {}),
        ("Transpose", ["bytes/found pixels"], last.output[0], {"perm": [0, 3, 1, 2]}),
    ]  # fmt: skip
    for node in stem.nodes:
        model.graph.node.remove(node)
    for place, (kind, given, made, attributes) in enumerate(steps):
        model.graph.node.insert(place, helper.make_node(kind, given, [made], f"bytes/{place}", **attributes))
    used = {name for node in model.graph.node for name in node.input}
    for entry in [entry for entry in model.graph.initializer if entry.name not in used]:
        model.graph.initializer.remove(entry)
    model.graph.initializer.extend(
        numpy_helper.from_array(values, f"bytes/{name}") for name, values in constants.items()
    )
    return model


def _set_out(levels: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    """(O, 3, 3, 3) of a 3 x 3 convolution at stride 2 -> (block / 2 * O, 3 * block, 3, 2), over blocks of pixels.

    Output g of a block is of the three pixels around pixel 2 g; the first of block 0 is in the block before.
    """
    outputs, channels = levels.shape[:2]
    made = np.zeros((block // 2, outputs, block, channels, 3, 2))
    for group in range(block // 2):
        for column in range(3):
            pixel = 2 * group + column - 1
            made[group, :, pixel % block, :, :, int(pixel >= 0)] = levels[:, :, :, column]
    return made.reshape(block // 2 * outputs, block * channels, 3, 2)


def _stem(model: onnx.ModelProto) -> _Stem | None:
    """The stem, if the graph begins as `cutis export` writes it and nothing else reads what lies in between."""
    from onnx import helper, numpy_helper

    weights = {entry.name: entry for entry in model.graph.initializer}
    read_by, at = readers(model), model.graph.input[0].name
    nodes: list[onnx.NodeProto] = []
    shape = [entry.dim_value for entry in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    if len(shape) != 3 or shape[0] != shape[1] or shape[2] != 3 or shape[0] % 2:
        return None
    for kind in _CHAIN:
        if len(read_by[at]) != 1 or read_by[at][0].op_type != kind:
            return None
        nodes.append(read_by[at][0])
        at = nodes[-1].output[0]
    subtraction, convolution = nodes[2], nodes[5]
    found = {entry.name: helper.get_attribute_value(entry) for entry in convolution.attribute}
    wanted = {"strides": [2, 2], "pads": [1, 1, 1, 1], "dilations": [1, 1], "group": 1}
    if any(found.get(name) != value for name, value in wanted.items()):
        return None
    if len(convolution.input) != 3 or not {*convolution.input[1:], subtraction.input[1]} <= set(weights):
        return None
    weight, bias, mean = (
        numpy_helper.to_array(weights[name]).astype(np.float64)
        for name in (*convolution.input[1:], subtraction.input[1])
    )
    fitting = [block for block in _BLOCKS if block // 2 * len(weight) <= _WIDEST and shape[0] % block == 0]
    if weight.shape[1:] != (3, 3, 3) or not fitting:
        return None
    return _Stem(nodes, weight, bias, mean.reshape(-1, 3)[0], shape[0], fitting[0])
