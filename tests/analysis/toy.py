"""A model of the contract, made by hand: what is darker than skin is lesion. It really segments drawn lesions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cutis.imaging.preprocessing import Preprocessing

SIZE = 128
DARKER_THAN = 0.55


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
