"""Plots: drawn from the files alone, the same each time, with everything named that was measured."""

from __future__ import annotations

import json

import pytest

from cutis.benchmark.plots import PLOTS, draw_plots, drawn
from cutis.errors import CutisError

pytest.importorskip("matplotlib")
COMMON = {"machine": {"processor": "a toy processor"}, "date": "2026-01-01", "protocol": {}, "complaints": []}


@pytest.fixture
def results(tmp_path):
    judged = {"ms": 4.0, "Dice": 0.9, "Dice low": 0.88, "Dice high": 0.92}
    rows = [{"name": "ours int8", "values": judged}, {"name": "U-Net fp32", "values": {"ms": 90.0}}]
    peers = {**COMMON, "rows": rows, "facts": {"accuracy on": "isic2018_task1"}}
    (tmp_path / "peers.json").write_text(json.dumps(peers))
    lines, facts = [], {}
    for network, ms in (("ours int8", 4.0), ("U-Net fp32", 90.0)):
        for side, threads in ((128, 1), (256, 1), (256, 2)):
            name = f"{network} {side} {threads}"
            values = {"ms": ms, "ms low": ms, "ms high": ms, "side": side, "threads": threads}
            lines.append({"name": name, "values": values})
            facts[name] = {"network": network}
    (tmp_path / "latency.json").write_text(json.dumps({**COMMON, "rows": lines, "facts": facts}))
    return tmp_path


@pytest.mark.parametrize("name", PLOTS)
def test_the_same_files_give_the_same_picture_and_name_all_in_it(results, name):
    svg = drawn(name, results)
    assert svg == drawn(name, results)
    for said in ("ours int8", "U-Net fp32", "a toy processor, 2026-01-01"):
        assert f"<!-- {said} -->" in svg
    assert "T00:" not in svg  # no time of day


def test_other_numbers_give_another_picture(results):
    before = drawn("latency-size", results)
    file = results / "latency.json"
    file.write_text(file.read_text().replace('"ms": 90.0', '"ms": 70.0'))
    assert drawn("latency-size", results) != before


def test_only_what_was_measured_is_drawn(results, tmp_path, capsys):
    (results / "peers.json").unlink()
    assert draw_plots(results, tmp_path / "svg") == 0
    assert sorted(path.name for path in (tmp_path / "svg").iterdir()) == ["latency-size.svg", "latency-threads.svg"]
    with pytest.raises(CutisError, match="run 'cutis benchmark peers' first"):
        draw_plots(tmp_path / "svg", tmp_path / "svg")
