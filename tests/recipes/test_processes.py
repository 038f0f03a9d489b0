"""Two processes train as one does: the same batches, the same metrics, everything written once. By hand: -m slow."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from cutis.data.synthetic import write_folder  # noqa: E402

SMOKE = Path(__file__).parents[2] / "configs" / "sparsesegnet" / "smoke.yaml"
SCRIPT = """
import sys
from pathlib import Path
from torch import nn
from cutis.recipes.config import load_config
from cutis.recipes.run import train_supervised
from cutis.registry import models

@models.register("plain")
def plain():
    inner = nn.Conv2d(8, 8, 5, padding=2)
    return nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), inner, nn.ReLU(), nn.Conv2d(8, 1, 1))

network = {"network": "{name: plain, options: {}}", "epochs": "3", "accumulate": "2", "threshold": "0.2"}
train_supervised(
    load_config(Path(sys.argv[1]), network), Path(sys.argv[2]), Path(sys.argv[3]), cache=Path(sys.argv[4]),
    resume=False, devices=int(sys.argv[5]), accelerator="cpu",
)
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    write_folder(folder, 26, seed=5, width=160, height=120)  # 5 of them to validate
    return folder


def call(*words: object, code: int = 0) -> str:
    """Standard output; the processes may not wait for each other for ever."""
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == code, done.stderr[-3000:]
    return done.stdout + done.stderr


def rows(run: Path, name: str) -> list[float]:
    with (run / "logs" / "start_0" / "metrics.csv").open(encoding="utf-8") as table:
        return [float(row[name]) for row in csv.DictReader(table) if row[name]]


def weights(run: Path) -> dict:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_processes_end_where_one_does(drawn, tmp_path):
    """A network without batch statistics, which on CPUs are each process's own; an odd number of validation images."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    one, two = tmp_path / "one", tmp_path / "two"
    call(script, SMOKE, drawn, one, tmp_path / "cache", 1)
    said = call(script, SMOKE, drawn, two, tmp_path / "cache", 2)
    assert "Starting with 2 processes" in said
    for name in ("validation/dice_loss", "train/network_loss"):
        assert rows(two, name) == pytest.approx(rows(one, name), abs=1e-5), name
    assert rows(two, "validation/dice") == pytest.approx(rows(one, "validation/dice"), abs=1e-3)  # pixels cut in two
    assert len(rows(two, "validation/dice")) == 3 and max(rows(two, "validation/dice")) > 0.1
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(two)[name], value, rtol=0, atol=1e-5, msg=name)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_command_line_on_two_processes(drawn, tmp_path):
    run = tmp_path / "run"
    words = [
        "-m",
        "cutis.cli",
        "train",
        "supervised",
        "--config",
        SMOKE,
        "--data",
        drawn,
        "--cache",
        tmp_path / "cache",
    ]
    words += ["--output", run, "--devices", "2", "--accelerator", "cpu"]
    said = call(*words, "--epochs", "2")
    assert said.count("done: ") == 1
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert [p.name for p in (run / "logs").iterdir()] == ["start_0"]
    assert len(list((run / "logs" / "start_0").glob("events.*"))) == 1
    assert "holds a run already" in call(*words, code=2)
    call(*words, "--epochs", "3", "--resume")
    assert sorted(p.name for p in (run / "logs").iterdir()) == ["start_0", "start_1"]
    words[words.index("2")] = "3"
    words[words.index(run)] = tmp_path / "three"
    assert "batch_size 8 is over all 3 processes together" in call(*words, code=2)
