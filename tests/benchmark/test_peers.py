"""Peers: what they are, that they are made once, and the reasons where they cannot be had."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from cutis.benchmark import peer_files as module
from cutis.benchmark import peers
from cutis.benchmark.peer_files import make, peer_files
from cutis.benchmark.peers import ENCODERS, PEERS, SEGMENTERS, Peer, build_peer
from cutis.errors import CutisError

ROOT = Path(__file__).parents[2]


def test_the_issues_peers_are_there():
    assert {"unet-resnet34", "unetplusplus-resnet34", "deeplabv3plus-mobilenetv2", "fpn-mobilenetv2"} <= set(SEGMENTERS)
    assert {"lraspp-mobilenetv3", "segformer-b0"} <= set(SEGMENTERS)
    assert list(ENCODERS) == ["sam-vit-b", "sam2-tiny", "edgetam", "sam-vit-h"]
    assert {peer.side for peer in ENCODERS.values()} == {1024}


def test_ours_without_its_weights_is_the_bundled_network():
    config = yaml.safe_load((ROOT / "configs/sparsesegnet/bundled.yaml").read_text("utf-8"))
    assert config["network"] == {"name": PEERS["sparsesegnet"].network, "options": PEERS["sparsesegnet"].options}


@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_segmenter_gives_logits_at_its_pictures_size(name):
    torch = pytest.importorskip("torch")
    network = build_peer(name, device="meta")
    assert not network.training
    assert network(torch.zeros(2, 3, 64, 96, device="meta")).shape == (2, 1, 64, 96)


def test_weights_are_the_same_each_time_and_the_global_state_stays():
    torch = pytest.importorskip("torch")
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, two = (build_peer("lraspp-mobilenetv3").state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_package_that_is_not_there_says_what_to_install(monkeypatch):
    monkeypatch.setitem(PEERS_FOR_TEST := dict(PEERS), "ghost", Peer("Ghost", "no-such-package", "ghost", {}))
    monkeypatch.setattr(peers, "PEERS", PEERS_FOR_TEST)
    with pytest.raises(CutisError, match=r"the peer Ghost needs no-such-package: pip install 'cutis\[train\]'"):
        peer_files("ghost", 256, Path("nowhere"))


def test_half_a_folder_is_made_again_and_a_whole_one_is_not(tmp_path, monkeypatch):
    asked = []

    def run(words, **_):
        asked.append(words)
        folder = Path(words[-1])
        folder.mkdir(parents=True, exist_ok=True)
        products = {"parameters": 1, "weighted": 2, "attention": 3}
        facts = {"products": products, "files": {"fp32": "a.onnx"}, "reasons": {"int8": "no"}}
        (folder / "facts.json").write_text(json.dumps(facts))
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(peers.metadata, "version", lambda name: "1.2")
    monkeypatch.setattr(module.subprocess, "run", run)
    half = tmp_path / "peers" / "sam-vit-b-1024-transformers-1.2"
    half.mkdir(parents=True)
    for _ in range(2):
        found = peer_files("sam-vit-b", 256, tmp_path)  # an encoder has its own side
        assert found.files == {"fp32": half / "a.onnx"} and found.reasons == {"int8": "no"}
        assert found.products == (1, 2, 3)
    assert len(asked) == 1


def test_a_failure_is_one_line(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "Traceback ...\nValueError: too large\n")
    monkeypatch.setattr(peers.metadata, "version", lambda name: "1.2")
    monkeypatch.setattr(module.subprocess, "run", lambda *words, **_: failed)
    with pytest.raises(CutisError, match=r"the peer SegFormer-B0 could not be made: ValueError: too large$"):
        peer_files("segformer-b0", 256, tmp_path)


def test_what_is_too_large_for_a_file_is_counted_and_left_to_torch(tmp_path):
    pytest.importorskip("transformers")
    make("sam-vit-h", 1024, tmp_path)
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["files"] == {} and "2 GB" in facts["reasons"]["fp32"]
    assert facts["products"]["parameters"] == 637_026_048  # SAM, appendix A: 636 M for ViT-H
    assert facts["products"]["attention"] > 2e11


@pytest.mark.slow
def test_a_segmenter_is_exported_in_both_precisions(tmp_path):
    pytest.importorskip("torchvision")
    from cutis.analysis.runtime import load_model

    made = peer_files("lraspp-mobilenetv3", 64, tmp_path)
    assert made.reasons == {}
    for precision, file in made.files.items():
        assert load_model(file).info.precision == precision
    assert made.files["int8"].stat().st_size < 0.5 * made.files["fp32"].stat().st_size
