"""Simulated quantisation is what ONNX Runtime computes, to the last bit; its gradient is the straight-through one."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
import onnxruntime  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from cutis.layers.simulated_quantization import (  # noqa: E402
    SimulatedQuantization,
    affine,
    quantize_dequantize,
    quantize_weight,
)


def runtime(x, scale, zero_point, axis=0):
    """QuantizeLinear and DequantizeLinear of ONNX Runtime, without its optimisations."""
    from onnx import TensorProto, helper, numpy_helper

    constants = [numpy_helper.from_array(scale, "scale"), numpy_helper.from_array(zero_point, "zero_point")]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero_point"], ["q"], axis=axis),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero_point"], ["y"], axis=axis),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    graph = helper.make_graph(nodes, "qdq", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize(("least", "greatest"), [(-1.7, 3.1), (0.0, 6.0), (-4.0, 0.0), (0.3, 0.7), (-1e-3, 2e3)])
def test_activations_are_rounded_as_onnx_runtime_rounds_them(least, greatest):
    """The scale and zero point are those of ONNX Runtime's own tool; among the values are ties and what is clipped."""
    from onnxruntime.quantization.quant_utils import compute_scale_zp

    ends = [np.array(end, np.float32) for end in (least, greatest)]
    zero_point, scale = compute_scale_zp(*ends, np.array(0, np.uint8), np.array(255, np.uint8))
    ours = affine(*(torch.tensor(end) for end in ends))
    assert (ours[0].item(), ours[1].item()) == (scale.item(), zero_point.item())
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0, 2 * greatest + 1, 5000), (np.arange(-300, 300) + 0.5) * scale.item(), [0.0]])
    values = values.astype(np.float32)
    found = quantize_dequantize(torch.from_numpy(values), *ours, (0, 255)).numpy()
    np.testing.assert_array_equal(found, runtime(values, scale.astype(np.float32), zero_point.astype(np.uint8)))
    assert found[-1] == 0


def test_weights_are_rounded_as_onnx_runtime_rounds_them_a_channel():
    from onnxruntime.quantization.quant_utils import compute_scale_zp

    weight = np.random.default_rng(2).normal(0, [[[[0.01]]], [[[1.0]]], [[[30.0]]]], (3, 5, 3, 3)).astype(np.float32)
    ends = np.array(-127, np.int8), np.array(127, np.int8)
    scales = np.array([compute_scale_zp(w.min(), w.max(), *ends, symmetric=True)[1] for w in weight], np.float32)
    found = quantize_weight(torch.from_numpy(weight)).numpy()
    np.testing.assert_array_equal(found, runtime(weight, scales, np.zeros(3, np.int8)))
    assert all(len(np.unique(channel)) > 20 for channel in found)


def test_rounding_commutes_with_batch_norm_folded_into_the_weights():
    torch.manual_seed(0)
    weight, scale = torch.randn(6, 4, 3, 3), torch.tensor([0.1, -3.0, 7.0, 1.0, -0.02, 400.0]).reshape(-1, 1, 1, 1)
    folded = quantize_weight(weight * scale)
    torch.testing.assert_close(folded, quantize_weight(weight) * scale, rtol=1e-5, atol=0)


@given(
    values=st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=30),
    least=st.floats(-50, 0, width=32),
    extent=st.floats(0.125, 100, width=32),
)
def test_gradients_pass_inside_the_range_and_nowhere_else(values, least, extent):
    scale, zero_point = affine(torch.tensor(least), torch.tensor(least + extent))
    x = torch.tensor(values, requires_grad=True)
    y = quantize_dequantize(x, scale, zero_point, (0, 255))
    y.backward(torch.full_like(y, 3.0))
    low, high = (float((end - zero_point) * scale) for end in (0, 255))
    half = float(scale) / 2
    for value, rounded, gradient in zip(values, y.tolist(), x.grad.tolist(), strict=True):
        if low - 0.99 * half < value < high + 0.99 * half:
            assert gradient == 3 and abs(rounded - value) <= 1.01 * half + 1e-6 * abs(value)
        elif not low - 1.01 * half < value < high + 1.01 * half:
            assert gradient == 0 and rounded == pytest.approx(low if value < low else high, abs=1e-6 * extent)


class Net(nn.Module):
    """All kinds of places: a first convolution with a maximum behind it, in-place sums, joins, a linear layer."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.last, self.linear = nn.Conv2d(16, 1, 1), nn.Linear(4, 4)

    def forward(self, image):
        x = F.max_pool2d(F.relu(self.first(image), inplace=True), 2)
        y = self.second(x)
        y += x
        z = self.third(y)
        z.add_(1.0)
        return self.linear(self.last(torch.cat([y, z], 1)) + 0)


def test_what_stays_in_float_and_where_values_are_rounded():
    """By hand: float are the first convolution, the one behind its maximum, and the linear layer after the last one."""
    torch.manual_seed(1)
    network, images = Net().eval(), torch.rand(4, 3, 8, 8)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    simulated = SimulatedQuantization(network, images[:1], float_head=False)
    assert simulated.plan == (4, frozenset({0, 1}))
    simulated.observe(network, [images[:1], images[1:]], "extreme")
    assert len(simulated.scale) == 8

    def rounded(x, like):
        return quantize_dequantize(x, *affine(like.amin(), like.amax()), (0, 255))

    def convolved(x, layer):
        return F.conv2d(x, quantize_weight(layer.weight), layer.bias)

    with torch.no_grad():
        x = F.max_pool2d(F.relu(network.first(images)), 2)
        y, z = network.second(x) + x, network.third(network.second(x) + x)  # in float: ranges are of these
        both = torch.cat([y, z + 1], 1)
        ours_y = rounded(network.second(x), network.second(x)) + rounded(x, x)
        ours_z = rounded(convolved(rounded(ours_y, y), network.third), z) + 1
        ours = torch.cat([rounded(ours_y, y), rounded(ours_z, z + 1)], 1)
        ours = rounded(convolved(rounded(ours, both), network.last), network.last(both))
        torch.testing.assert_close(simulated(network, images), network.linear(ours), rtol=0, atol=0)
        assert not torch.equal(network(images), network.linear(ours))
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_head_in_float_and_mean_ranges():
    torch.manual_seed(1)
    network, images = Net().eval(), torch.rand(4, 3, 8, 8)
    simulated = SimulatedQuantization(network, images[:1], float_head=True)
    simulated.observe(network, [images[:3], images[3:]], "mean")
    assert simulated.plan.kept == {0, 1, 3} and len(simulated.scale) == 7  # the last one's answer is not rounded
    with torch.no_grad():
        first = network.second(F.max_pool2d(F.relu(network.first(images)), 2)).flatten(1)
    torch.testing.assert_close(simulated.scale[0], affine(first.amin(1).mean(), first.amax(1).mean())[0])


def test_gradients_reach_every_weight():
    torch.manual_seed(1)
    network, images = Net(), torch.rand(2, 3, 8, 8)
    simulated = SimulatedQuantization(network, images, float_head=False)
    simulated.observe(network, [images], "extreme")
    simulated(network, images).square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())
    assert not list(simulated.parameters())
