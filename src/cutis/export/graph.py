"""Small rewrites of an ONNX graph: drop what must not travel, fold a scale, lower the opset, store weights in half."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

__all__ = [
    "convolutions",
    "fold_scale_into_convolutions",
    "lower",
    "opset",
    "readers",
    "store_in_full",
    "store_in_half",
    "strip",
]

_LARGE = 4096  # values; smaller tensors are not worth a rounding


def opset(model: onnx.ModelProto) -> int:
    """The version of the standard operators that the graph itself names."""
    return next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes beside each node: stack traces with the paths and code of who exported it.

    Shapes between the nodes go too (they are inferred again when needed), and operator sets that no node uses.
    """
    model.graph.doc_string = ""
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    for entry in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        entry.doc_string = ""
        del entry.metadata_props[:]
    used = {node.domain for node in model.graph.node} | {""}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def convolutions(model: onnx.ModelProto) -> list[str]:
    """Names of the convolutions, first to last in the order the graph runs them."""
    return [node.name for node in model.graph.node if node.op_type == "Conv"]


def fold_scale_into_convolutions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Turn `Conv(x * scale)` with a scale a channel into `Conv(x)` with scaled weights, exact up to rounding.

    Only where every reader of the product is a convolution in one group with weights of its own; otherwise the graph
    stays as it is. Changes `model` and returns it.
    """
    from onnx import numpy_helper

    weights = {entry.name: entry for entry in model.graph.initializer}
    read_by = readers(model)
    for node in [node for node in model.graph.node if node.op_type == "Mul"]:
        scale = _channel_scale(node, weights)
        users = read_by[node.output[0]]
        if scale is None or not users or not all(_foldable(user, node.output[0], weights, read_by) for user in users):
            continue
        for user in users:
            weight = weights[user.input[1]]
            scaled = numpy_helper.to_array(weight) * scale
            weight.CopyFrom(numpy_helper.from_array(scaled.astype(np.float32), weight.name))
            user.input[0] = next(name for name in node.input if name not in weights)  # before the product
        model.graph.node.remove(node)
        constant = next(name for name in node.input if name in weights)
        if len(read_by[constant]) == 1:
            model.graph.initializer.remove(weights[constant])
    return model


def lower(model: onnx.ModelProto, version: int) -> onnx.ModelProto | None:
    """The graph at an older opset by onnx's converter, or None if it is not valid there.

    The converter leaves attributes that the older operators do not know; those with their default value mean nothing
    and are removed, any other makes the graph invalid.
    """
    import onnx
    import onnx.version_converter

    try:
        lowered = onnx.version_converter.convert_version(model, version)
        _drop_unknown_defaults(lowered, opset(model), version)
        onnx.checker.check_model(lowered, full_check=True)
    except (RuntimeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return None
    del lowered.graph.value_info[:]
    return lowered if opset(lowered) == version else None


def store_in_half(model: onnx.ModelProto) -> None:
    """Keep large float32 weights as float16 and widen them with a Cast: half the file, the arithmetic stays float32.

    Runtimes fold the Cast when they load the file, so it costs no time. The weights are rounded to 11 bits.
    """
    from onnx import TensorProto, helper, numpy_helper

    for entry in model.graph.initializer:
        values = numpy_helper.to_array(entry)
        if values.dtype != np.float32 or values.size < _LARGE or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        full = entry.name
        entry.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{full}/half"))
        model.graph.node.insert(
            0, helper.make_node("Cast", [entry.name], [full], f"{full}/widen", to=TensorProto.FLOAT)
        )


def store_in_full(model: onnx.ModelProto) -> None:
    """The reverse of `store_in_half`: rounded weights as plain float32, for tools that look for weights by name."""
    from onnx import numpy_helper

    weights = {entry.name: entry for entry in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "Cast" and node.input[0] in weights]:
        entry = weights[node.input[0]]
        entry.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(entry).astype(np.float32), node.output[0]))
        model.graph.node.remove(node)


def _drop_unknown_defaults(model: onnx.ModelProto, newer: int, older: int) -> None:
    import onnx

    for node in model.graph.node:
        if node.domain:
            continue
        known = onnx.defs.get_schema(node.op_type, older, "").attributes
        defaults = onnx.defs.get_schema(node.op_type, newer, "").attributes
        for attribute in [a for a in node.attribute if a.name not in known and a.name in defaults]:
            default = defaults[attribute.name].default_value
            if onnx.helper.get_attribute_value(attribute) == onnx.helper.get_attribute_value(default):
                node.attribute.remove(attribute)


def readers(model: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    """Name of a value -> the nodes that take it; no node takes a name that is not there."""
    found: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            found[name].append(node)
    return found


def _channel_scale(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> NDArray | None:
    from onnx import numpy_helper

    constants = [weights[name] for name in node.input if name in weights]
    if len(constants) != 1:
        return None
    scale = numpy_helper.to_array(constants[0])
    return scale if scale.ndim == 4 and scale.shape == (1, scale.shape[1], 1, 1) else None


def _foldable(
    user: onnx.NodeProto,
    product: str,
    weights: dict[str, onnx.TensorProto],
    read_by: dict[str, list[onnx.NodeProto]],
) -> bool:
    groups = next((a.i for a in user.attribute if a.name == "group"), 1)
    own = user.op_type == "Conv" and user.input[1] in weights and len(read_by[user.input[1]]) == 1
    return own and groups == 1 and user.input[0] == product
