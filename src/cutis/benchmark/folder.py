"""`cutis benchmark folder`: images a second of a folder on two cores against one.

Target: 1.6 times as many, for 1,000 pictures of 600x450 with symmetry and class, all files written. The folder is
analysed by turns with one worker and with two, each time by a new process, start and end included.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from cutis.analysis.batch import cores
from cutis.analysis.runtime import load_model
from cutis.benchmark.latency import ratio_to, spread
from cutis.benchmark.machine import watching
from cutis.benchmark.memory import analyse_folder, picture_folder
from cutis.benchmark.result import Result, Row, progress, publish
from cutis.errors import CutisError

__all__ = ["TARGET", "measure_folder"]

TARGET = 1.6
WIDTH, HEIGHT = 600, 450
WORKERS = (1, 2)


def measure_folder(model: str | None, *, images: int, rounds: int, output: Path | None) -> int:
    """Analyse `images` drawn pictures `rounds` times with one worker and with two; print and write folder.json."""
    if images < 1 or rounds < 1:
        raise CutisError(f"{images} images and {rounds} rounds measure nothing: give 1000 and 3, for example")
    if cores() < max(WORKERS):
        raise CutisError("this process may use one core: what a second one brings cannot be measured here")
    segmenter = load_model(model)
    seconds: dict[int, list[list[float]]] = {workers: [] for workers in WORKERS}
    with tempfile.TemporaryDirectory() as temporary, watching() as watch, progress("one core, two cores") as tell:
        folder = picture_folder(Path(temporary) / "pictures", images, WIDTH, HEIGHT)
        for turn in range(rounds):
            for workers in WORKERS:
                found = analyse_folder(folder, Path(temporary) / f"out-{turn}-{workers}", workers, model)
                seconds[workers].append([found.seconds])
            tell(turn + 1, rounds)
    times = {workers: np.array(of) for workers, of in seconds.items()}
    rows = []
    for workers, of in times.items():
        rate = spread(images / of)
        values = {"images/s": rate.median, "images/s low": rate.low, "images/s high": rate.high}
        rows.append(Row(f"{workers} worker{'s' * (workers > 1)}", values))
    more = ratio_to(times[2], times[1])
    gain = {"times": more.median, "times low": more.low, "times high": more.high}
    result = Result.of(
        "folder",
        [*rows, Row("two workers against one", gain, ("times", ">=", TARGET))],
        watch,
        one_thread=False,
        protocol={"process": "a new one each time", "rounds": rounds, "order": list(WORKERS)},
        facts={"model": segmenter.info.model_dump(), "pictures": f"{images} drawn JPEG, {WIDTH}x{HEIGHT}"},
    )
    publish(result, output)
    return 0
