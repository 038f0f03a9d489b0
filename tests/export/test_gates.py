"""A gated network is exported without its gates: the graph is read, the answers compared, INT8 keeps it in bytes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml

from cutis.cli import app
from cutis.data.synthetic import write_folder
from cutis.export.onnx import export_onnx, torch_probabilities
from cutis.export.parity import open_session, probabilities
from cutis.imaging.preprocessing import Preprocessing
from cutis.layers.effu import gates_of
from cutis.models.sparsesegnet import SparseSegNet

WIDTHS = (8, 16, 24, 32)
OPEN = (10, 5, 0)  # of 24, 16 and 8 channels: two skips partly, the third closed
PREPROCESSING = Preprocessing(size=64, mean=(0.7, 0.55, 0.5), std=(0.15, 0.16, 0.18))


@pytest.fixture(scope="module")
def gated():
    """So many channels of each skip are open, spread over it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SparseSegNet(WIDTHS, (1, 1, 1, 1), gates=0.9)
        for _ in range(3):
            network(2 * torch.randn(4, 3, 64, 64) - 1)
        network.decoder.steps[-1].up[0].weight.data *= 8
        for gate, count in zip(gates_of(network), OPEN, strict=True):
            gate.phi.data.fill_(-2.0)[torch.randperm(len(gate.phi))[:count]] = 2.0
    return network.eval()


@pytest.fixture(scope="module")
def exported(gated, tmp_path_factory):
    path = tmp_path_factory.mktemp("gated") / "gated.onnx"
    export_onnx(gated, PREPROCESSING, path, name="gated", version="1", threshold=0.5)
    return path


def test_the_file_answers_as_the_gated_network_does(gated, exported):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    found = probabilities(open_session(exported), pixels)
    wanted = torch_probabilities(gated, PREPROCESSING, pixels)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.ptp(wanted) > 0.2  # not a comparison of constants
    assert len(gates_of(gated)) == 3  # and the network is as it was


def test_closed_channels_have_left_the_graph(exported):
    model = onnx.shape_inference.infer_shapes(onnx.load(exported))
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["Mul"] == kinds["Where"] == 0
    assert kinds["Slice"] == 3 * 2
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.value_info}
    added = [shapes[node.output[0]][1:] for node in model.graph.node if node.op_type == "Add"]
    blocks = 4  # each stage's one block adds to its input, whatever the skips do
    assert added[blocks:] == [[10, 4, 4], [5, 8, 8]]


@pytest.mark.slow
def test_cutis_export_takes_a_gated_run_and_int8_keeps_the_slices_in_bytes(gated, tmp_path, capsys):
    write_folder(tmp_path / "data", count=24, seed=4, width=64, height=48)
    values = yaml.safe_load((Path(__file__).parents[2] / "configs/sparsesegnet/smoke.yaml").read_text(encoding="utf-8"))
    values |= {
        "network": {"name": "sparsesegnet", "options": {"widths": list(WIDTHS), "depths": [1, 1, 1, 1], "gates": 0.9}},
        "preprocessing": PREPROCESSING.model_dump(mode="json"),
    }
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    (folder / "run.json").write_text(json.dumps({}), encoding="utf-8")
    state = {f"networks.network.{key}": value for key, value in gated.state_dict().items()}
    torch.save({"state_dict": state}, folder / "checkpoints" / "best.ckpt")

    words = ["export", str(folder), "--output", str(tmp_path), "--data", str(tmp_path / "data"), "--calibration", "4"]
    assert app(words, result_action="return_value") == 0
    assert "torch = fp32" in capsys.readouterr().out
    int8 = onnx.load(tmp_path / "smoke-int8.onnx")
    made_by = {name: node.op_type for node in int8.graph.node for name in node.output}
    sliced = [node for node in int8.graph.node if node.op_type == "Slice"]
    assert len(sliced) == 6 and {made_by[node.input[0]] for node in sliced} == {"DequantizeLinear"}
