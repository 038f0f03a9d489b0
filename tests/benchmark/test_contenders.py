"""What is timed: a peer that does not export runs in PyTorch and says why; one that fails alone is named."""

from __future__ import annotations

import pytest

from cutis.benchmark import contenders as module
from cutis.benchmark.alone import measure_alone
from cutis.benchmark.contenders import Contender, contenders_of, open_program
from cutis.benchmark.peer_files import PeerFiles
from cutis.benchmark.products import Products
from cutis.errors import CutisError

COST = Products(1, 2, 3)


def test_a_peer_without_a_file_is_left_to_torch_with_the_reason(tmp_path, monkeypatch):
    made = PeerFiles(tmp_path, COST, {}, {"fp32": "too large", "int8": "too large"})
    monkeypatch.setattr(module, "peer_files", lambda name, size, cache: made)
    (only,) = contenders_of(["sam-vit-h"], size=256, cache=tmp_path)
    assert (only.title, only.kind, only.what, only.side) == (
        "SAM ViT-H, encoder fp32, torch",
        "torch",
        "sam-vit-h",
        1024,
    )
    assert only.facts["not exported"] == "too large" and only.facts["runs in"] == "torch" and only.file is None


def test_a_network_runs_in_torch_on_as_many_threads_as_asked():
    torch = pytest.importorskip("torch")
    pytest.importorskip("torchvision")
    before = torch.get_num_threads()
    try:
        program = open_program("torch", "lraspp-mobilenetv3", 64, threads=2, runtime="onnxruntime")
        torch.set_num_threads(1)
        logits = program()
        assert torch.get_num_threads() == 2
        assert logits.shape == (1, 1, 64, 64) and not logits.requires_grad
    finally:
        torch.set_num_threads(before)


def test_what_fails_alone_is_named_in_one_line(tmp_path):
    broken = Contender("broken int8", "model", str(tmp_path / "no.onnx"), 64, COST, {})
    with pytest.raises(CutisError, match=r"^broken int8 cannot be measured in a process of its own: .*no\.onnx"):
        measure_alone(broken, threads=1, runtime="onnxruntime")
