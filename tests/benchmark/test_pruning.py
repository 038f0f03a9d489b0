"""`cutis prune`: its table, and the verb on drawn lesions, whose result is evaluated and exported like any run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("torch_pruning")

from cutis import cli  # noqa: E402
from cutis.benchmark.pruning import table_of  # noqa: E402
from cutis.data.synthetic import write_folder  # noqa: E402
from cutis.recipes.config import SupervisedConfig, load_config  # noqa: E402
from cutis.recipes.folder import begin  # noqa: E402
from cutis.recipes.pruning import Accuracy, Latency, Pruned  # noqa: E402
from cutis.recipes.run import build_network, load_run  # noqa: E402

CONFIGS = Path(__file__).parents[2] / "configs" / "sparsesegnet"


def test_the_table_shows_every_step_in_shares_of_the_unpruned_network():
    width = {"encoder.stage2.entry": (96, 80)}
    rows = [
        Pruned("unpruned", 2_000_000, 900_000_000, Latency(4.0, 1.0), None, Accuracy(0.91, 6.0), {}, True),
        Pruned(
            "fisher", 1_500_000, 720_000_000, Latency(3.0, 0.76), Accuracy(0.7, 20.0), Accuracy(0.9, 7.0), width, False
        ),
    ]
    first, _, unpruned, fisher = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table_of(rows).splitlines()
    ]
    assert dict(zip(first, unpruned, strict=True))["parameters"] == "2.000 M"
    assert dict(zip(first, fisher, strict=True)) == {
        "step": "fisher", "channels": "96→80", "parameters": "1.500 M (-25.0%)", "MACs": "0.720 G (-20.0%)",
        "INT8 ms": "3.00", "of unpruned": "0.760", "Dice cut": "0.7000", "HD95 cut": "20.00", "Dice tuned": "0.9000",
        "HD95 tuned": "7.00", "kept": "NO, taken back",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_verb_makes_a_run_that_is_evaluated_and_exported(tmp_path, capsys):
    data = tmp_path / "drawn"
    write_folder(data, 20, seed=5, width=96, height=72)
    config = load_config(CONFIGS / "smoke.yaml", {}, SupervisedConfig)
    options = {"widths": [16, 32, 32, 32], "depths": [1, 1, 1, 1]}
    config = config.model_copy(update={"network": config.network.model_copy(update={"options": options})})
    run = tmp_path / "run"
    begin(run, config, {"data": {}})
    state = {f"networks.network.{name}": value for name, value in build_network(config).state_dict().items()}
    (run / "checkpoints").mkdir()
    torch.save({"state_dict": state}, run / "checkpoints" / "best.ckpt")
    fields = {
        "images": 6, "calibration": 4, "rounds": 2, "multiple": 8, "hd95_allowance": 1000, "fine_tune.epochs": 1,
        "fine_tune.epoch_images": 16, "fine_tune.phases": "[{start: 0, size: 64}]",
    }  # fmt: skip
    words = ["prune", run, "--config", CONFIGS / "prune.yaml", "--data", data, "--output", tmp_path / "pruned"]
    words += ["--cache", tmp_path / "cache", "--accelerator", "cpu"]
    words += [word for name, value in fields.items() for word in (f"--{name}", value)]
    assert cli.app([str(word) for word in words], result_action="return_value") == 0
    assert "| dice_sensitivity" in capsys.readouterr().out
    made = json.loads((tmp_path / "pruned" / "pruning.json").read_text(encoding="utf-8"))
    assert [row["step"] for row in made["rows"]] == ["unpruned", "fisher", "dice_sensitivity", "semantic"]
    assert made["rows"][-1]["parameters"] < made["rows"][0]["parameters"]
    pruned = load_run(tmp_path / "pruned")
    assert pruned.network.encoder.stage2.entry[0].out_channels == 24
    for verb in (
        ["evaluate", tmp_path / "pruned", "--data", data, "--split", "validation"],
        ["export", tmp_path / "pruned", "--output", tmp_path / "onnx", "--data", data, "--calibration", 4],
    ):
        assert cli.app([str(word) for word in verb], result_action="return_value") == 0
    assert len(list((tmp_path / "onnx").glob("*-int8.onnx"))) == 1
