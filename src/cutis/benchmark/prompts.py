"""`cutis benchmark prompts`: from a box to a mask on the device, against U, on one thread.

What a person waits for: the encoder once an image, the decoder at every further box or point. Timed as the analysis
calls them (`analysis/prompted.py`), letterboxing a picture of 1024 x 768 included where it says "corrected".
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cutis.analysis.batch import single_threaded_opencv
from cutis.analysis.prompted import Correction, load_promptable_model
from cutis.benchmark.latency import Protocol, interleave
from cutis.benchmark.machine import watching
from cutis.benchmark.network import timed_rows
from cutis.benchmark.reference import reference
from cutis.benchmark.result import Result, progress, publish
from cutis.data.synthetic import draw_lesion
from cutis.imaging.frame import Frame

__all__ = ["measure_prompts"]

WIDTH, HEIGHT = 1024, 768


def measure_prompts(model: str | None, *, rounds: int, cache: Path, output: Path | None) -> int:
    """Time a promptable's two files (the bundled ones unless given) against U, print and write prompts.json."""
    files = load_promptable_model(model)
    side = files.preprocessing.size
    drawn = draw_lesion(np.random.default_rng(2026), width=WIDTH, height=HEIGHT, symmetry=1, hairs=0)
    square = files.preprocessing.apply(drawn.image).square
    y, x = np.nonzero(drawn.mask)
    whole = Correction(files, box=(float(x.min()), float(y.min()), float(x.max()), float(y.max())))
    nothing = np.zeros((side, side), np.float32)
    embedding = files.encode(square[None])
    points, labels = np.full((1, files.points, 2), side / 2, np.float32), np.full((1, files.points), -1, np.float32)
    labels[:, 0] = 1
    box = np.array([[side / 4, side / 4, side * 3 / 4, side * 3 / 4]], np.float32)
    mask, given = np.zeros((1, 1, files.mask_side, files.mask_side), np.float32), np.array([[1, 0]], np.float32)
    programs: dict[str, Callable[[], object]] = {
        "U": reference(cache),
        "encoder, once an image": lambda: files.encode(square[None]),
        "decoder, a box and a point": lambda: files.decode(embedding, points, labels, box, mask, given),
        "a picture corrected by a box": lambda: whole.apply(
            drawn.image, Frame.fit(WIDTH, HEIGHT, side), nothing, (WIDTH, HEIGHT), 0.5
        ),
    }
    protocol = Protocol(warmup=2, rounds=rounds, calls=3)
    with single_threaded_opencv(), watching() as watch, progress("prompts against U") as tell:
        times = interleave(programs, protocol, tell=tell)
    result = Result.of(
        "prompts",
        timed_rows(times, {}),
        watch,
        one_thread=True,
        protocol={**protocol._asdict(), "threads": 1, "batch": 1, "order": list(programs)},
        facts={
            "encoder": {**files.info.model_dump(), "size": side},
            "decoder": files.decoder_info.model_dump(),
            "picture": f"drawn lesion, {WIDTH}x{HEIGHT}, with its own box",
        },
    )
    publish(result, output)
    return 0
