"""Results: targets judged, doubts said aloud, JSON that says what was measured on what."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from cutis.benchmark import machine
from cutis.benchmark.machine import Watch, watching
from cutis.benchmark.network import timed_rows
from cutis.benchmark.result import Result, Row, publish, verdict


def result(**changes) -> Result:
    watch = Watch()
    watch.load, watch.share = changes.pop("load", 0.0), changes.pop("share", 1.0)
    rows = [Row("U", {"ms": 100.0}), Row("ours", {"ms": 5.0, "ratio": 0.05}, ("ratio", "<=", 1 / 15))]
    return Result.of("toy", rows, watch, one_thread=True, protocol={"rounds": 3}, facts={"model": "toy"})


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("a", {"x": 1.0}), None),
        (Row("a", {"x": 1.0}, ("x", "<=", 1.0)), True),
        (Row("a", {"x": 1.1}, ("x", "<=", 1.0)), False),
        (Row("a", {"x": 1.1}, ("x", ">=", 1.0)), True),
        (Row("a", {"x": 0.9}, ("x", ">=", 1.0)), False),
    ],
)
def test_verdict(row, met):
    assert verdict(row) is met


def test_json_is_complete_and_names_no_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/some/where/bin/cutis", "benchmark", "a b"])
    publish(result(), tmp_path)
    written = json.loads((tmp_path / "toy.json").read_text())
    assert written["rows"][1]["met"] is True and written["rows"][0]["met"] is None
    assert {"processor", "cores", "system", "python", "packages"} <= set(written["machine"])
    assert {"numpy", "onnxruntime"} <= set(written["machine"]["packages"])
    assert written["protocol"] == {"rounds": 3} and written["facts"] == {"model": "toy"}
    assert written["complaints"] == [] and written["date"] and written["command"] == "cutis benchmark 'a b'"


@pytest.mark.parametrize(("busy", "said"), [({"load": 2.0}, "load 2.0"), ({"share": 0.5}, "50% of a core")])
def test_a_busy_machine_is_said_loudly_and_kept_in_the_file(tmp_path, capsys, busy, said):
    publish(result(**busy), tmp_path)
    shown = capsys.readouterr().out
    assert "DO NOT PUBLISH" in shown and said in shown
    assert said in json.loads((tmp_path / "toy.json").read_text())["complaints"][0]


def test_a_lost_target_is_shown(capsys):
    lost = Row("ours", {"ratio": 0.2}, ("ratio", "<=", 1 / 15))
    publish(Result("toy", (lost,), {}, {}, ()), None)
    assert "NO" in capsys.readouterr().out


def test_share_of_a_core_is_about_one_while_computing_and_about_zero_while_waiting():
    import time

    with watching() as waiting:
        time.sleep(0.05)
    assert waiting.share is not None and waiting.share < 0.5
    assert any("of a core" in text for text in waiting.complaints(one_thread=True))
    assert not any("of a core" in text for text in waiting.complaints(one_thread=False))


def test_machine_is_described():
    found = machine.describe()
    assert found["processor"] and found["cores"] >= 1


def test_rows_are_in_units_of_the_first_program():
    times = {"U": np.full((4, 2), 0.1), "ours": np.full((4, 2), 0.005)}
    yardstick, ours = timed_rows(times, {"ours": 1 / 15})
    assert yardstick.values["ratio to U"] == 1 and yardstick.target is None
    assert ours.values["ms"] == pytest.approx(5) and ours.values["ratio to U"] == pytest.approx(0.05)
    assert verdict(ours) is True
