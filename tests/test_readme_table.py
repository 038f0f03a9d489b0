"""The tables of README and model card say what the files in benchmarks/results say, and nothing else."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from cutis.benchmark.machine import Watch
from cutis.benchmark.result import Result, Row, publish

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("readme_table", ROOT / "benchmarks/readme_table.py")
assert spec is not None
assert spec.loader is not None
readme_table = importlib.util.module_from_spec(spec)
spec.loader.exec_module(readme_table)


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
