"""`cutis benchmark start`: `cutis analyze` of one image from a cold start, against bare imports of what it stands on.

Target: from the process's start to its exit at most five times `python -c 'import onnxruntime, cv2'`, symmetry, class,
all files and the report included. Both are new processes, by turns; compiled modules are kept, as pip leaves them.
Beside the wall's time stands the processor's, which other work on the machine stretches less.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cutis.analysis.runtime import load_model
from cutis.benchmark.latency import ratio_to, spread
from cutis.benchmark.machine import watching
from cutis.benchmark.pipeline import HAIRS, HEIGHT, QUALITY, WIDTH, drawn_jpeg
from cutis.benchmark.result import Result, Row, progress, publish
from cutis.errors import CutisError

__all__ = ["BARE", "TARGET", "measure_start"]

TARGET = 5.0
BARE = "import onnxruntime, cv2"


class _Cost(NamedTuple):
    """Seconds from start to exit, on the wall and of the processor (0 where the system does not tell)."""

    wall: float
    processor: float


def measure_start(*, rounds: int, output: Path | None) -> int:
    """Start both `rounds` times; print and write start.json."""
    if rounds < 1:
        raise CutisError(f"{rounds} rounds measure nothing: give 20, for example")
    costs: dict[str, list[_Cost]] = {}
    with tempfile.TemporaryDirectory() as temporary, watching() as watch, progress("cold starts") as tell:
        programs = _programs(Path(temporary))
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(Path(temporary) / "compiled")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for turn in range(rounds + 1):
            for name, words in programs.items():
                found = _start(words, environment)
                if turn:  # the first one compiles
                    costs.setdefault(name, []).append(found)
            tell(turn, rounds)
    result = Result.of(
        "start",
        _rows(costs),
        watch,
        one_thread=False,
        protocol={"process": "a new one each time", "rounds": rounds, "order": list(programs)},
        facts={"model": load_model().info.model_dump(), "picture": f"drawn lesion, {WIDTH}x{HEIGHT}"},
    )
    publish(result, output)
    return 0


def _programs(folder: Path) -> dict[str, list[str]]:
    picture = folder / "drawn.jpg"
    picture.write_bytes(drawn_jpeg(WIDTH, HEIGHT, QUALITY, HAIRS))
    words = [
        sys.executable,
        "-c",
        "from cutis.cli import main; main()",
        "analyze",
        str(picture),
        "--output",
        str(folder / "out"),
    ]
    return {BARE: [sys.executable, "-c", BARE], "cutis analyze, one image": words}


def _start(words: Sequence[str], environment: Mapping[str, str]) -> _Cost:
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(words, env=dict(environment), capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode:
        raise CutisError(f"{words[2]} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    children = after.children_user + after.children_system - before.children_user - before.children_system
    return _Cost(wall, children)


def _rows(costs: Mapping[str, Sequence[_Cost]]) -> list[Row]:
    """The wall's ratio has the target; the processor's stands beside it."""
    bare = np.array(costs[BARE])
    rows = []
    for name, of in costs.items():
        found = np.array(of)
        ms, ratio = spread(1000 * found[:, :1]), ratio_to(bare[:, :1], found[:, :1])
        values = {"ms": ms.median, "ms low": ms.low, "ms high": ms.high, "processor ms": 1000 * np.median(found[:, 1])}
        values |= {"ratio": ratio.median, "ratio low": ratio.low, "ratio high": ratio.high}
        if bare[:, 1].all():
            values["processor ratio"] = float(np.median(found[:, 1] / bare[:, 1]))
        rows.append(Row(name, values, None if name == BARE else ("ratio", "<=", TARGET)))
    return rows
