"""`cutis export` as it is called: two files that the analysis can open, a parity table, one-line refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from cutis import cli
from cutis.analysis.runtime import load_model
from cutis.data.samples import Sample, choose
from cutis.data.synthetic import write_folder
from cutis.errors import CutisError
from cutis.recipes.config import load_config
from cutis.recipes.run import build_network

SMOKE = Path(__file__).parents[2] / "configs" / "sparsesegnet" / "smoke.yaml"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    """A run as `cutis train` leaves one, with the weights it began with."""
    folder = tmp_path_factory.mktemp("runs") / "smoke"
    config = load_config(SMOKE, {})
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    (folder / "run.json").write_text(json.dumps({}), encoding="utf-8")
    state = {f"networks.network.{name}": value for name, value in build_network(config).state_dict().items()}
    torch.save({"state_dict": state}, folder / "checkpoints" / "best.ckpt")
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    write_folder(folder, count=30, seed=1, width=96, height=72)
    return folder


def call(*words: object) -> int:
    return cli.app([str(word) for word in words], result_action="return_value")


def test_fp32_and_int8_that_the_analysis_opens(run_folder, drawn, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("cutis.export.verb._LOSS", 1.0)
    assert call("export", run_folder, "--output", tmp_path, "--data", drawn, "--calibration", 8, "--half") == 0
    said = capsys.readouterr().out
    for row in ("torch = fp32", "fp32 = int8", "torch = int8", "opset 17", "calibrated on 8 images", "(written)"):
        assert row in said, said
    assert "validation images: fp32" in said and "fine-tune" not in said, said
    for precision in ("fp32", "int8"):
        model = load_model(tmp_path / f"smoke-{precision}.onnx")
        assert model.info.precision == precision and model.info.name == "smoke"
        assert model.preprocessing == load_config(SMOKE, {}).preprocessing


def test_what_int8_costs_in_dice_is_said_and_too_much_names_the_command(
    run_folder, drawn, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("cutis.export.verb._LOSS", -1.0)
    assert call("export", run_folder, "--output", tmp_path, "--data", drawn, "--calibration", 8) == 0
    (said,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Dice on these")]
    found = re.match(r"Dice on these 6 validation images: fp32 (0\.\d{4}), INT8 (0\.\d{4}) \(([+-]0\.\d{4})\)", said)
    assert found and float(found[3]) == pytest.approx(float(found[2]) - float(found[1]), abs=1.1e-4)
    fp32 = evaluated(load_model(tmp_path / "smoke-fp32.onnx"), drawn)
    assert float(found[1]) == pytest.approx(fp32, abs=1e-4)
    assert "more than -1.0 is lost; fine-tune with: cutis train quantization" in said
    words = said.partition("fine-tune with: cutis ")[2].split()
    assert str(run_folder) in words and words[words.index("--quantization.ranges") + 1] in ("extreme", "mean")
    cli.app.parse_args(words, exit_on_error=False, print_error=False)


def evaluated(model, drawn):
    """Mean Dice of the validation part in the network's squares, by training's loader and the analysis' network."""
    from cutis.data.cache import open_cache
    from cutis.metrics.overlap import count, dice
    from cutis.recipes.run import parts_of

    config = load_config(SMOKE, {})
    cache = open_cache(parts_of(config, drawn)["validation"], config.preprocessing.size, drawn.with_name("cache"))
    found = np.stack([model.probability(image) for image in np.asarray(cache.images)])
    return dice(count(found.reshape(cache.masks.shape) >= config.threshold, cache.masks > 0)).mean()


def test_without_data_there_is_fp32_alone(run_folder, tmp_path, capsys):
    assert call("export", run_folder, "--output", tmp_path, "--name", "mine", "--model-version", "7") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine-fp32.onnx"]
    assert load_model(tmp_path / "mine-fp32.onnx").info.version == "7"
    assert "torch = fp32" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{run}", "--data", "{empty}"], "holds no images of folder"),
        (["{empty}"], "not a run folder"),
        (["{run}", "--data", "{drawn}", "--calibration", "0"], "calibration is 0"),
    ],
)
def test_a_wrong_call_is_one_line_before_any_work(run_folder, drawn, tmp_path, words, message):
    empty = tmp_path / "empty"
    empty.mkdir()
    filled = [word.format(run=run_folder, drawn=drawn, empty=empty) for word in words]
    with pytest.raises(CutisError, match=message):
        call("export", *filled, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_choice_is_seeded_and_equal_over_data_sets():
    samples = [Sample(str(n), Path("x"), dataset="large" if n % 5 else "small") for n in range(100)]
    first = choose(samples, 30, seed=1)
    assert first == choose(list(reversed(samples)), 30, seed=1) != choose(samples, 30, seed=2)
    assert sum(sample.dataset == "small" for sample in first) == 15
    assert len({sample.id for sample in choose(samples, 1000, seed=1)}) == 100
