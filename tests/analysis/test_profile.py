"""`cutis analyze --profile`: rows that add up to the wall time of the process."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cutis.analysis import console
from cutis.analysis.batch import Options
from cutis.analysis.profile import Profile
from cutis.data.synthetic import write_folder
from cutis.errors import CutisError

_RUN = "from cutis.cli import main; main()"


def rows_of(text: str) -> dict[str, float]:
    """Name -> milliseconds, of the table in what was printed."""
    table = text.partition("ms an image\n")[2]
    return {m[1].strip(): float(m[2]) for m in re.finditer(r"^(\w[\w ]*?) +([\d.]+) +[\d.]+%", table, re.MULTILINE)}


def test_the_rows_add_up_to_the_wall_time(toy_path: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "drawn", count=3, seed=1, width=160, height=120)
    words = [
        "analyze",
        tmp_path / "drawn",
        "--output",
        tmp_path / "out",
        "--model",
        toy_path,
        "--no-cascade",
        "--profile",
    ]
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", _RUN, *map(str, words)], capture_output=True, text=True, check=True)
    wall = 1000 * (time.perf_counter() - start)
    rows = rows_of(done.stdout)
    total = rows.pop("wall time")
    assert {"start", "models", "read", "prepare", "network", "mask", "measures", "quality", "write"} < set(rows)
    assert sum(rows.values()) == pytest.approx(total, abs=1.0)  # each is rounded to a tenth
    assert all(ms >= 0 for ms in rows.values())
    assert 0.5 * wall < total < wall + 50  # the rest is the end of the process; the start is known to 10 ms


def test_steps_are_told_an_image() -> None:
    profile = Profile()
    profile.lap("models")
    for _ in range(2):
        profile.image({"read": 3.0, "network": 5.0})
    assert re.search(r"^network +10\.0 +[\d.]+% +5\.00$", profile.table(), re.MULTILINE)
    assert re.search(r"^models +[\d.]+ +[\d.]+%$", profile.table(), re.MULTILINE)


def test_several_workers_do_not_add_up(tmp_path: Path) -> None:
    with pytest.raises(CutisError, match="one image at a time"):
        console.run([tmp_path], tmp_path / "out", models=console.Models(), options=Options(workers=2), resume=False,
                    profile=True)  # fmt: skip
