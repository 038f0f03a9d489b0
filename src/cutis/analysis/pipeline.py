"""From an image to its mask and record: the one inference path, of the command line, Python, evaluation and parity
tests.

Read, remove hair if asked, letterbox, network, clean up, bring the probability back to the size of the image as a
person sees it, cut, measure; where a lesion is found, ask the cascade for symmetry and class. Clean-up happens at the
network's size, where it is 16 times cheaper than on a 1024x768 photo; what goes to full size is the cleaned probability
as 8-bit numbers, and the outline there is as smooth as bilinear makes it.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from cutis import __version__
from cutis.analysis import abcd, quality
from cutis.analysis.cascade import Cascade, Looked, ask
from cutis.analysis.prompted import Correction
from cutis.analysis.runtime import Segmenter, load_model
from cutis.errors import CutisError
from cutis.imaging.frame import Frame, letterbox
from cutis.imaging.hair import remove_hair
from cutis.imaging.postprocess import clean_mask
from cutis.imaging.read import MAX_PIXELS, Picture, read_image
from cutis.records import Analysis, Lesion, Refinement

__all__ = ["NO_CASCADE", "Outcome", "Source", "analyze_image", "predict_mask"]

Source = str | Path | bytes | NDArray[np.uint8]

READ_SIDE = 1024  # a JPEG twice as large or more is decoded at 1/2, 1/4 or 1/8: sharp enough for the overlay
SHAPE_SIDE = 512  # outlines are followed at most at this size: the network knows half of it
HAIR_SIDE = 512  # hair is removed at this size: twice the network's, a quarter of the time at 1024
MIN_AREA_SHARE = 0.001  # less than this share of the picture is no lesion
# A mean probability below this inside the mask is no lesion. Measured with segmenter-int8 0.3.0
# (benchmarks/no_lesion.py): of 1,446 test and 698 validation lesions none and one lie below, of 914 and 414 pieces of
# plain skin cut from beside lesions 83% and 80%.
MIN_CONFIDENCE = 0.75
NO_CASCADE = Cascade()


class Outcome(NamedTuple):
    """All that an analysis gives: record, mask (height, width) bool at full size, picture as decoded; and the
    cascade's maps, (h, w) uint8 over the whole picture, where it answered."""

    analysis: Analysis
    mask: NDArray[np.bool_]
    picture: NDArray[np.uint8]
    symmetry_map: NDArray[np.uint8] | None
    class_map: NDArray[np.uint8] | None


class _Segmented(NamedTuple):
    """`square`: letterboxed picture before recolouring. `probability`: (h, w) uint8 of the picture's part of it,
    cleaned."""

    square: NDArray[np.uint8]
    frame: Frame
    probability: NDArray[np.uint8]
    lesion: NDArray[np.bool_]
    confidence: float
    refined: Refinement | None

    def found(self, least_confidence: float = MIN_CONFIDENCE) -> bool:
        share = np.count_nonzero(self.lesion) / self.lesion.size
        if self.refined and self.refined.asked_by == "person":  # who says that there is one
            return bool(share > 0)
        return bool(share >= MIN_AREA_SHARE and self.confidence >= least_confidence)


class _Stopwatch:
    """Laps that add up to the time from start to the last one."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = (now - self._last) * 1000
        self._last = now


def predict_mask(
    source: Source,
    model: Segmenter | None = None,
    *,
    hair_removal: bool = False,
    least_confidence: float = MIN_CONFIDENCE,
) -> NDArray[np.bool_]:
    """The lesion's mask at the image's own size: (height, width) bool, all False where no lesion is found.

    `source`: a file, its bytes, or (H, W, 3) uint8 RGB. The same pixels as in `masks/` of `cutis analyze`, but for
    `least_confidence`, which was measured with the bundled segmenter: 0 for a network that is less sure of itself.
    """
    model = model or load_model()
    picture = _read(source)
    segmented = _segment(_without_hair(picture.pixels)[0] if hair_removal else picture.pixels, model, _Stopwatch())
    return _full_mask(segmented, picture, model, least_confidence)


def analyze_image(
    source: Source,
    model: Segmenter,
    *,
    name: str,
    cascade: Cascade = NO_CASCADE,
    hair_removal: bool = False,
    mm_per_pixel: float | None = None,
    correction: Correction | None = None,
) -> Outcome:
    """Analyse one image; `name` goes into the record. Raises `CutisError` for a source that is no image.

    `cascade` answers where a lesion is found; it sees the picture as it was read, whatever `hair_removal` says, and
    prepares it as its networks were trained. `correction`: boxes, points or the network's own mask as prompts, whose
    answer takes the mask's place."""
    watch = _Stopwatch()
    picture = _read(source)
    watch.lap("read")
    pixels, hair = picture.pixels, None
    if hair_removal:
        pixels, hair = _without_hair(pixels)
        watch.lap("hair")
    segmented = _segment(pixels, model, watch, correction, (picture.width, picture.height))
    mask = _full_mask(segmented, picture, model)
    watch.lap("mask")
    lesion = None
    if segmented.found():
        lesion = _measure(segmented, mask, _level(model), mm_per_pixel or picture.spacing_mm)
    watch.lap("measures")
    looked = ask(cascade, picture.pixels, mask, watch.lap) if lesion else Looked()
    look = quality.Look(
        picture=np.ascontiguousarray(segmented.frame.crop(segmented.square)),
        lesion=segmented.lesion if lesion else None,
        longest_side=max(picture.width, picture.height),
        touches_frame=bool(lesion and lesion.touches_frame),
        hair=hair,
    )
    judged = quality.judge(look)
    watch.lap("quality")
    analysis = Analysis(
        file=name,
        status="lesion" if lesion else "no_lesion",
        width=picture.width,
        height=picture.height,
        lesion=lesion,
        symmetry=looked.symmetry,
        diagnosis=looked.diagnosis,
        quality=judged,
        model=model.info,
        refined=segmented.refined,
        symmetry_model=cascade.symmetry_info,
        class_model=cascade.class_info,
        times_ms={step: round(ms, 3) for step, ms in watch.laps.items()},
        cutis=__version__,
    )
    return Outcome(analysis, mask, picture.pixels, looked.symmetry_map, looked.class_map)


def _read(source: Source) -> Picture:
    if isinstance(source, np.ndarray):
        if source.ndim != 3 or source.shape[2] != 3 or source.dtype != np.uint8 or source.size == 0:
            what = f"{source.shape} {source.dtype}"
            raise CutisError(f"the array is {what}: give RGB pixels as (height, width, 3) uint8")
        height, width = source.shape[:2]
        if height * width > MAX_PIXELS:
            raise CutisError(
                f"the array has {width} x {height} pixels, over the limit of {MAX_PIXELS}: shrink it first"
            )
        return Picture(source, width, height, None, "array")
    return read_image(Path(source) if isinstance(source, str) else source, min_side=READ_SIDE)


def _without_hair(pixels: NDArray) -> tuple[NDArray[np.uint8], float]:
    """Hair removed at `HAIR_SIDE` pixels or the picture's own size; and the share that was under hair."""
    height, width = pixels.shape[:2]
    scale = HAIR_SIDE / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    free = remove_hair(pixels)
    return free.image, float(free.mask.mean())


def _segment(
    pixels: NDArray[np.uint8], model: Segmenter, watch: _Stopwatch, correction: Correction | None = None,
    size: tuple[int, int] = (0, 0),
) -> _Segmented:  # fmt: skip
    steps = model.preprocessing
    square, frame = letterbox(pixels, steps.size)
    prepared = steps.recolour(square, frame)  # letterbox and recolour are what Preprocessing.apply does
    watch.lap("prepare")
    whole = model.probability(prepared)[0]
    watch.lap("network")
    segmented = _cleaned(square, frame, whole, model, None)
    if correction and (correction.by_person or segmented.found()):
        whole, refined = correction.apply(pixels, frame, whole, size, model.threshold)
        segmented = _cleaned(square, frame, whole, model, refined)
        watch.lap("prompts")
    return segmented


def _cleaned(
    square: NDArray[np.uint8], frame: Frame, whole: NDArray[np.float32], model: Segmenter, refined: Refinement | None
) -> _Segmented:
    probability = frame.crop(whole)
    raw = np.asarray(cv2.convertScaleAbs(probability, alpha=255), np.uint8)  # rounded
    above = raw > _level(model)
    lesion = clean_mask(above)
    cleaned = raw.copy()
    np.copyto(cleaned, 0, where=above & ~lesion)
    np.copyto(cleaned, 255, where=lesion & ~above)
    confidence = float(probability[lesion].mean()) if lesion.any() else 0.0
    return _Segmented(square, frame, cleaned, lesion, min(1.0, confidence), refined)


def _level(model: Segmenter) -> int:
    """The 8-bit probability above which a pixel is lesion."""
    return min(254, math.floor(model.threshold * 255))


def _full_mask(
    segmented: _Segmented, picture: Picture, model: Segmenter, least_confidence: float = MIN_CONFIDENCE
) -> NDArray[np.bool_]:
    if not segmented.found(least_confidence):
        return np.zeros((picture.height, picture.width), np.bool_)
    size = (picture.width, picture.height)
    probability = cv2.resize(segmented.probability, size, interpolation=cv2.INTER_LINEAR)
    mask: NDArray = cv2.threshold(probability, _level(model), 1, cv2.THRESH_BINARY, dst=probability)[1]
    return mask.view(np.bool_)


def _measure(segmented: _Segmented, mask: NDArray[np.bool_], level: int, mm: float | None) -> Lesion | None:
    """ABCD measures: area and box on the full mask; the shape on a smaller one; the colours at the network's size."""
    area = cv2.countNonZero(mask.view(np.uint8))
    if not area:
        return None
    height, width = mask.shape
    left, top, box_width, box_height = cv2.boundingRect(mask.view(np.uint8))
    right, bottom = left + box_width, top + box_height
    shape, scale = _shape(segmented, mask, level)
    inside = np.flatnonzero(segmented.lesion)
    inside = inside[:: 1 + len(inside) // abcd.MAX_COLOUR_PIXELS]
    picture = segmented.frame.crop(segmented.square).reshape(-1, 3)
    diameter = shape.diameter / scale
    return Lesion(
        box=(left, top, right, bottom),
        area=area,
        area_share=round(area / mask.size, 6),
        touches_frame=left == 0 or top == 0 or right == width or bottom == height,
        confidence=round(segmented.confidence, 4),
        asymmetry=shape.asymmetry,
        border=shape.border.model_copy(update={"perimeter": round(shape.border.perimeter / scale, 2)}),
        colours=abcd.measure_colours(picture[inside]),
        diameter=round(diameter, 2),
        diameter_mm=round(diameter * mm, 3) if mm else None,
        area_mm2=round(area * mm * mm, 3) if mm else None,
    )


def _shape(segmented: _Segmented, mask: NDArray[np.bool_], level: int) -> tuple[abcd.Shape, float]:
    """Shape of the lesion, and the scale of the mask it was measured on: large photos at `SHAPE_SIDE`."""
    height, width = mask.shape
    scale = SHAPE_SIDE / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        smaller = cv2.resize(segmented.probability, size, interpolation=cv2.INTER_LINEAR) > level
        if smaller.any():
            return abcd.measure_shape(smaller), scale
    return abcd.measure_shape(mask), 1.0
