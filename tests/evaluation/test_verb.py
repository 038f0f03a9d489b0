"""`cutis evaluate` as a user calls it: drawn lesions, anyone's masks, an exported model; good calls and wrong ones."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from cutis import cli
from cutis.data.folder import read_folder
from cutis.data.synthetic import write_folder
from cutis.evaluation import verb
from cutis.imaging.read import read_mask, write_mask

SIZE = 64
BUNDLED = Path(__file__).parents[2] / "configs" / "sparsesegnet" / "bundled.yaml"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Six drawn lesions (160x120) in the `folder` layout, and two sets of masks: the truth, and the truth grown."""
    root = tmp_path_factory.mktemp("drawn")
    write_folder(root / "data", 6, seed=1, width=160, height=120)
    for path in (root / "data" / "masks").glob("*.png"):
        truth = read_mask(path)
        write_mask(root / "exact" / path.name, truth)
        grown = cv2.dilate(truth.view(np.uint8), np.ones((3, 3 + 2 * int(path.stem[-1])), np.uint8))
        write_mask(root / "grown" / path.name, grown.astype(bool))
    return root


def call(monkeypatch, capsys, *arguments):
    """Exit code, stdout, stderr of `cutis evaluate` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["cutis", "evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    out, err = capsys.readouterr()
    return stopped.value.code, out, err


def test_masks_of_anyone(drawn, tmp_path, monkeypatch, capsys):
    output = tmp_path / "new" / "out"
    code, out, _ = call(
        monkeypatch, capsys, "--predictions", drawn / "grown", "--data", drawn / "data", "--output", output
    )
    assert code == 0
    assert "| Dice " in out
    assert "6 (6)" in out
    assert "160x120" in out
    assert sorted(path.name for path in output.iterdir()) == [
        "rows.csv", "summary.json", "summary.md", "worst-folder.png",
    ]  # fmt: skip
    with (output / "rows.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    samples = {sample.id: sample for sample in read_folder(drawn / "data")}
    assert {row["id"] for row in rows} == set(samples)
    summary = json.loads((output / "summary.json").read_text("utf-8"))
    (folder,) = summary["datasets"]
    dice = []
    for row in rows:
        truth = read_mask(samples[row["id"]].mask)
        pred = read_mask(drawn / "grown" / f"{samples[row['id']].image.stem}.png")
        dice.append(2 * (truth & pred).sum() / (truth.sum() + pred.sum()))
        assert float(row["dice"]) == pytest.approx(dice[-1])
    assert folder["measures"]["dice"]["mean"] == pytest.approx(np.mean(dice))
    assert folder["measures"]["sensitivity"]["mean"] == 1
    assert out.split("| Dice ")[1].startswith(" ")
    assert f"{np.mean(dice):.4f} [" in out
    assert out.strip() in (output / "summary.md").read_text("utf-8")
    sheet = cv2.imread(str(output / "worst-folder.png"))
    assert sheet.shape == (2 * 278, 4 * 256, 3)


def test_against_another_evaluation(drawn, tmp_path, monkeypatch, capsys):
    data = ("--data", drawn / "data")
    call(monkeypatch, capsys, "--predictions", drawn / "exact", *data, "--output", tmp_path / "exact")
    rows = tmp_path / "exact" / "rows.csv"
    code, out, _ = call(
        monkeypatch, capsys, "--predictions", drawn / "grown", *data, "--against", rows, "--output", tmp_path / "grown"
    )
    assert code == 0
    (found,) = json.loads((tmp_path / "grown" / "summary.json").read_text("utf-8"))["comparisons"]
    assert found["measures"]["dice"]["n"] == 6
    assert found["measures"]["dice"]["difference"]["high"] < 0
    assert found["measures"]["hd95_256"]["difference"]["low"] > 0
    assert found["measures"]["dice"]["wilcoxon_p"] == 2 / 2**6  # the least that six images can give
    assert "p, Wilcoxon" in out


def test_missing_masks_are_named_and_the_code_is_1(drawn, tmp_path, monkeypatch, capsys):
    for path in sorted((drawn / "exact").glob("*.png"))[:4]:
        write_mask(tmp_path / "some" / path.name, read_mask(path))
    code, out, _ = call(monkeypatch, capsys, "--predictions", tmp_path / "some", "--data", drawn / "data")
    assert code == 1
    assert "4 (4)" in out
    assert "Not measured, and in no mean: 2" in out
    assert "lesion_004: there is no predicted mask" in out
    assert "lesion_005" in out


def test_nothing_measured(drawn, tmp_path, monkeypatch, capsys):
    write_mask(tmp_path / "other.png", np.ones((3, 3), bool))
    arguments = ("--predictions", tmp_path, "--data", drawn / "data", "--output", tmp_path / "out")
    code, out, err = call(monkeypatch, capsys, *arguments)
    assert code == 1
    assert "in no mean: 6" in out
    assert "Traceback" not in err
    assert len(json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))["failures"]) == 6


def test_a_limit(drawn, monkeypatch, capsys):
    code, out, _ = call(monkeypatch, capsys, "--predictions", drawn / "exact", "--data", drawn / "data", "--limit", 2)
    assert code == 0
    assert "2 (2)" in out
    assert "at most 2 images" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--split", "tset"], "no split 'tset'"),
        (["--split", "train"], "no image of folder is in the split 'train'"),
        (["--dataset", "ph2"], "no data set 'ph2'"),
        (["--limit", "0"], "at least 1"),
        (["--against", "none.csv"], "none.csv cannot be read"),
        (["--output", "{drawn}/data/labels.csv/x"], "cannot be made"),
    ],
)
def test_wrong_calls_are_one_line(drawn, monkeypatch, capsys, arguments, said):
    arguments = [argument.format(drawn=drawn) for argument in arguments]
    code, out, err = call(monkeypatch, capsys, "--predictions", drawn / "exact", "--data", drawn / "data", *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("cutis: ")
    assert said in err
    assert err.count("\n") == 1


def test_a_model_and_masks_are_too_much(drawn, monkeypatch, capsys):
    arguments = ("segmenter-int8", "--predictions", drawn / "exact", "--data", drawn / "data")
    code, _, err = call(monkeypatch, capsys, *arguments)
    assert (code, err) == (2, "cutis: a model and --predictions are given: evaluate one of them\n")


def dark_model(path):
    """An ONNX model of the cutis contract: the darker its red, the likelier a pixel is lesion."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def constant(name, value):
        return numpy_helper.from_array(np.asarray(value), name)

    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Slice", ["planes", "start", "stop", "axis"], ["red"]),
        helper.make_node("Sub", ["level", "red"], ["darker"]),
        helper.make_node("Mul", ["darker", "slope"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    constants = [
        constant("start", np.array([0])), constant("stop", np.array([1])), constant("axis", np.array([1])),
        constant("level", np.float32(170)), constant("slope", np.float32(0.1)),
    ]  # fmt: skip
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIZE, SIZE, 3])
    out = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n", 1, SIZE, SIZE])
    graph = helper.make_graph(nodes, "dark", [image], [out], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    steps = {"size": SIZE, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
    facts = {"format": "1", "task": "segmentation", "name": "dark", "version": "3", "precision": "fp32"}
    for name, value in (facts | {"threshold": "0.5", "preprocessing": json.dumps(steps)}).items():
        model.metadata_props.add(key=f"cutis.{name}", value=value)
    onnx.save(model, path)
    return path


def test_an_exported_model_goes_through_the_pipeline(drawn, tmp_path, monkeypatch, capsys):
    from cutis.analysis.pipeline import predict_mask
    from cutis.analysis.runtime import load_model

    path = dark_model(tmp_path / "dark.onnx")
    model = load_model(path)
    for image in (drawn / "data" / "images").iterdir():
        write_mask(tmp_path / "masks" / f"{image.stem}.png", predict_mask(image, model))
    data = ("--data", drawn / "data")
    code, out, _ = call(monkeypatch, capsys, path, *data, "--output", tmp_path / "model")
    assert code == 0
    assert "dark 3, fp32, SHA-256 " in out
    call(monkeypatch, capsys, "--predictions", tmp_path / "masks", *data, "--output", tmp_path / "folder")
    rows = [(tmp_path / name / "rows.csv").read_text() for name in ("model", "folder")]
    assert rows[0] == rows[1]
    summary = json.loads((tmp_path / "model" / "summary.json").read_text("utf-8"))
    assert summary["datasets"][0]["measures"]["dice"]["mean"] > 0.5  # dark is where the drawn lesions are


@pytest.fixture
def run_folder(tmp_path):
    """A run as the training leaves it, of a small network that was never trained."""
    import torch
    import yaml

    from cutis.recipes.config import load_config
    from cutis.recipes.run import build_network

    changes = {
        "network.options": "{widths: [8, 8, 8, 8], depths: [1, 1, 1, 1]}",
        "datasets": "{ph2: 1}",
        "name": "tiny",
    }
    changes |= {"split.fractions": "{train: 0.5, test: 0.5}", "split.seed": "3", "threshold": "0.4"}
    config = load_config(BUNDLED, changes)
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    (folder / "run.json").write_text("{}")
    state = {f"networks.network.{name}": value for name, value in build_network(config).state_dict().items()}
    torch.save({"state_dict": state}, folder / "checkpoints" / "best.ckpt")
    return folder


def test_a_run_has_its_own_split_and_goes_through_the_pipeline(run_folder, drawn, monkeypatch, capsys):
    asked = []

    def predict_mask(image, model):
        asked.append((image, model.threshold, model.preprocessing.size))
        probability = model.probability(np.zeros((256, 256, 3), np.uint8))
        assert probability.shape == (1, 256, 256)
        assert 0 < probability.min() <= probability.max() < 1
        return np.zeros((120, 160), bool)

    subject = verb.of_run(run_folder, predict_mask)
    assert subject.rule == verb.SplitRule(("ph2",), {"train": 0.5, "test": 0.5}, 3)
    assert subject.name == f"tiny, run {run_folder}"
    sample = read_folder(drawn / "data")[0]
    assert subject.predict(sample).shape == (120, 160)
    assert asked == [(sample.image, 0.4, 256)]
    code, out, _ = call(monkeypatch, capsys, run_folder, "--data", drawn / "data", "--limit", 2)
    assert code == 0
    assert "test 0.5 by lesion with seed 3 over ph2" in out


def test_a_folder_that_is_no_run(drawn, monkeypatch, capsys):
    code, _, err = call(monkeypatch, capsys, drawn, "--data", drawn / "data")
    assert code == 2
    assert "is not a run folder" in err


def test_masks_are_evaluated_without_torch_and_without_a_model(drawn):
    code = (
        "import sys; from cutis.cli import main\n"
        "try: main()\n"
        "except SystemExit as stopped: assert stopped.code == 0, stopped.code\n"
        "heavy = {'torch', 'lightning', 'pandas', 'scipy', 'sklearn', 'skimage', 'onnxruntime'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    arguments = ["evaluate", "--predictions", str(drawn / "exact"), "--data", str(drawn / "data")]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, timeout=60)
