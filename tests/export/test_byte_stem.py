"""The first convolution on bytes: the same sums as torch's convolution of floats, in blocks of pixels."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from torch.nn import functional as F

from cutis.export.byte_stem import _set_out, byte_stem
from cutis.export.int8 import CANDIDATES, quantize
from cutis.export.parity import open_session, probabilities


@given(st.sampled_from([4, 8]), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25)
def test_blocks_give_the_sums_of_pixels(block, outputs, blocks, seed):
    rng = np.random.default_rng(seed)
    side = block * blocks
    levels, pixels = rng.integers(-127, 128, (outputs, 3, 3, 3)), rng.integers(0, 256, (1, side, side, 3))
    wanted = F.conv2d(
        torch.from_numpy(pixels).permute(0, 3, 1, 2).double(), torch.from_numpy(levels).double(), stride=2, padding=1
    )
    rows = torch.from_numpy(pixels.reshape(1, side, blocks, 3 * block)).permute(0, 3, 1, 2).double()
    weight = torch.from_numpy(_set_out(levels.astype(np.float64), block))
    found = F.conv2d(F.pad(rows, (1, 0, 1, 0)), weight, stride=(2, 1))
    found = found.permute(0, 2, 3, 1).reshape(1, side // 2, side // 2, outputs).permute(0, 3, 1, 2)
    assert torch.equal(found, wanted)


@pytest.fixture(scope="module")
def quantized(tmp_path_factory, exported, images) -> onnx.ModelProto:
    path = tmp_path_factory.mktemp("bytes") / "toy-int8.onnx"
    feeds = {"calibration": {"image": images[:12]}, "judging": {"image": images[24:28]}}
    quantize(exported, path, **feeds, candidates=CANDIDATES[:1])
    return onnx.load(path)


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    other = onnx.ModelProto()
    other.CopyFrom(model)
    return other


def test_the_bytes_after_it_are_those_of_whole_numbers(quantized, images):
    """Computed again with numpy's integers from the float weights of the file before."""
    weights = {entry.name: numpy_helper.to_array(entry) for entry in quantized.graph.initializer}
    first = next(node for node in quantized.graph.node if node.op_type == "Conv" and node.input[1] in weights)
    mean = next(n for n in quantized.graph.node if n.op_type == "Sub").input[1]
    bound = next(n for n in quantized.graph.node if n.op_type == "QuantizeLinear")
    weight, bias = (weights[name].astype(np.float64) for name in first.input[1:])
    scale = np.abs(weight).max((1, 2, 3)) / 127
    levels = np.round(weight / scale[:, None, None, None])
    centre = weights[mean].reshape(-1, 3)[0].astype(np.float64)
    zero = round(float(centre.mean()))
    pixels = np.pad(images[:2].astype(np.float64), ((0, 0), (1, 0), (1, 0), (0, 0)), constant_values=zero)
    sums = (
        F.conv2d(torch.from_numpy(pixels - zero).permute(0, 3, 1, 2), torch.from_numpy(levels), stride=2).numpy()
        + np.round(bias / scale - (levels * (centre - zero)[None, :, None, None]).sum((1, 2, 3)))[:, None, None]
    )
    step = float(weights[bound.input[1]])
    wanted = np.clip(np.round(np.maximum(sums * scale[:, None, None], 0) / step), 0, 255)

    made = byte_stem(copied(quantized))
    made.graph.output.append(onnx.helper.make_tensor_value_info(bound.output[0], onnx.TensorProto.UINT8, None))
    session = open_session(made.SerializeToString())
    found = session.run([bound.output[0]], {"image": images[:2]})[0].astype(np.float64)
    assert np.abs(found - wanted).max() <= 1 and (found == wanted).mean() > 0.999  # halves round either way
    assert wanted.std() > 5


def test_the_network_answers_alike_with_any_number_of_images(quantized, images):
    made = byte_stem(copied(quantized))
    onnx.checker.check_model(made, full_check=True)
    assert not {"Cast", "Sub"} & {node.op_type for node in made.graph.node}
    one, other = (open_session(model.SerializeToString()) for model in (quantized, made))
    for batch in (images[:1], images[:5]):
        apart = np.abs(probabilities(one, batch) - probabilities(other, batch))
        assert 0 < apart.mean() < 0.03  # of 32 pixels the border is a large part


@pytest.mark.parametrize("change", ["strides", "pads", "read twice", "many channels"])
def test_another_beginning_is_left_as_it_is(quantized, change):
    model = copied(quantized)
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    attributes = {entry.name: entry for entry in first.attribute}
    if change == "strides":
        attributes["strides"].ints[:] = [1, 1]
    elif change == "pads":
        attributes["pads"].ints[:] = [0, 0, 0, 0]
    elif change == "read twice":
        model.graph.node.append(onnx.helper.make_node("Relu", [first.output[0]], ["twice"]))
    else:
        weight = next(entry for entry in model.graph.initializer if entry.name == first.input[1])
        weight.CopyFrom(numpy_helper.from_array(np.zeros((64, 3, 3, 3), np.float32), weight.name))
    before = model.SerializeToString()
    assert byte_stem(model) is None and model.SerializeToString() == before
