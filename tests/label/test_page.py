"""The page's figures are those of the benchmark's results."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "labelling.md").read_text(encoding="utf-8")
SETS = json.loads((ROOT / "benchmarks" / "results" / "label-confidence.json").read_text(encoding="utf-8"))["sets"]
NAMES = {"ISIC 2018": "isic2018_task1", "HAM10000": "ham10000", "Kvasir-SEG, polyps": "kvasir_seg"}
CANDIDATES = ("mean probability inside", "expected Dice", "agreement of flips", "expected Dice x agreement")


@pytest.mark.parametrize("title", NAMES)
def test_its_tables(title):
    table = re.search(rf"^\| {re.escape(title)} \|.*\n\| ---.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert table
    lines = table[1].replace("*", "").splitlines()
    for line, candidate in zip(lines, CANDIDATES, strict=True):
        values = SETS[NAMES[title]]["candidates"][candidate].values()
        shown = [f"{value:.{digits}f}" for value, digits in zip(values, (2, 3, 2), strict=True)]
        assert [cell.strip() for cell in line.split("|")[2:5]] == shown


def test_what_four_looks_give():
    for name in ("isic2018_task1", "ham10000"):
        one, four = SETS[name]["dice_one_look"], SETS[name]["dice_four_looks"]
        assert f"from {one:.4f} to {four:.4f}" in PAGE


def test_the_number_that_is_taken_is_nearest_to_the_dice():
    for name in ("isic2018_task1", "ham10000"):
        distances = {c: SETS[name]["candidates"][c]["mean_distance"] for c in CANDIDATES}
        assert min(distances, key=distances.__getitem__) == CANDIDATES[-1]
