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

from cutis.analysis.batch import cores
from cutis.analysis.runtime import load_model
from cutis.benchmark.machine import watching
from cutis.benchmark.result import Result, Row, progress, publish
from cutis.data.synthetic import write_folder
from cutis.errors import CutisError

__all__ = ["TARGET_MB", "measure_memory", "peak_mb"]

TARGET_MB = 600.0
WIDTH, HEIGHT, DISTINCT = 1024, 768, 12

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
        folder = _folder(Path(temporary) / "pictures", images)
        rows = []
        for done, count in enumerate(workers):
            tell(done, len(workers))
            rows.append(_measure(folder, Path(temporary) / f"out-{count}", images, count, model))
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


def _folder(folder: Path, images: int) -> Path:
    """`images` pictures, of which 12 are distinct: what a picture shows does not change what it costs."""
    drawn = write_folder(folder.with_name("drawn"), min(images, DISTINCT), 1, width=WIDTH, height=HEIGHT)
    folder.mkdir(parents=True)
    for number in range(images):
        shutil.copyfile(drawn[number % len(drawn)], folder / f"lesion_{number:05}.jpg")
    return folder


def _measure(folder: Path, output: Path, images: int, workers: int, model: str | None) -> Row:
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
    values = {"workers": workers, "images/s": images / seconds, "peak MB": float(told.read_text())}
    return Row(f"{images} pictures, {workers} worker{'s' * (workers > 1)}", values, ("peak MB", "<=", TARGET_MB))
