"""Multiply-adds: by hand, from a graph and by PyTorch's counter, which agree."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cutis.benchmark.products import Products, multiply_adds, of_file, of_network
from cutis.errors import CutisError

WEIGHTS = Path(str(resources.files("cutis"))) / "weights"


def write_graph(path: Path, *, named: bool = True) -> Path:
    """A grouped convolution, one turned round, a linear layer with stored half weights, and attention's product."""
    rng = np.random.default_rng(0)
    weights = {
        "grouped": rng.standard_normal((4, 2, 3, 3)).astype(np.float32),
        "up": rng.standard_normal((4, 2, 2, 2)).astype(np.float32),
        "half": rng.standard_normal((12, 5)).astype(np.float16),
    }
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    constants.append(numpy_helper.from_array(np.array([-1, 2, 12 * 12]), "shape"))
    nodes = [
        helper.make_node("Conv", ["image", "grouped"], ["a"], group=2, pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["a", "up"], ["b"], strides=[2, 2]),
        helper.make_node("Cast", ["half"], ["full"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["b", "full"], ["c"]),
        helper.make_node("Reshape", ["b", "shape"], ["tokens"]),
        helper.make_node("Transpose", ["tokens"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["tokens", "turned"], ["similar"], name="attention"),
    ]
    shape = ["n", 4, 6, 6] if named else ["n", 4, "h", "w"]
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", None, None]) for name in ("similar",)]
    outputs.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, ["n", None, None, None]))
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_graph_is_counted_as_by_hand(tmp_path):
    found = of_file(write_graph(tmp_path / "g.onnx"))
    grouped, up, linear = 4 * 36 * (2 * 9), 4 * 36 * (2 * 4), 2 * 12 * 12 * 5
    assert found == Products(4 * 2 * 9 + 4 * 2 * 4 + 60, grouped + up + linear, 2 * 2 * 144)


def test_a_graph_with_open_sides_is_refused(tmp_path):
    with pytest.raises(CutisError, match="nothing can be counted"):
        of_file(write_graph(tmp_path / "g.onnx", named=False))


@pytest.mark.parametrize(
    ("operator", "inputs", "output", "count"),
    [
        ("QLinearConv", [(1, 8, 8, 3), (), (), (4, 3, 3, 3)], (1, 8, 8, 4), 8 * 8 * 4 * 27),  # channels last
        ("Conv", [(1, 16, 8, 8), (16, 1, 3, 3)], (1, 16, 8, 8), 64 * 16 * 9),  # depthwise
        ("QGemm", [(2, 6), (), (), (6, 5)], (2, 5), 60),
        ("MatMulInteger", [(2, 6), (6, 5)], (2, 5), 60),
        ("MatMul", [(3, 2, 6), (3, 6, 5)], (3, 2, 5), 180),
        ("MatMul", [(2, 6), (6,)], (2,), 12),
        ("FusedMatMul", [(1, 6, 2), (6, 5)], (1, 2, 5), 60),  # the first factor is turned
        ("FusedMatMul", [(2, 6), (5, 6)], (2, 5), 60),  # the second
        ("QLinearAdd", [(9,), (9,)], (9,), 0),
    ],
)
def test_operators_as_onnxruntime_fuses_them(operator, inputs, output, count):
    assert multiply_adds(operator, inputs, output) == count


def test_the_bundled_files_cost_what_pytorch_counts_of_their_network():
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch_pruning")
    from cutis.benchmark.peers import build_peer
    from cutis.pruning.surgery import remove

    network = build_peer("sparsesegnet")
    gone = {
        "encoder.stage4.entry": 64,
        "decoder.steps.0.refine": 64,
        "decoder.steps.1.refine": 32,
    }  # prune-bundled.yaml
    remove(network, torch.zeros(1, 3, 256, 256), {block: range(count) for block, count in gone.items()})
    found = of_network(network.to("meta"), 256)
    fp32, int8 = (of_file(WEIGHTS / f"segmenter-{precision}.onnx") for precision in ("fp32", "int8"))
    assert (fp32.weighted, fp32.attention) == (found.weighted, 0)
    assert 0.99 < fp32.parameters / found.parameters < 1  # batch norms are folded
    assert (
        fp32.weighted < int8.weighted < 1.05 * fp32.weighted
    )  # its first convolution is on blocks, with zeros between


def test_attention_is_counted_apart():
    torch = pytest.importorskip("torch")

    class Attention(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(3, 5, bias=False)

        def forward(self, image):
            tokens = self.linear(image.flatten(2).transpose(1, 2))
            return torch.bmm(tokens, tokens.transpose(1, 2))

    with torch.device("meta"):
        found = of_network(Attention(), 4)
    assert found == Products(15, 16 * 3 * 5, 16 * 16 * 5)
