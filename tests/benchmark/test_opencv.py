"""The benchmarks beside OpenCV, of a cold start and of a folder: they measure and write what they say."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from cutis import cli
from cutis.benchmark import folder, opencv, start
from cutis.benchmark.memory import Analysed
from cutis.data.synthetic import add_hairs, draw_skin
from cutis.errors import CutisError


def call(*words: object) -> int:
    return cli.app([*map(str, words), "--busy"], result_action="return_value")


@pytest.fixture
def small(monkeypatch):
    for name, value in {"WIDTH": 512, "HEIGHT": 384, "LARGE": (600, 400), "PICTURES": 2}.items():
        monkeypatch.setattr(opencv, name, value)


def test_beside_opencv(tmp_path, small):
    assert call("benchmark", "opencv", "--rounds", 1, "--output", tmp_path) == 0
    rows = {row["name"]: row for row in json.loads((tmp_path / "opencv.json").read_text())["rows"]}
    for pair in opencv.PAIRS:
        row = rows[f"{pair.program}, to {pair.yardstick}"]
        assert row["target"] == ["ratio", "<=", pair.limit] and row["values"]["ratio"] > 0
        assert pair.program in rows and pair.yardstick in rows
    restored = [row for name, row in rows.items() if name.startswith("what was under the hair")]
    for values in (row["values"] for row in restored):
        assert values["dB"] > 30 and values["dB more"] == pytest.approx(values["dB"] - values["dB of OpenCV"])
    assert len(restored) == 4


@pytest.mark.parametrize("setting", opencv.SETTINGS)
def test_plain_hair_removal_takes_hair_away_and_leaves_skin(setting):
    skin = draw_skin(np.random.default_rng(0), width=512, height=384, tone=0.2)
    hairy, cover = add_hairs(np.random.default_rng(1), skin, 6)
    free = opencv.plain_hair_removal(hairy, setting)
    assert (
        np.abs(free[cover].astype(int) - skin[cover]).mean()
        < 0.3 * np.abs(hairy[cover].astype(int) - skin[cover]).mean()
    )
    flat = cv2.GaussianBlur(skin, (0, 0), 4)
    np.testing.assert_array_equal(opencv.plain_hair_removal(flat, setting), flat)


def test_a_cold_start_is_of_two_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(start, "WIDTH", 128)
    costs = iter([start._Cost(9, 9), start._Cost(9, 9), start._Cost(0.2, 0.1), start._Cost(0.8, 0.4)])
    monkeypatch.setattr(start, "_start", lambda words, environment: next(costs))
    assert call("benchmark", "start", "--rounds", 1, "--output", tmp_path) == 0
    bare, ours = json.loads((tmp_path / "start.json").read_text())["rows"]
    assert bare["values"]["ms"] == pytest.approx(200) and bare["target"] is None
    assert ours["values"]["ratio"] == pytest.approx(4) and ours["values"]["processor ratio"] == pytest.approx(4)
    assert ours["target"] == ["ratio", "<=", 5.0] and ours["met"]


def test_a_start_that_fails_is_told(tmp_path):
    with pytest.raises(CutisError, match="ended with 3"):
        start._start([start.sys.executable, "-c", "import sys; sys.exit(3)"], {})


def test_two_cores_against_one(tmp_path, monkeypatch):
    seconds = {1: iter([4.0, 6.0, 5.0]), 2: iter([2.0, 4.0, 2.5])}
    for name, value in {"WIDTH": 96, "HEIGHT": 72, "cores": lambda: 2}.items():
        monkeypatch.setattr(folder, name, value)
    monkeypatch.setattr(folder, "analyse_folder", lambda of, out, workers, model: Analysed(next(seconds[workers]), 1))
    assert call("benchmark", "folder", "--images", 20, "--rounds", 3, "--output", tmp_path) == 0
    rows = json.loads((tmp_path / "folder.json").read_text())["rows"]
    assert [row["values"]["images/s"] for row in rows[:2]] == [4, 8]
    assert rows[2]["values"]["times"] == pytest.approx(2.0) and rows[2]["met"]
    monkeypatch.setattr(folder, "cores", lambda: 1)
    with pytest.raises(CutisError, match="one core"):
        call("benchmark", "folder", "--output", tmp_path)
