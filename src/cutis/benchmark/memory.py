"""`cutis benchmark memory`: the peak memory of `cutis analyze` on a folder, and its images a second.

The analysis runs in a process of its own, from start to end as a user runs it, and tells its own peak (resident set).
Target: under 600 MB, however many images.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from cutis.analysis.batch import cores
from cutis.analysis.runtime import load_model
from cutis.benchmark.machine import watching
from cutis.benchmark.result import Result, Row, progress, publish
from cutis.data.synthetic import write_folder
from cutis.errors import CutisError

__all__ = ["TARGET_MB", "Analysed", "analyse_folder", "measure_memory", "peak_mb", "picture_folder"]

TARGET_MB = 600.0
WIDTH, HEIGHT, DISTINCT = 1024, 768, 12


class Analysed(NamedTuple):
    """Of one run of `cutis analyze` over a folder, from the process's start to its end."""

    seconds: float
    peak_mb: float


_CHILD = """
import sys
from cutis.benchmark.memory import peak_mb
from cutis.cli import app
code = app(sys.argv[2:], result_action="return_value")
open(sys.argv[1], "w").write(str(peak_mb()))
sys.exit(code)
"""


def measure_memory(model: str | None, *, images: int, output: Path | None) -> int:
    """Analyse `images` drawn pictures with one worker and with one a core; print and write memory.json."""
    if images < 1:
        raise CutisError(f"--images is {images}: give how many pictures to analyse, 1000 for example")
    segmenter = load_model(model)
    workers = sorted({1, cores()})
    with tempfile.TemporaryDirectory() as temporary, watching() as watch, progress("analysing the folder") as tell:
        folder = picture_folder(Path(temporary) / "pictures", images, WIDTH, HEIGHT)
        rows = []
        for done, count in enumerate(workers):
            tell(done, len(workers))
            found = analyse_folder(folder, Path(temporary) / f"out-{count}", count, model)
            rows.append(_row(found, images, count))
    result = Result.of(
        "memory",
        rows,
        watch,
        one_thread=False,
        protocol={"process": "a new one each time", "peak": "resident set, told by the process itself"},
        facts={"model": segmenter.info.model_dump(), "pictures": f"{images} drawn JPEG, {WIDTH}x{HEIGHT}"},
    )
    publish(result, output)
    return 0


def peak_mb() -> float:
    """Peak resident set of this process so far, in megabytes.

    >>> peak_mb() > 1
    True
    """
    status = Path("/proc/self/status")
    if status.is_file():  # not getrusage: on Linux it counts what the parent had before this program was loaded
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ModuleNotFoundError as error:
        raise CutisError("this system does not tell a process its peak memory: measure on Linux or macOS") from error
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS


def picture_folder(folder: Path, images: int, width: int, height: int) -> Path:
    """`images` pictures, of which 12 are distinct: what a picture shows does not change what it costs."""
    drawn = write_folder(folder.with_name("drawn"), min(images, DISTINCT), 1, width=width, height=height)
    folder.mkdir(parents=True)
    for number in range(images):
        shutil.copyfile(drawn[number % len(drawn)], folder / f"lesion_{number:05}.jpg")
    return folder


def analyse_folder(folder: Path, output: Path, workers: int, model: str | None) -> Analysed:
    """`cutis analyze` of the folder in a process of its own."""
    told = output.with_suffix(".peak")
    words = ["analyze", str(folder), "--output", str(output), "--workers", str(workers)]
    words += ["--model", model] if model else []
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(told), *words], capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode or not told.is_file():
        raise CutisError(f"cutis {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return Analysed(seconds, float(told.read_text()))


def _row(found: Analysed, images: int, workers: int) -> Row:
    values = {"workers": workers, "images/s": images / found.seconds, "peak MB": found.peak_mb}
    return Row(f"{images} pictures, {workers} worker{'s' * (workers > 1)}", values, ("peak MB", "<=", TARGET_MB))
