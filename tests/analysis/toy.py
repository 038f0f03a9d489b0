"""Models of the contract, made by hand. The segmenter really segments drawn lesions: what is darker than skin is one.
The classifiers say what they are told to say, and look where it is dark."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cutis.imaging.cells import Cells
from cutis.imaging.preprocessing import Preprocessing

SIZE = 128
DARKER_THAN = 0.55
CLASSES = ["mel", "nv", "bcc", "akiec", "bkl", "df", "vasc"]


def metadata(**changed: str | None) -> dict[str, str]:
    """The metadata of the contract; a key set to None is left out."""
    preprocessing = Preprocessing(size=SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    written: dict[str, str | None] = {
        "cutis.format": "1",
        "cutis.task": "segmentation",
        "cutis.name": "toy",
        "cutis.version": "1",
        "cutis.precision": "fp32",
        "cutis.preprocessing": preprocessing.model_dump_json(),
        "cutis.threshold": "0.5",
    }
    written.update({f"cutis.{key}": value for key, value in changed.items()})
    return {key: value for key, value in written.items() if value is not None}


def write_model(path: Path, *, size: int = SIZE, output: str = "probability", **changed: str | None) -> Path:
    """sigmoid(40 (0.55 - grey)), pixel by pixel."""
    kernel = np.full((1, 3, 1, 1), -40 / (3 * 255), np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["values"], ["channels"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["channels", "kernel", "bias"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], [output]),
    ]
    constants = [
        numpy_helper.from_array(kernel, "kernel"),
        numpy_helper.from_array(np.array([40 * DARKER_THAN], np.float32), "bias"),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", size, size, 3])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", 1, size, size])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata(**changed))
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def classifier_metadata(kind: str, **changed: str | None) -> dict[str, str]:
    """The metadata of a classifier of the contract; a key set to None is left out."""
    size = 64 if kind == "symmetry" else 96
    preprocessing = Preprocessing(size=size, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    own: dict[str, str | None] = {
        "task": kind,
        "name": f"toy-{kind}",
        "preprocessing": preprocessing.model_dump_json(),
        "masking": "none",
        "cells": Cells(first=size / 8, step=size / 4).model_dump_json(),
        "temperature": "1.0",
    }
    if kind == "symmetry":
        own |= {"classes": json.dumps(["asymmetric", "symmetric"]), "threshold": "0.5"}
    else:
        conformal = {"coverage": 0.9, "quantile": 0.75, "widest": 1}
        own |= {"classes": json.dumps(CLASSES), "threshold": None}
        own |= {"conformal": json.dumps(conformal), "unlikeness_limit": "4.0"}
    return metadata(**{**own, **changed})


def write_symmetry(
    path: Path,
    *,
    logits: tuple[float, ...] = (0.0, 1.0),
    map_side: int = 4,
    output: str = "activation",
    **changed: str | None,
) -> Path:
    """Gives `logits` whatever it sees; looks where the picture is dark. 64 x 64 pixels, a map of 4 x 4."""
    return _write_classifier(path, "symmetry", logits, map_side=map_side, takes=None, output=output, **changed)


def write_lesion(
    path: Path,
    *,
    logits: tuple[float, ...] = (0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    unlikeness: float = 1.0,
    takes: int | None = 4,
    output: str = "activation",
    **changed: str | None,
) -> Path:
    """Gives `logits`, to the first of which it adds the mean of the symmetry map; looks where the picture is dark.

    96 x 96 pixels, a map of 4 x 4; takes a map of `takes` x `takes`, or none."""
    return _write_classifier(
        path, "lesion_class", logits, map_side=4, takes=takes, output=output, unlikeness=unlikeness, **changed
    )


def _write_classifier(
    path: Path,
    kind: str,
    logits: tuple[float, ...],
    *,
    map_side: int,
    takes: int | None,
    output: str,
    unlikeness: float | None = None,
    **changed: str | None,
) -> Path:
    size, count = (64 if kind == "symmetry" else 96), len(logits)
    cell = size // map_side
    written = classifier_metadata(kind, **{"cells": Cells(first=cell / 2, step=cell).model_dump_json(), **changed})
    nodes = [
        helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["values"], ["channels"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["channels", "kernel", "bias"], ["darkness"]),
        helper.make_node("AveragePool", ["darkness"], [output], kernel_shape=[cell, cell], strides=[cell, cell]),
        helper.make_node("ReduceMean", ["darkness"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Unsqueeze", ["nothing", "one"], ["row"]),
        helper.make_node("Add", ["row", "constant"], ["logits" if takes is None else "own"]),
    ]
    constants = [
        numpy_helper.from_array(np.full((1, 3, 1, 1), -1 / (3 * 255), np.float32), "kernel"),
        numpy_helper.from_array(np.array([1], np.float32), "bias"),
        numpy_helper.from_array(np.array(0, np.float32), "zero"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(np.array([logits], np.float32), "constant"),
    ]
    inputs = [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", size, size, 3])]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", count]),
        helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", 1, map_side, map_side]),
    ]
    if takes is not None:
        shape = ["batch", 1, takes, takes]
        inputs.append(helper.make_tensor_value_info("symmetry_activation", TensorProto.FLOAT, shape))
        nodes += [
            helper.make_node("ReduceMean", ["symmetry_activation"], ["seen"], axes=[2, 3], keepdims=0),
            helper.make_node("Mul", ["seen", "first"], ["told"]),
            helper.make_node("Add", ["own", "told"], ["logits"]),
        ]
        first = np.eye(1, count, dtype=np.float32)
        constants.append(numpy_helper.from_array(first, "first"))
    if unlikeness is not None:
        nodes.append(helper.make_node("Add", ["nothing", "far"], ["unlikeness"]))
        constants.append(numpy_helper.from_array(np.array(unlikeness, np.float32), "far"))
        outputs.append(helper.make_tensor_value_info("unlikeness", TensorProto.FLOAT, ["batch"]))
    graph = helper.make_graph(nodes, "toy", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, written)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path
