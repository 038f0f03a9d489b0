"""Augmentation that moves image and mask together: one affine warp, then colour; seeded, without global state.

Geometry covers what the bundled model must meet: full frames and close crops, any rotation, either mirror image. Colour
covers lamps and cameras. Hair is drawn now and then, since shaving it off in software costs more than learning to see
past it.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ["Augmentation", "Augmented", "Changes", "augment", "warped"]


class Augmentation(BaseModel):
    """How strongly to change what is seen; 0 switches a part off. `plain` is the share of images only mirrored."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    plain: float = Field(ge=0, le=1)
    rotation_degrees: float = Field(ge=0, le=180)
    zoom: tuple[float, float] = Field(description="smallest and largest factor, log-uniform")
    aspect: float = Field(ge=0, lt=1, description="0.2: width over height changes by up to a factor of 1.2")
    shift: float = Field(ge=0, le=0.5, description="share of the frame")
    brightness: float = Field(ge=0, lt=1)
    contrast: float = Field(ge=0, lt=1, description="as brightness: a gain of all channels, before it")
    gamma: float = Field(ge=0, lt=1)
    tint: float = Field(ge=0, lt=1, description="gain of each channel on its own")
    saturation: float = Field(ge=0, lt=1)
    blur: float = Field(ge=0, le=1, description="share of images blurred")
    hair: float = Field(ge=0, le=1, description="share of images with drawn hair")

    @field_validator("zoom")
    @classmethod
    def _is_a_range(cls, zoom: tuple[float, float]) -> tuple[float, float]:
        if not 0 < zoom[0] <= zoom[1]:
            raise ValueError("give two factors above 0, the smaller first")
        return zoom

    def apply(
        self, image: NDArray[np.uint8], mask: NDArray[np.uint8], size: int, rng: np.random.Generator
    ) -> Augmented:
        """As `augment`: what a batch asks of any augmentation (`Changes`)."""
        return augment(image, mask, size, self, rng)


class Changes(Protocol):
    """Any augmentation: this one, or a paper's own (`eightfold.py`)."""

    def apply(
        self, image: NDArray[np.uint8], mask: NDArray[np.uint8], size: int, rng: np.random.Generator
    ) -> Augmented:
        """(S0, S0, 3) uint8 and (S0, S0) 0/1 -> the same changed at random, at `size`."""
        ...


class Augmented(NamedTuple):
    """(S, S, 3) uint8, (S, S) uint8 of 0 and 1, and the (2, 3) affine `matrix` from old pixels to new."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    matrix: NDArray[np.float64]


def augment(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], size: int, how: Augmentation, rng: np.random.Generator
) -> Augmented:
    """(S0, S0, 3) uint8 and (S0, S0) 0/1 -> the same changed at random, at `size`."""
    plain = rng.random() < how.plain
    matrix = _affine(image.shape[0], size, None if plain else how, rng)
    image = _bytes(cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR))
    mask = warped(mask, matrix, size)
    if plain:
        return Augmented(image, mask, matrix)
    if rng.random() < how.hair:
        image = _draw_hair(image, rng)
    if rng.random() < how.blur:
        image = _bytes(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4) * size / 256))
    return Augmented(_recolour(image, how, rng), mask, matrix)


def warped(mask: NDArray[np.uint8], matrix: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """(S0, S0) of 0 and 1 -> (size, size) of 0 and 1, moved by `matrix`; 0 where it did not reach.

    >>> warped(np.array([[0, 1], [0, 0]], np.uint8), np.array([[-1.0, 0, 1], [0, 1, 0]]), 2).tolist()
    [[1, 0], [0, 0]]
    """
    grey = _bytes(cv2.warpAffine(mask * np.uint8(255), matrix, (size, size), flags=cv2.INTER_LINEAR))
    return grey // np.uint8(128)


def _affine(source: int, size: int, how: Augmentation | None, rng: np.random.Generator) -> NDArray[np.float64]:
    """(2, 3): from source pixels to output pixels, about both centres; always mirrored at random."""
    mirror = rng.choice([-1.0, 1.0], 2)
    stretch, angle = mirror, 0.0
    shift: NDArray[np.float64] = np.zeros(2)
    if how is not None:
        zoom = math.exp(rng.uniform(math.log(how.zoom[0]), math.log(how.zoom[1])))
        ratio = (1 + how.aspect) ** rng.uniform(-0.5, 0.5)
        stretch = mirror * zoom * np.array([ratio, 1 / ratio])
        angle = math.radians(rng.uniform(-how.rotation_degrees, how.rotation_degrees))
        shift = rng.uniform(-how.shift, how.shift, 2) * size
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = turn @ np.diag(stretch) * (size / source)
    centre_in, centre_out = np.full(2, (source - 1) / 2), np.full(2, (size - 1) / 2)
    return np.column_stack([linear, centre_out + shift - linear @ centre_in])


def _recolour(image: NDArray[np.uint8], how: Augmentation, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Gamma, contrast, brightness and tint as one table a channel, then saturation; black padding stays near black."""
    ramp = np.linspace(0, 1, 256)
    ramp = ramp ** ((1 + how.gamma) ** rng.uniform(-1, 1))
    ramp = ramp * (1 + rng.uniform(-how.contrast, how.contrast))
    gains = 1 + rng.uniform(-how.tint, how.tint, 3) + rng.uniform(-how.brightness, how.brightness)
    table = np.clip(ramp[:, None] * gains * 255, 0, 255).astype(np.uint8)[None]
    image = _bytes(cv2.LUT(image, table))
    if how.saturation:
        keep = 1 + rng.uniform(-how.saturation, how.saturation)
        grey = np.full((3, 1), 1 - keep) * np.array([0.299, 0.587, 0.114])
        image = _bytes(cv2.transform(image, np.eye(3) * keep + grey))
    return image


def _draw_hair(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Dark or pale curved lines across the picture, in the same share of its width at every size."""
    size = image.shape[0]
    image = image.copy()
    shade = rng.uniform(10, 90, 3) if rng.random() < 0.85 else rng.uniform(170, 230, 3)
    for _ in range(rng.integers(3, 25)):
        start, end = rng.uniform(0, size, 2), rng.uniform(0, size, 2)
        bend = (start + end) / 2 + rng.normal(0, 0.12 * size, 2)
        t = np.linspace(0, 1, 12)[:, None]
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
        thickness = max(1, round(rng.uniform(0.6, 1.6) * size / 256))
        cv2.polylines(image, [np.round(curve * 8).astype(np.int32)], False, shade.tolist(), thickness, cv2.LINE_AA, 3)
    return image


def _bytes(array: NDArray) -> NDArray[np.uint8]:
    """The same array: OpenCV keeps uint8, its type hints do not know it."""
    return np.asarray(array, np.uint8)
