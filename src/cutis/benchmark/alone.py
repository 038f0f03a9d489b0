"""One model in a process of its own: how long it takes to open and to answer first, and its memory at the peak.

The process imports the runtime first, which is not counted as loading; then it opens the model and asks it once with
everything cold. `above MB` is what the model and its first answers added to the memory of the imported runtime.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib import import_module
from typing import NamedTuple, cast

from cutis.benchmark.contenders import Contender, Kind, open_program
from cutis.benchmark.memory import peak_mb
from cutis.errors import CutisError

__all__ = ["Alone", "measure_alone"]

_SECONDS = 0.5  # answers are asked for until so much time has passed, for the memory's sake
_IMPORTS = {"onnxruntime": "onnxruntime", "openvino": "openvino", "torch": "torch"}


class Alone(NamedTuple):
    """Milliseconds to open (for torch: to build) and to answer first; megabytes at the peak, and above the runtime."""

    load_ms: float
    first_ms: float
    peak_mb: float
    above_mb: float


def measure_alone(contender: Contender, *, threads: int, runtime: str) -> Alone:
    """Open and ask it in a new process; CutisError with that process's last line where it fails."""
    words = [contender.kind, contender.what, str(contender.side), str(threads), runtime]
    done = subprocess.run([sys.executable, "-m", __name__, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise CutisError(f"{contender.title} cannot be measured in a process of its own: {said[0][:300]}")
    return Alone(**json.loads(done.stdout.splitlines()[-1]))


def _measure(kind: Kind, what: str, side: int, threads: int, runtime: str) -> Alone:
    library = "torch" if kind == "torch" else runtime
    import_module(next((module for name, module in _IMPORTS.items() if library.startswith(name)), "onnxruntime"))
    before = peak_mb()
    start = time.perf_counter()
    program = open_program(kind, what, side, threads=threads, runtime=runtime)
    loaded = time.perf_counter()
    program()
    first = time.perf_counter()
    while time.perf_counter() - start < _SECONDS:
        program()
    peak = peak_mb()
    return Alone(1000 * (loaded - start), 1000 * (first - loaded), peak, peak - before)


if __name__ == "__main__":
    kind, what, side, threads, runtime = sys.argv[1:]
    print(json.dumps(_measure(cast("Kind", kind), what, int(side), int(threads), runtime)._asdict()))
