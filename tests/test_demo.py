"""`cutis demo`: what a newcomer sees first, with the bundled model."""

from __future__ import annotations

import re

import pytest

from cutis import demo
from cutis.errors import CutisError


def test_the_demo_finds_the_lesions_it_drew_and_says_where_the_report_is(tmp_path):
    said: list[str] = []
    assert demo.run(tmp_path / "demo", said.append) == 0
    dice = [float(found[1]) for line in said if (found := re.search(r"Dice (\d\.\d+)", line))]
    assert len(dice) == demo.COUNT
    assert min(dice) > 0.8
    assert said[-1] == f"Report: {(tmp_path / 'demo' / 'report.html').resolve()}"
    assert (tmp_path / "demo" / "report.html").stat().st_size > 10_000


def test_the_demo_runs_again_over_its_own_output(tmp_path):
    for _ in range(2):
        assert demo.run(tmp_path, lambda line: None) == 0
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == demo.COUNT


def test_an_output_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CutisError, match="cannot be written"):
        demo.run(tmp_path / "file", lambda line: None)
