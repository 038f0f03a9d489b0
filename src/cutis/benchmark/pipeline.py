"""`cutis benchmark pipeline`: the bytes of a 1024x768 JPEG to mask and record, with and without hair removal.

Targets, in units of U in the same run: 0.2 without hair removal, 0.6 with it. The picture is drawn, with hair in it, so
that there is something to remove; what each step took is the analysis' own account.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from cutis.analysis.batch import single_threaded_opencv
from cutis.analysis.pipeline import analyze_image
from cutis.analysis.runtime import Segmenter, load_model
from cutis.benchmark.latency import Protocol, interleave
from cutis.benchmark.machine import watching
from cutis.benchmark.network import timed_rows
from cutis.benchmark.reference import reference
from cutis.benchmark.result import Result, progress, publish
from cutis.data.synthetic import draw_lesion

__all__ = ["TARGETS", "drawn_jpeg", "measure_pipeline"]

WIDTH, HEIGHT, QUALITY, HAIRS = 1024, 768, 90, 15
TARGETS = {"JPEG to mask and record": 1 / 5, "the same, hair removed": 0.6}


def measure_pipeline(model: str | None, *, rounds: int, cache: Path, output: Path | None) -> int:
    """Time the analysis of one picture against U, print and write pipeline.json."""
    segmenter, picture = load_model(model), drawn_jpeg(WIDTH, HEIGHT, QUALITY, HAIRS)
    steps: dict[str, dict[str, list[float]]] = {name: {} for name in TARGETS}
    programs: dict[str, Callable[[], object]] = {"U": reference(cache)}
    for name, hair_removal in zip(TARGETS, (False, True), strict=True):
        programs[name] = _analysis(segmenter, picture, hair_removal, steps[name])
    protocol = Protocol(warmup=2, rounds=rounds, calls=2)
    with single_threaded_opencv(), watching() as watch, progress("pipeline against U") as tell:
        times = interleave(programs, protocol, tell=tell)
    result = Result.of(
        "pipeline",
        timed_rows(times, TARGETS),
        watch,
        one_thread=True,
        protocol={**protocol._asdict(), "threads": 1, "order": list(programs)},
        facts={
            "model": segmenter.info.model_dump(),
            "picture": f"drawn lesion, {WIDTH}x{HEIGHT}, JPEG quality {QUALITY}, {len(picture)} bytes, {HAIRS} hairs",
            "steps_ms": {name: {step: float(np.median(ms)) for step, ms in of.items()} for name, of in steps.items()},
        },
    )
    publish(result, output)
    return 0


def drawn_jpeg(width: int, height: int, quality: int, hairs: int) -> bytes:
    """A drawn lesion as a JPEG file's bytes, the same each time."""
    lesion = draw_lesion(np.random.default_rng(2026), width=width, height=height, symmetry=1, hairs=hairs)
    good, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(lesion.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    assert good
    return encoded.tobytes()


def _analysis(
    segmenter: Segmenter, picture: bytes, hair_removal: bool, steps: dict[str, list[float]]
) -> Callable[[], object]:
    def program() -> str:
        outcome = analyze_image(picture, segmenter, name="drawn.jpg", hair_removal=hair_removal)
        for step, ms in outcome.analysis.times_ms.items():
            steps.setdefault(step, []).append(ms)
        return json.dumps(outcome.analysis.model_dump(mode="json"))

    return program
