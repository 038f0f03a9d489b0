"""`cutis export --executorch` as it is called: programs beside the ONNX files, and what is said before any work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from cutis import cli
from cutis.analysis.runtime import load_model
from cutis.data.synthetic import write_folder
from cutis.errors import CutisError
from cutis.export import executorch
from cutis.recipes.config import load_config
from cutis.recipes.run import build_network

SMOKE = Path(__file__).parents[2] / "configs" / "sparsesegnet" / "smoke.yaml"


def call(*words: object) -> int:
    return cli.app([str(word) for word in words], result_action="return_value")


@pytest.mark.parametrize(("field", "network"), [("recipe: prompting", "promptable"), ("task: symmetry", "symmetry")])
def test_only_segmenters_become_programs(field, network, tmp_path):
    (tmp_path / "config.yaml").write_text(field, encoding="utf-8")
    with pytest.raises(CutisError, match=f"--executorch is for segmenters, and .* is a run of task {network}: leave"):
        call("export", tmp_path, "--output", tmp_path / "out", "--executorch")


def test_the_extra_is_named_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(executorch, "find_spec", lambda name: None)
    (tmp_path / "config.yaml").write_text("task: segmentation", encoding="utf-8")
    with pytest.raises(CutisError, match=r"--executorch needs executorch: pip install 'cutis\[executorch\]'"):
        call("export", tmp_path, "--output", tmp_path / "out", "--executorch")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)  # two lowerings, minutes each on a busy machine
def test_programs_that_the_analysis_opens(tmp_path, capsys):
    pytest.importorskip("executorch", exc_type=ImportError)
    run, data, output = tmp_path / "run", tmp_path / "data", tmp_path / "out"
    config = load_config(SMOKE, {})
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    (run / "run.json").write_text(json.dumps({}), encoding="utf-8")
    state = {f"networks.network.{name}": value for name, value in build_network(config).state_dict().items()}
    torch.save({"state_dict": state}, run / "checkpoints" / "best.ckpt")
    write_folder(data, count=30, seed=1, width=96, height=72)
    assert call("export", run, "--output", output, "--data", data, "--calibration", 4, "--executorch") == 0
    said = capsys.readouterr().out
    for row in ("torch = fp32.pte", "fp32.pte = int8.pte", "torch = int8.pte"):
        assert row in said, said
    for precision in ("fp32", "int8"):
        model = load_model(output / f"smoke-{precision}.pte", runtime="executorch")
        assert model.info.precision == precision and model.info.name == "smoke"
    photo = next(path for path in data.rglob("*") if path.suffix in (".jpg", ".png"))
    words = ("--model", output / "smoke-fp32.pte", "--runtime", "executorch", "--no-cascade")
    assert call("analyze", photo, "--output", tmp_path / "analysed", *words) == 0
    (line,) = (tmp_path / "analysed" / "results.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["model"]["name"] == "smoke"
