"""Drawn lesions, and a search of a tiny run over them whose space each test file writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cutis.data.synthetic import write_folder

SMOKE = Path(__file__).parents[2] / "configs" / "sparsesegnet" / "smoke.yaml"
TINY = {
    "preprocessing": {"size": 32, "mean": [0.7, 0.55, 0.5], "std": [0.2, 0.2, 0.2]},
    "phases": [{"start": 0, "size": 32}],
    "epochs": 3,
    "epoch_images": 8,
}


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune") / "drawn"
    write_folder(folder, 12, seed=5, width=64, height=48)
    return folder


@pytest.fixture
def asked(drawn, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("optuna")
    from cutis.tuning.search import Search

    values = {**yaml.safe_load(SMOKE.read_text(encoding="utf-8")), **TINY}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return Search(
        tmp_path / "config.yaml", (), tmp_path / "space.yaml", drawn, tmp_path / "out", symmetry=None, trials=4,
        storage=None, study=None, minutes=None, seed=1, cache=drawn.with_name("cache"), accelerator="cpu",
        command="cutis tune ...", heartbeat=1,
    )  # fmt: skip
