"""The tables of README and model card say what the files in benchmarks/results say, and nothing else."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from cutis.benchmark.machine import Watch
from cutis.benchmark.result import Result, Row, publish

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("readme_table", ROOT / "benchmarks/readme_table.py")
assert spec is not None
assert spec.loader is not None
sys.path.insert(0, str(ROOT / "benchmarks"))  # as when it is run: what lies beside it is imported by name
try:
    readme_table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(readme_table)
    performance = importlib.import_module("performance_tables")
finally:
    sys.path.pop(0)


@pytest.mark.parametrize("page", readme_table.PAGES, ids=lambda page: page.name)
def test_every_published_table_is_what_the_files_say(page):
    text = page.read_text("utf-8")
    assert readme_table.MARKED.search(text), f"{page.name} has no marked table"
    assert readme_table.rendered(text, readme_table.RESULTS) == text, "run python benchmarks/readme_table.py"


def test_there_are_results_for_both_bundled_models():
    found = {path.name for path in readme_table.RESULTS.glob("*.json")}
    assert {"accuracy-segmenter-int8.json", "accuracy-segmenter-fp32.json", "network.json", "pipeline.json"} <= found


def test_no_published_benchmark_was_disturbed():
    reports = [json.loads(path.read_text("utf-8")) for path in readme_table.RESULTS.glob("*.json")]
    assert [report["complaints"] for report in reports if report.get("complaints")] == []


def test_a_table_is_made_of_what_the_benchmark_wrote(tmp_path):
    timed = {"ms": 4.04, "ms low": 4.0, "ms high": 4.2, "ratio to U": 0.05, "ratio low": 0.04, "ratio high": 0.06}
    rows = [Row("U", {"ms": 80.0}), Row("int8", timed, ("ratio to U", "<=", 1 / 15))]
    publish(Result.of("network", rows, Watch(), one_thread=True, protocol={}, facts={}), tmp_path)
    table = readme_table.speed(tmp_path).splitlines()
    assert [cell.strip() for cell in table[2].split("|")[1:-1]] == ["U", "80", "", ""]
    line = ["int8", "4.04 [4, 4.2]", "0.05 [0.04, 0.06]", "ratio to U <= 0.0667"]
    assert [cell.strip() for cell in table[3].split("|")[1:-1]] == line
    assert table[-1].startswith("- `cutis")


def test_only_what_is_between_the_markers_is_written(tmp_path):
    page = "before\n<!-- memory from benchmarks/results -->\nold\n<!-- end -->\nafter\n"
    written = readme_table.rendered(page, tmp_path)
    assert written.startswith("before\n<!-- memory from benchmarks/results -->\n")
    assert written.endswith("<!-- end -->\nafter\n")
    assert "old" not in written
    assert readme_table.rendered(written, tmp_path) == written


def timed(ms: float, **more: float) -> dict[str, float]:
    return {"ms": ms, "ms low": ms, "ms high": ms, **more}


@pytest.fixture
def measured(tmp_path):
    """What `cutis benchmark` leaves of two networks."""
    said = {"one_thread": False, "protocol": {}}
    won = Row("U-Net fp32 beside ours", {"times as long": 30.0}, ("times as long", ">=", 25.0))
    lost = Row("SAM fp32, torch beside ours", {"times as long": 900.0}, ("times as long", ">=", 1000.0))
    publish(Result.of("peer-targets", [won, lost], Watch(), **said, facts={}), tmp_path)
    rows = [Row("ours int8", timed(4.0, Dice=0.9)), Row("SAM fp32, torch", {**timed(9000.0), "ms, 2 threads": 6000.0})]
    facts = {"accuracy on": "isic2018_task1", "SAM fp32, torch": {"not exported": "it is too large"}}
    publish(Result.of("peers", rows, Watch(), **said, facts=facts), tmp_path)
    lines = [
        Row(f"ours {side} {count}", timed(side / 64, side=side, threads=count)) for side, count in ((128, 1), (256, 2))
    ]
    networks = {row.name: {"network": "ours"} for row in lines}
    publish(Result.of("latency", lines, Watch(), **said, facts=networks), tmp_path)
    whole = Row("ours int8", timed(4.0, **{"times roofline": 1.5}), ("times roofline", "<=", 1.6))
    operators = [Row(f"ours int8: {kind}", {"ms": 1.0}) for kind in ("Conv", "Add")]
    peaks = {"peaks": {"fp32 GMAC/s": 80.0}}
    publish(Result.of("roofline", [whole, *operators], Watch(), **said, facts=peaks), tmp_path)
    return tmp_path


def cells(table: str, line: int) -> list[str]:
    return [cell.strip() for cell in table.splitlines()[line].split("|")[1:-1]]


def test_losses_stand_beside_wins(measured):
    table = performance.goals(measured)
    assert cells(table, 2) == ["peer-targets", "U-Net fp32 beside ours", "times as long", "30", ">= 25", "yes"]
    assert cells(table, 3)[3:] == ["900", ">= 1e+03", "**NO**"]


def test_peers_their_reasons_and_the_pictures(measured):
    table = performance.peers(measured)
    header = cells(table, 0)
    ours, sam = (dict(zip(header, cells(table, line), strict=True)) for line in (2, 3))
    assert (ours["ms, 1 thread"], ours["Dice"]) == ("4 [4, 4]", "0.9")
    assert (sam["ms, 2 threads"], sam["Dice"]) == ("6e+03", "")
    assert "isic2018_task1" in table and "numpy" in table.splitlines()[-1]
    assert performance.reasons(measured) == "- SAM fp32, torch: not exported, because it is too large"
    assert performance.pictures(measured).count("](images/") == 3


def test_latency_is_a_column_for_each_side_and_number_of_threads(measured):
    table = performance.latency(measured)
    assert cells(table, 0) == ["ms", "128 px, 1 thread", "256 px, 2 threads"]
    assert cells(table, 2) == ["ours", "2 [2, 2]", "4 [4, 4]"]


def test_the_roofline_names_the_operators(measured):
    text = performance.roofline(measured)
    assert "fp32 GMAC/s 80" in text and "ours int8: Conv" in text and "| Operators" in text


@pytest.mark.parametrize("table", ["peers", "reasons", "latency", "roofline", "pictures"])
def test_what_was_not_measured_says_how_to(tmp_path, table):
    assert performance.PERFORMANCE[table](tmp_path).startswith("Not measured yet: `cutis benchmark")


def test_the_pictures_are_drawn_from_the_results():
    from cutis.benchmark.plots import PLOTS, drawn

    for name, (source, _) in PLOTS.items():
        picture = ROOT / "docs" / "images" / f"{name}.svg"
        assert picture.is_file() == (readme_table.RESULTS / f"{source}.json").is_file(), "run cutis benchmark plots"
        if picture.is_file():
            assert picture.read_text("utf-8") == drawn(name, readme_table.RESULTS), "run cutis benchmark plots"
