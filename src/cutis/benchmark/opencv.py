"""`cutis benchmark opencv`: the analysis beside the few lines of OpenCV that parts of it could be, on one thread.

Targets: 1024x768 to mask and record in at most three times the segmenter's own time; a 24-megapixel JPEG to record and
full-size mask, symmetry and class included, in at most 0.7 of the time that OpenCV takes to decode it whole; hair
removal in at most a quarter of plain black-hat and Telea at full size, and no farther from the truth. Pictures are
drawn, so the truth under the hair is known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from cutis.analysis.batch import single_threaded_opencv
from cutis.analysis.cascade import Cascade, load_cascade
from cutis.analysis.pipeline import HAIR_SIDE, NO_CASCADE, analyze_image
from cutis.analysis.runtime import Segmenter, load_model
from cutis.benchmark.forward import forward
from cutis.benchmark.latency import Protocol, interleave, ratio_to, spread
from cutis.benchmark.machine import watching
from cutis.benchmark.pipeline import HAIRS, HEIGHT, QUALITY, WIDTH, drawn_jpeg
from cutis.benchmark.result import Result, Row, progress, publish
from cutis.data.synthetic import add_hairs, draw_lesion
from cutis.imaging.hair import HairFree, remove_hair

__all__ = ["PAIRS", "measure_against_opencv", "plain_hair_removal"]

LARGE = 6000, 4000
THRESHOLD = 10  # grey values
SETTINGS = {"radius 1": (17, 1), "radius 6": (9, 6)}  # both public settings: side of the cross, radius of Telea; pixels
MEDIUM, WHOLE = "JPEG to mask and record", "24-megapixel JPEG to mask and record"
ASKED = f"{WHOLE}, symmetry and class"
NETWORK, DECODED = "the segmenter alone", "24-megapixel JPEG decoded whole by OpenCV"
OURS, PLAIN = "hair removal", "OpenCV's black-hat and Telea"
PICTURES = 8  # drawn, to see how near to the truth hair removal comes
KINDS = ("with hair", "without hair")


class Pair(NamedTuple):
    """`program` takes at most `limit` of the time of `yardstick`."""

    program: str
    yardstick: str
    limit: float


PAIRS = (
    Pair(MEDIUM, NETWORK, 3.0),
    Pair(ASKED, DECODED, 0.7),
    Pair(WHOLE, DECODED, 0.7),
    *(
        Pair(f"{ours}, {kind}", f"{PLAIN} ({setting}), {kind}", 0.25)
        for ours in (OURS, f"{OURS} at full size")
        for setting in SETTINGS
        for kind in KINDS
    ),
)


class Hairy(NamedTuple):
    """A drawn picture under hair, (H, W, 3) uint8 RGB, and as it is beneath."""

    picture: NDArray[np.uint8]
    truth: NDArray[np.uint8]


def measure_against_opencv(model: str | None, *, rounds: int, output: Path | None) -> int:
    """Time drawn pictures' analysis and its parts in turns with OpenCV's, print and write opencv.json."""
    segmenter, cascade = load_model(model), load_cascade()
    picture, large = drawn_jpeg(WIDTH, HEIGHT, QUALITY, HAIRS), drawn_jpeg(*LARGE, QUALITY, HAIRS)
    hairy = _hairy(2026)
    programs: dict[str, Callable[[], object]] = {
        NETWORK: forward(segmenter),
        MEDIUM: _analysis(segmenter, picture),
        DECODED: lambda: cv2.imdecode(np.frombuffer(large, np.uint8), cv2.IMREAD_COLOR),
        WHOLE: _analysis(segmenter, large),
        ASKED: _analysis(segmenter, large, cascade),
        **_hair_programs(dict(zip(KINDS, (hairy.picture, hairy.truth), strict=True))),
    }
    protocol = Protocol(warmup=2, rounds=rounds, calls=2)
    with single_threaded_opencv(), watching() as watch, progress("the analysis beside OpenCV") as tell:
        times = interleave(programs, protocol, tell=tell)
    result = Result.of(
        "opencv",
        [*(_timed(name, of) for name, of in times.items()), *(_row(pair, times) for pair in PAIRS), *_restored()],
        watch,
        one_thread=True,
        protocol={**protocol._asdict(), "threads": 1, "order": list(programs)},
        facts={
            "model": segmenter.info.model_dump(),
            "picture": f"drawn lesion, {WIDTH}x{HEIGHT}, JPEG quality {QUALITY}, {len(picture)} bytes, {HAIRS} hairs",
            "large picture": f"drawn lesion, {LARGE[0]}x{LARGE[1]}, the same quality and hairs, {len(large)} bytes",
            OURS: f"the analysis' own, at {HAIR_SIDE} pixels; at full size: {WIDTH}x{HEIGHT}",
            PLAIN: f"threshold {THRESHOLD}, at {WIDTH}x{HEIGHT}; side of the cross and radius: {SETTINGS}",
        },
    )
    publish(result, output)
    return 0


def plain_hair_removal(rgb: NDArray[np.uint8], setting: str) -> NDArray[np.uint8]:
    """Black-hat, threshold and Telea as a few lines of OpenCV do it: (H, W, 3) uint8 RGB -> the same without hair."""
    side, radius = SETTINGS[setting]
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (side, side))
    dark = cv2.morphologyEx(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.MORPH_BLACKHAT, cross)
    _, hair = cv2.threshold(dark, THRESHOLD, 255, cv2.THRESH_BINARY)
    return np.asarray(cv2.inpaint(rgb, hair, radius, cv2.INPAINT_TELEA), np.uint8)


def _analysis(segmenter: Segmenter, picture: bytes, cascade: Cascade = NO_CASCADE) -> Callable[[], object]:
    def program() -> str:
        outcome = analyze_image(picture, segmenter, name="drawn.jpg", cascade=cascade)
        return outcome.analysis.model_dump_json()

    return program


def _hairy(seed: int) -> Hairy:
    drawn = draw_lesion(np.random.default_rng(seed), width=WIDTH, height=HEIGHT, symmetry=1, hairs=0).image
    return Hairy(add_hairs(np.random.default_rng(seed), drawn, HAIRS)[0], drawn)


def _hair_programs(pictures: Mapping[str, NDArray[np.uint8]]) -> dict[str, Callable[[], object]]:
    """Ours as the analysis does it (smaller first), ours at full size, and plain OpenCV."""
    programs: dict[str, Callable[[], object]] = {}
    for kind, rgb in pictures.items():
        for setting in SETTINGS:
            programs[f"{PLAIN} ({setting}), {kind}"] = partial(plain_hair_removal, rgb, setting)
        programs[f"{OURS}, {kind}"] = partial(_analysis_hair_removal, rgb)
        programs[f"{OURS} at full size, {kind}"] = partial(remove_hair, rgb)
    return programs


def _analysis_hair_removal(rgb: NDArray[np.uint8]) -> HairFree:
    return remove_hair(_smaller(rgb))


def _smaller(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = (HAIR_SIDE, round(HAIR_SIDE * rgb.shape[0] / rgb.shape[1]))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _timed(name: str, times: NDArray[np.float64]) -> Row:
    ms = spread(1000 * times)
    return Row(name, {"ms": ms.median, "ms low": ms.low, "ms high": ms.high})


def _row(pair: Pair, times: Mapping[str, NDArray[np.float64]]) -> Row:
    found = ratio_to(times[pair.yardstick], times[pair.program])
    values: dict[str, Any] = {"ratio": found.median, "ratio low": found.low, "ratio high": found.high}
    return Row(f"{pair.program}, to {pair.yardstick}", values, ("ratio", "<=", pair.limit))


def _restored() -> list[Row]:
    """How near to the truth each comes, mean dB over whole pictures; at full size, and as the analysis does it."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for seed in range(PICTURES):
        picture, truth = _hairy(seed)
        full, half = remove_hair(picture).image, _analysis_hair_removal(picture).image
        for setting in SETTINGS:
            plain = plain_hair_removal(picture, setting)
            found["at full size", setting].append((_psnr(full, truth), _psnr(plain, truth)))
            smaller = _psnr(half, _smaller(truth)), _psnr(_smaller(plain), _smaller(truth))
            found[f"at {HAIR_SIDE} pixels", setting].append(smaller)
    rows = []
    for (where, setting), pairs in found.items():
        ours, theirs = np.mean(pairs, axis=0)
        values = {"dB": float(ours), "dB of OpenCV": float(theirs), "dB more": float(ours - theirs)}
        rows.append(Row(f"what was under the hair, {where}, to {setting}", values, ("dB more", ">=", 0.0)))
    return rows


def _psnr(image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / ((image.astype(float) - truth) ** 2).mean()))
