"""What happens to an image before a network sees it: one description, one implementation, for training and analysis.

SparseSegNet, Sec. 4.2, in its order: (hair removal,) CLAHE, Reinhard, LoG fusion, letterbox. Each step is optional.
Scaling to [0, 1] and standardising happen inside the network's graph with `mean` and `std`. The description travels in
the ONNX metadata of a model (`cutis.preprocessing`, JSON) and in the run folder of a training.

Differs from the paper in one point: the letterbox comes first, so that a step costs the same for every photo; sigma and
tiles are then in pixels of the network's frame.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cutis.imaging.frame import Frame, letterbox

__all__ = ["LabStatistics", "Prepared", "Preprocessing"]


class LabStatistics(BaseModel):
    """Mean and standard deviation of a training set in LAB (OpenCV's 8-bit scale), Reinhard's target."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Prepared(NamedTuple):
    """(size, size, 3) uint8 RGB, ready for the network, and the frame that leads back to the image."""

    square: NDArray[np.uint8]
    frame: Frame


class Preprocessing(BaseModel):
    """How an image becomes a network's input.

    >>> steps = Preprocessing(size=64, mean=(0.7, 0.55, 0.5), std=(0.15, 0.15, 0.17))
    >>> steps.apply(np.zeros((30, 40, 3), np.uint8)).square.shape
    (64, 64, 3)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    size: int
    hair_removal: bool = False
    clahe: bool = False
    reinhard: LabStatistics | None = None
    log_fusion: bool = False
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def apply(self, image: NDArray[np.uint8]) -> Prepared:
        """(H, W, 3) uint8 RGB -> the network's square and its frame."""
        square, frame = letterbox(image, self.size)
        return Prepared(self.recolour(square, frame), frame)

    def recolour(self, square: NDArray[np.uint8], frame: Frame) -> NDArray[np.uint8]:
        """(size, size, 3) uint8, letterboxed -> the same after the optional steps; the padding stays black."""
        if not (self.hair_removal or self.clahe or self.reinhard or self.log_fusion):
            return square
        from cutis.imaging import colour, edges, hair

        inner = np.ascontiguousarray(frame.crop(square))
        if self.hair_removal:
            inner = hair.remove_hair(inner).image
        if self.clahe:
            inner = colour.clahe(inner)
        if self.reinhard:
            inner = colour.reinhard(inner, self.reinhard.mean, self.reinhard.std)
        if self.log_fusion:
            inner = edges.log_fusion(inner)
        out = np.zeros_like(square)
        frame.crop(out)[...] = inner
        return out
