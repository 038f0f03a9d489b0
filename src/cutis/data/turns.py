"""Knowledge mining's augmentation: mirror images, a rotation and a transposition, each with a chance of its own.

Knowledge mining, A.1 ("vertical and horizontal flips, rotation, and transpose with a probability of 0.5"). By how much
is turned it does not say: up to 90 degrees either way here, as the library does that its words come from. The corners
that turn out of the picture are black. Differs from the paper in that pictures are letterboxed, as everywhere here, and
not cut to their middle square: what is outside it is asked for when masks are compared at the images' own size.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from cutis.data.augment import Augmented, warped

__all__ = ["Turns"]


class Turns(BaseModel):
    """Chances of each change; the paper: 0.5 for all four."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    horizontal: float = Field(ge=0, le=1)
    vertical: float = Field(ge=0, le=1)
    transpose: float = Field(ge=0, le=1)
    rotation: float = Field(ge=0, le=1)
    rotation_degrees: float = Field(ge=0, le=180, description="at most so far, either way")

    def apply(
        self, image: NDArray[np.uint8], mask: NDArray[np.uint8], size: int, rng: np.random.Generator
    ) -> Augmented:
        """(S0, S0, 3) uint8 and (S0, S0) 0/1 -> the same changed at random, at `size`."""
        matrix = self.matrix(image.shape[0], size, rng)
        pixels = np.asarray(cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR), np.uint8)
        return Augmented(pixels, warped(mask, matrix, size), matrix)

    def matrix(self, source: int, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(2, 3): from pixels of a square of side `source` to those of one of `size`, drawn anew each time.

        >>> never = Turns(horizontal=0, vertical=0, transpose=0, rotation=0, rotation_degrees=0)
        >>> never.matrix(4, 2, np.random.default_rng(0)).tolist()
        [[0.5, 0.0, -0.25], [0.0, 0.5, -0.25]]
        """
        drawn = rng.random(4) < (self.horizontal, self.vertical, self.transpose, self.rotation)
        angle = math.radians(rng.uniform(-self.rotation_degrees, self.rotation_degrees)) if drawn[3] else 0.0
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        mirror = np.diag(np.where(drawn[:2], -1.0, 1.0))
        linear = turn @ (np.eye(2)[::-1] if drawn[2] else np.eye(2)) @ mirror * (size / source)
        middle = np.full(2, (size - 1) / 2) - linear @ np.full(2, (source - 1) / 2)
        return np.column_stack([linear, middle])
