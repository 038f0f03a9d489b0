"""The benchmark verbs from end to end on toys: they measure and write; no time is asserted."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cutis import cli
from cutis.benchmark import peaks, peers, scaling
from cutis.benchmark import reference as yardstick
from cutis.benchmark.cascade import WHOLE
from cutis.benchmark.peers import ENCODERS, PEERS
from cutis.benchmark.pipeline import drawn_jpeg
from cutis.data.synthetic import write_folder
from cutis.errors import CutisError
from cutis.imaging.preprocessing import Preprocessing
from cutis.imaging.read import read_image

SIDE = 32
SMOKE = Path(__file__).parents[2] / "configs" / "sparsesegnet" / "smoke.yaml"


def write_model(path: Path, precision: str, threshold: str = "0.5") -> Path:
    """A model of the contract that calls dark pixels lesion."""
    shape = numpy_helper.from_array(np.array([-1, 1, SIDE, SIDE]), "shape")
    constants = [shape] + [numpy_helper.from_array(np.float32(v), n) for n, v in (("half", 128), ("slope", -0.05))]
    axes = numpy_helper.from_array(np.array([3]), "axes")
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["float", "axes"], ["sum"], keepdims=0),
        helper.make_node("Div", ["sum", "three"], ["mean"]),
        helper.make_node("Sub", ["mean", "half"], ["centred"]),
        helper.make_node("Mul", ["centred", "slope"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "shape"], ["planes"]),
        helper.make_node("Sigmoid", ["planes"], ["probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])],
        [*constants, axes, numpy_helper.from_array(np.float32(3), "three")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    preprocessing = Preprocessing(size=SIDE, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    facts = {
        "format": "1", "task": "segmentation", "name": "toy", "version": "1", "precision": precision,
        "preprocessing": preprocessing.model_dump_json(), "threshold": threshold,
    }  # fmt: skip
    helper.set_model_props(model, {f"cutis.{key}": value for key, value in facts.items()})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def write_peer(cache: Path, name: str, side: int, **reasons: str) -> Path:
    """A peer that was exported already: the toy, in the precisions that have no reason against them."""
    peer = PEERS[name]
    folder = cache / "peers" / f"{name}-{side}-{peer.package}-0"
    folder.mkdir(parents=True)
    files = {precision: f"{precision}.onnx" for precision in ("fp32", "int8") if precision not in reasons}
    for precision, file in files.items():
        if name in ENCODERS:
            write_encoder(folder / file)
        else:
            write_model(folder / file, precision)
    products = {"parameters": 5, "weighted": 7, "attention": 0}
    (folder / "facts.json").write_text(json.dumps({"products": products, "files": files, "reasons": reasons}))
    return folder


def write_encoder(path: Path) -> None:
    """Something that takes what an encoder of 1024 pixels takes."""
    node = helper.make_node("GlobalMaxPool", ["image"], ["embedding"])
    values = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 1024, 1024]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 3, 1, 1]),
    ]
    graph = helper.make_graph([node], "encoder", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A yardstick that is there already (and small), so that none is exported."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(peers.metadata, "version", lambda name: "0")
    write_peer(folder, yardstick.YARDSTICK, yardstick.SIDE)
    return folder


def call(*words: object, busy: bool = True) -> int:
    """The verb, told that other work may be running: tests run beside it."""
    return cli.app([*map(str, words), *(["--busy"] if busy else [])], result_action="return_value")


def test_network(tmp_path, cache):
    models = [write_model(tmp_path / f"{p}.onnx", p) for p in ("int8", "fp32")]
    assert call("benchmark", "network", *models, "--rounds", 2, "--cache", cache, "--output", tmp_path / "out") == 0
    written = json.loads((tmp_path / "out" / "network.json").read_text())
    assert [row["name"] for row in written["rows"]] == ["U", "toy 1 int8", "toy 1 fp32"]
    assert [row["met"] is None for row in written["rows"]] == [True, False, True]  # the target is INT8's
    assert all(row["values"]["ms"] > 0 for row in written["rows"])
    assert written["facts"]["toy 1 int8"]["sha256"]


def test_two_models_of_one_name_are_both_timed(tmp_path, cache):
    models = [write_model(tmp_path / f"{threshold}.onnx", "fp32", threshold) for threshold in ("0.4", "0.5")]
    assert call("benchmark", "network", *models, "--rounds", 1, "--cache", cache, "--output", tmp_path / "out") == 0
    written = json.loads((tmp_path / "out" / "network.json").read_text())
    assert len({row["name"] for row in written["rows"]}) == 3 and len(written["facts"]) == 2


def test_pipeline(tmp_path, cache):
    model = write_model(tmp_path / "toy.onnx", "int8")
    assert call("benchmark", "pipeline", model, "--rounds", 1, "--cache", cache, "--output", tmp_path / "out") == 0
    written = json.loads((tmp_path / "out" / "pipeline.json").read_text())
    assert len(written["rows"]) == 3
    steps = written["facts"]["steps_ms"]["the same, hair removed"]
    assert {"read", "hair", "network"} <= set(steps)


def test_cascade(tmp_path, cache):
    place = Path(__file__).parents[1] / "analysis" / "toy.py"
    spec = importlib.util.spec_from_file_location("analysis_toy_for_benchmarks", place)
    toy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(toy)
    precision = {"precision": "int8"}
    files = toy.write_symmetry(tmp_path / "s.onnx", **precision), toy.write_lesion(tmp_path / "l.onnx", **precision)
    words = ["--symmetry-model", files[0], "--class-model", files[1], "--rounds", 1, "--cache", cache]
    assert call("benchmark", "cascade", *words, "--output", tmp_path / "out") == 0
    written = json.loads((tmp_path / "out" / "cascade.json").read_text())
    rows = {row["name"]: row for row in written["rows"]}
    whole = rows[WHOLE]
    assert list(rows)[:2] == ["U", WHOLE] and len(rows) == 4
    assert whole["target"] == ["ratio to U", "<=", 0.6] and all(row["values"]["ms"] > 0 for row in written["rows"])
    assert written["facts"]["lesion"]["sha256"] != written["facts"]["symmetry"]["sha256"]


def test_memory(tmp_path):
    model = write_model(tmp_path / "toy.onnx", "int8")
    assert call("benchmark", "memory", model, "--images", 3, "--output", tmp_path / "out") == 0
    written = json.loads((tmp_path / "out" / "memory.json").read_text())
    assert written["rows"][0]["values"]["workers"] == 1
    assert all(20 < row["values"]["peak MB"] < 2000 for row in written["rows"])
    with pytest.raises(CutisError, match="images is 0"):
        call("benchmark", "memory", model, "--images", 0, "--output", tmp_path / "out")


def test_data(tmp_path):
    write_folder(tmp_path / "drawn", count=60, seed=1, width=96, height=72)
    words = ["benchmark", "data", "--config", SMOKE, "--data", tmp_path / "drawn", "--cache", tmp_path / "cache"]
    assert call(*words, "--batches", 2, "--output", tmp_path / "out") == 0
    written = json.loads((tmp_path / "out" / "data.json").read_text())
    assert [row["name"] for row in written["rows"]] == ["48x48", "64x64"]
    assert all(value > 0 for row in written["rows"] for value in row["values"].values())
    with pytest.raises(CutisError, match="batches"):
        call(*words, "--batches", 2000, "--output", tmp_path / "out")


def test_yardstick_is_not_made_twice(cache):
    assert yardstick.reference_file(cache).is_relative_to(cache)
    assert yardstick.reference(cache)() is not None


def test_peers(tmp_path, cache):
    ours = [write_model(tmp_path / f"{precision}.onnx", precision) for precision in ("int8", "fp32")]
    write_peer(cache, "lraspp-mobilenetv3", 256)
    write_peer(cache, "segformer-b0", 256, int8="it cannot")
    write_peer(cache, "sam-vit-b", 1024, int8="nor this")
    digits = hashlib.sha256(ours[0].read_bytes()).hexdigest()[:12]
    dice = {"mean": 0.9, "low": 0.88, "high": 0.92}
    better = {"dataset": "drawn", "measures": {"dice": {"difference": {"mean": 0.01, "low": -0.01, "high": 0.02}}}}
    report = {"origin": {"model": f"toy 1, int8, SHA-256 {digits}", "compared with": "unet/rows.csv"}}
    report |= {"datasets": [{"dataset": "drawn", "images": 3, "measures": {"dice": dice}}], "comparisons": [better]}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "accuracy-toy.json").write_text(json.dumps(report))
    names = [*ours, "lraspp-mobilenetv3", "segformer-b0", "sam-vit-b"]
    words = ["--rounds", 1, "--cache", cache, "--dataset", "drawn", "--output", tmp_path / "out"]
    assert call("benchmark", "peers", *names, *words) == 0
    written = json.loads((tmp_path / "out" / "peers.json").read_text())
    rows = {row["name"]: row["values"] for row in written["rows"]}
    lraspp, sam = "LRASPP (MobileNetV3 large)", "SAM ViT-B, encoder"
    assert list(rows) == [
        "toy 1 int8", "toy 1 fp32", f"{lraspp} fp32", f"{lraspp} int8", "SegFormer-B0 fp32", f"{sam} fp32"
    ]  # fmt: skip
    for values in rows.values():
        assert {"ms", "ratio to U", "load ms", "first ms", "peak MB", "file MB", "M parameters", "GMAC"} <= set(values)
        assert all(value >= 0 for value in values.values())
    assert rows["toy 1 int8"]["Dice"] == 0.9 and "Dice" not in rows["toy 1 fp32"]
    assert written["facts"]["SegFormer-B0 fp32"]["not in INT8"] == "it cannot"
    assert written["facts"][f"{sam} fp32"]["size"] == 1024
    targets = json.loads((tmp_path / "out" / "peer-targets.json").read_text())["rows"]
    named = {row["name"]: row["target"] for row in targets}
    assert named[f"{lraspp} fp32 beside toy 1 int8"] == ["times as long", ">=", 2.0]
    assert named[f"{sam} fp32 beside toy 1 int8"] == ["times as long", ">=", 1000.0]
    assert named["toy 1 fp32 beside toy 1 int8"] == ["times as long", ">=", 2.5]
    assert named["toy 1 int8, minus unet/rows.csv"] == ["Dice difference high", ">=", 0.0]
    assert call("benchmark", "plots", "--results", tmp_path / "out", "--images", tmp_path / "svg", busy=False) == 0
    assert "toy 1 int8" in (tmp_path / "svg" / "accuracy-latency.svg").read_text()


def test_latency(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(scaling, "SIDE", 32)
    write_peer(cache, "lraspp-mobilenetv3", 32, int8="not asked")
    write_peer(cache, "unet-resnet34", 32)
    words = [
        "--size",
        32,
        "--threads",
        1,
        "--threads",
        2,
        "--rounds",
        2,
        "--cache",
        cache,
        "--output",
        tmp_path / "out",
    ]
    assert call("benchmark", "latency", "lraspp-mobilenetv3", "unet-resnet34", *words) == 0
    written = json.loads((tmp_path / "out" / "latency.json").read_text())
    assert len(written["rows"]) == 6
    assert {row["values"]["threads"] for row in written["rows"]} == {1, 2}
    assert written["rows"][0]["name"] == "LRASPP (MobileNetV3 large) fp32, 32 px, 1 thread"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["latency", "sam-vit-b"], "'sam-vit-b' does not take any side"),
        (["latency", "--size", 100], "--size is 100: give multiples of 32"),
        (["latency", "--threads", 0], "--threads is 0"),
        (["peers", "no-such-peer"], "no model or peer 'no-such-peer': .* segmenter-int8, sparsesegnet, unet-resnet34"),
        (["roofline", "no-such-model"], "no model or peer 'no-such-model'"),
        (["network", "--rounds", 0], "--rounds is 0: give 1 or more"),
    ],
)
def test_what_cannot_be_timed_is_said_in_one_line(tmp_path, cache, words, said):
    with pytest.raises(CutisError, match=said):
        call("benchmark", *words, "--cache", cache, "--output", tmp_path / "out")


def test_roofline(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(peaks, "SIDES", (32,))
    model = write_model(tmp_path / "toy.onnx", "int8")
    assert call("benchmark", "roofline", model, "--rounds", 1, "--cache", cache, "--output", tmp_path / "out") == 0
    written = json.loads((tmp_path / "out" / "roofline.json").read_text())
    whole, *parts = written["rows"]
    assert whole["name"] == "toy 1 int8" and whole["target"] == ["times roofline", "<=", 1.6]
    assert whole["values"]["ms"] > 0 and whole["values"]["roofline ms"] > 0
    assert sum(row["values"]["nodes"] for row in parts) == whole["values"]["nodes"] >= 5
    assert all(value > 0 for value in written["facts"]["peaks"].values())


def test_drawn_picture_is_the_same_each_time_and_what_it_says():
    picture = drawn_jpeg(160, 120, 90, hairs=3)
    assert picture == drawn_jpeg(160, 120, 90, hairs=3)
    found = read_image(picture)
    assert (found.width, found.height, found.format) == (160, 120, "JPEG")
