"""One image of a folder: its mask, yours or predicted, and how sure the prediction is.

Knowledge mining, Sec. 2.4 (pseudo-labels), made for people: what the paper lets a network learn from is here looked at
first where it is least sure.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutis.analysis.pipeline import predict_mask
from cutis.errors import CutisError
from cutis.imaging.read import read_mask
from cutis.label.flips import Flips, sureness
from cutis.label.refined import Refine
from cutis.metrics.overlap import count, dice

if TYPE_CHECKING:
    from cutis.data.samples import Sample

__all__ = ["Answer", "Asking", "Row", "Source", "label_one"]

Source = Literal["given", "predicted", "refined", "nothing found", "failed"]


@dataclass(frozen=True)
class Row:
    """A line of labels.csv. `file` and `mask` are relative to the folder of images and to the output; `confidence` is
    from 0 to 1 and what the lines are sorted by; `expected` and `flips` are what it is made of (label/flips.py), with
    `refined`, the Dice of the network's mask and of the promptable's, and `score`, the promptable's estimate of its own
    IoU; `dice` is of the prediction with your mask, where you gave one. NaN where there is none."""

    file: str
    source: Source
    confidence: float
    expected: float
    flips: float
    refined: float
    score: float
    area_share: float
    width: int
    height: int
    dice: float
    mask: str
    error: str

    @property
    def found(self) -> bool:
        """Whether there is an object to export."""
        return self.area_share > 0


class Answer(NamedTuple):
    """`mask` (H, W) bool is None where the image could not be used."""

    row: Row
    mask: NDArray[np.bool_] | None


class Asking(NamedTuple):
    """Who predicts: `model` as the analysis takes it; `refine` corrects what it found, or None."""

    model: Any
    refine: Refine | None


def label_one(sample: Sample, file: str, target: str, asking: Asking, *, predict: bool) -> Answer:
    """The mask of an image: your own where there is one, which with `predict` is also compared with the prediction.

    `file`, `target`: what row and COCO file call the image and its mask. A bad file is a row with its reason.
    """
    try:
        given = read_mask(sample.mask) if sample.mask else None
        if given is not None and not predict:
            return Answer(_row(file, target, "given", given), given)
        made = _predicted(sample.image, zlib.crc32(file.encode()), asking)
        if given is None:
            source: Source = "nothing found" if not made.mask.any() else made.source
            return Answer(_row(file, target, source, made.mask, made.sure), made.mask)
        if given.shape != made.mask.shape:
            sizes = (f"{mask.shape[1]} x {mask.shape[0]}" for mask in (given, made.mask))
            raise CutisError("its mask is {} and the image {} pixels: give a mask of its size".format(*sizes))
        fit = float(dice(count(made.mask, given)))
        return Answer(_row(file, target, "given", given, made.sure, dice=fit), given)
    except CutisError as error:
        return Answer(_row(file, "", "failed", None, _Sure(0.0), error=str(error)), None)


class _Sure(NamedTuple):
    """What a `Row` says of how sure a prediction is."""

    confidence: float = math.nan
    expected: float = math.nan
    flips: float = math.nan
    refined: float = math.nan
    score: float = math.nan


class _Made(NamedTuple):
    mask: NDArray[np.bool_]
    source: Literal["predicted", "refined"]
    sure: _Sure


def _predicted(image: Path, tie: int, asking: Asking) -> _Made:
    looks = Flips(asking.model)
    mask = predict_mask(image, looks, least_confidence=0)  # type: ignore[arg-type]
    height, width = mask.shape
    looked = sureness(looks.seen, looks.threshold, width, height)
    sure = _Sure(looked.product if mask.any() else 0.0, looked.expected, looked.agreement)
    if asking.refine is None or not mask.any():
        return _Made(mask, "predicted", sure)
    better, score = asking.refine(image, looks.seen.mean(0), tie)
    agreed = float(dice(count(better, mask)))
    sure = sure._replace(confidence=sure.confidence * agreed, refined=agreed, score=score)
    return _Made(better, "refined", sure) if better.any() else _Made(mask, "predicted", sure)


def _row(
    file: str, target: str, source: Source, mask: NDArray[np.bool_] | None, sure: _Sure = _Sure(),  # noqa: B008
    *, dice: float = math.nan, error: str = "",
) -> Row:  # fmt: skip
    height, width = (0, 0) if mask is None else mask.shape
    share = 0.0 if mask is None else float(mask.mean())
    rounded = {name: round(float(value), 4) for name, value in sure._asdict().items()}
    return Row(
        file=file, source=source, **rounded, area_share=round(share, 6), width=width, height=height,
        dice=round(dice, 4), mask=target, error=error,
    )  # fmt: skip
