"""The exported file answers as torch does, says what it is, and is not written when anything is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from cutis.errors import CutisError
from cutis.export import graph
from cutis.export.onnx import TOLERANCE, export_onnx, torch_probabilities
from cutis.export.parity import open_session, probabilities
from cutis.files import UNSEALED, seal_is_whole
from cutis.imaging.preprocessing import Preprocessing


def export(network: nn.Module, preprocessing: Preprocessing, path: Path):
    return export_onnx(network, preprocessing, path, name="toy", version="1.2", threshold=0.45)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_answers_as_torch_does_at_any_batch_size(exported, toy, preprocessing, images, batch):
    found = probabilities(open_session(exported), images[:batch])
    expected = torch_probabilities(toy, preprocessing, images[:batch])
    assert found.shape == (batch, 1, 32, 32)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE["float32"])
    assert expected.min() < 0.3 and expected.max() > 0.7  # the comparison is not one of constants


def test_the_border_is_padded_with_the_mean_colour_as_in_training(exported, toy, preprocessing):
    image = np.full((1, 32, 32, 3), 255, np.uint8)
    found, expected = probabilities(open_session(exported), image), torch_probabilities(toy, preprocessing, image)
    edge = np.s_[..., 0, :]
    np.testing.assert_allclose(found[edge], expected[edge], atol=TOLERANCE["float32"])
    assert np.ptp(expected) > 0.01  # a uniform image: only the padding makes a difference


def test_the_opset_is_the_one_in_the_graph_and_the_graph_is_valid(tmp_path, toy, preprocessing):
    facts = export(toy, preprocessing, tmp_path / "toy.onnx")
    model = onnx.load(facts.path)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", facts.opset)]
    assert facts.opset == 17
    assert facts.size == facts.path.stat().st_size and facts.difference <= TOLERANCE["float32"]


def test_kept_at_the_exporters_opset_where_17_is_not_valid(tmp_path, preprocessing):
    class Newer(nn.Module):
        def forward(self, image: Tensor) -> Tensor:  # antialiased resizing came with opset 18
            small = nn.functional.interpolate(image[:, :1], size=16, mode="bilinear", antialias=True)
            return nn.functional.interpolate(small, size=32)

    facts = export(Newer(), preprocessing, tmp_path / "newer.onnx")
    assert facts.opset == 18
    assert next(iter(onnx.load(facts.path).opset_import)).version == 18


def test_metadata_is_complete(exported, preprocessing):
    found = open_session(exported).get_modelmeta().custom_metadata_map
    assert Preprocessing.model_validate_json(found.pop("cutis.preprocessing")) == preprocessing
    assert found.pop("cutis.seal") != UNSEALED and seal_is_whole(exported.read_bytes())
    assert found == {
        "cutis.format": "1",
        "cutis.task": "segmentation",
        "cutis.name": "toy",
        "cutis.version": "1.2",
        "cutis.precision": "fp32",
        "cutis.threshold": "0.45",
    }


def test_signature_is_the_contract(exported):
    session = open_session(exported)
    ((image,), (probability,)) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, image.shape[1:]) == ("image", "tensor(uint8)", [32, 32, 3])
    assert (probability.name, probability.type, probability.shape[1:]) == ("probability", "tensor(float)", [1, 32, 32])
    assert isinstance(image.shape[0], str) and image.shape[0] == probability.shape[0]  # a free batch has a name


def test_normalisation_and_batch_norm_are_folded(exported):
    kinds = [node.op_type for node in onnx.load(exported).graph.node]
    assert "BatchNormalization" not in kinds and "Mul" not in kinds and "Div" not in kinds
    assert kinds[:6] == ["Reshape", "Cast", "Sub", "Reshape", "Transpose", "Conv"]


def test_nothing_of_the_machine_that_exported_travels_in_the_file(exported):
    content = exported.read_bytes()
    assert __file__.encode() not in content and str(Path(__file__).parent).encode() not in content
    assert b"stack_trace" not in content


def test_a_scale_read_by_more_than_convolutions_is_left_alone(tmp_path, preprocessing, images):
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 1, 3, padding=1)

        def forward(self, image: Tensor) -> Tensor:
            return self.conv(image) + image.mean(1, keepdim=True)

    network = Two().eval()
    facts = export(network, preprocessing, tmp_path / "two.onnx")
    assert "Mul" in [node.op_type for node in onnx.load(facts.path).graph.node]


def test_the_network_is_not_changed(tmp_path, toy, preprocessing):
    before = {key: value.clone() for key, value in toy.state_dict().items()}
    toy.train()
    try:
        export(toy, preprocessing, tmp_path / "toy.onnx")
        assert toy.training
    finally:
        toy.eval()
    assert all(torch.equal(before[key], value) for key, value in toy.state_dict().items())


class _Wrong(nn.Module):
    """Answers differently while it is exported: what a silently wrong exporter looks like."""

    def forward(self, image: Tensor) -> Tensor:
        shift = 0.01 if torch.compiler.is_exporting() else 0.0
        return image.mean(1, keepdim=True) + shift


class _Frozen(nn.Module):
    """Holds the batch size it was traced with."""

    def forward(self, image: Tensor) -> Tensor:
        return image.mean(1, keepdim=True) + torch.zeros(2, 1, 1, 1)


class _NotANumber(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image.mean(1, keepdim=True) * float("nan")


@pytest.mark.parametrize(
    ("network", "message"),
    [(_Wrong(), "differ from torch"), (_Frozen(), "batch of 1"), (_NotANumber(), "differ from torch")],
)
def test_a_wrong_graph_is_refused_and_nothing_is_written(tmp_path, preprocessing, network, message):
    path = tmp_path / "wrong.onnx"
    path.write_bytes(b"the good one from before")
    with pytest.raises(CutisError, match=message):
        export(network, preprocessing, path)
    assert path.read_bytes() == b"the good one from before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["wrong.onnx"]


def test_two_exports_are_the_same_file(tmp_path, toy, preprocessing):
    first, second = (export(toy, preprocessing, tmp_path / name) for name in ("a.onnx", "b.onnx"))
    assert first.sha256 == second.sha256


def test_preprocessing_in_the_metadata_is_plain_json(exported):
    found = json.loads(open_session(exported).get_modelmeta().custom_metadata_map["cutis.preprocessing"])
    assert found["size"] == 32 and found["mean"] == [0.7, 0.55, 0.5]


def test_weights_in_half_are_half_the_file_and_nearly_the_same_answer(tmp_path, preprocessing, images):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 1, 1)
    )
    full = export(network, preprocessing, tmp_path / "full.onnx")
    half = export_onnx(
        network, preprocessing, tmp_path / "half.onnx", name="toy", version="1.2", threshold=0.45, weights="float16"
    )
    assert half.size < 0.6 * full.size
    assert 0 < half.difference < 0.005
    restored = onnx.load(half.path)
    graph.store_in_full(restored)
    onnx.checker.check_model(restored, full_check=True)
    found = probabilities(open_session(restored.SerializeToString()), images[:2])
    np.testing.assert_array_equal(found, probabilities(open_session(half.path), images[:2]))
