"""SLSNet's augmentation: mirror images, gamma and CLAHE, as eight versions of every picture or drawn anew each time.

SLSNet, Sec. 4.3 and Table 2 (2,594 images become 20,752: eight of each). The paper does not list the eight; these are
what its words give: the picture, both mirror images, gamma 0.5 and 1.5 (1.0 is the picture itself), and CLAHE with the
limits 1.0, 1.5 and 2.0. Online, which the paper found "more or less similar", every part is drawn on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from cutis.data.augment import Augmented
from cutis.data.cache import SegmentationCache, derived
from cutis.imaging.colour import clahe

__all__ = ["Eightfold", "eightfold", "versions_of"]

GAMMAS = (0.5, 1.0, 1.5)
CLIPS = (1.0, 2.0)
TILE = 32
VERSIONS = 8


class Eightfold(BaseModel):
    """`when`: offline, eight fixed versions of each training picture; online, drawn for every batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    when: Literal["offline", "online"]
    clahe: float = Field(ge=0, le=1, description="online: the share of pictures whose contrast is equalised")

    def apply(
        self, image: NDArray[np.uint8], mask: NDArray[np.uint8], size: int, rng: np.random.Generator
    ) -> Augmented:
        """(S0, S0, 3) uint8 and (S0, S0) 0/1 -> the same changed at random as online, at `size`."""
        source, mirror = image.shape[0], rng.choice([-1.0, 1.0], 2)
        image = gamma(image, GAMMAS[rng.integers(len(GAMMAS))])
        if rng.random() < self.clahe:
            image = equalised(image, rng.uniform(*CLIPS))
        image, mask = (_mirrored(array, mirror) for array in (image, mask))
        if size != source:
            image = _bytes(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA))
            grey = _bytes(cv2.resize(mask * np.uint8(255), (size, size), interpolation=cv2.INTER_AREA))
            mask = grey // np.uint8(128)
        scale = mirror * size / source
        shift = (size - 1) / 2 - scale * (source - 1) / 2
        return Augmented(image, mask, np.column_stack([np.diag(scale), shift]))


def versions_of(image: NDArray[np.uint8], mask: NDArray[np.uint8], version: int) -> tuple[NDArray, NDArray]:
    """(S, S, 3) uint8 and (S, S) 0/1 -> the `version`th of the eight, 0 the picture itself.

    >>> image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    >>> len({versions_of(image, image[..., 0], n)[0].tobytes() for n in range(VERSIONS)})
    8
    """
    if version in (1, 2):
        mirror = np.array([-1.0, 1.0]) if version == 1 else np.array([1.0, -1.0])
        return _mirrored(image, mirror), _mirrored(mask, mirror)
    if version in (3, 4):
        return gamma(image, GAMMAS[0] if version == 3 else GAMMAS[2]), mask
    if version >= 5:
        return equalised(image, float(np.linspace(*CLIPS, 3)[version - 5])), mask
    return image, mask


def eightfold(cache: SegmentationCache, progress: Callable[[int, int], None]) -> SegmentationCache:
    """The cache with eight versions of each sample in a row, kept beside it: eight times its room on the disk."""
    samples = [sample for sample in cache.samples for _ in range(VERSIONS)]

    def version(index: int) -> tuple:
        where = index // VERSIONS
        image, mask = np.asarray(cache.images[where]), np.asarray(cache.masks[where])
        return *versions_of(image, mask, index % VERSIONS), cache.frames[where]

    return derived(cache, "eightfold", f"{GAMMAS}:{CLIPS}:{TILE}:1", samples, version, progress)


def gamma(image: NDArray[np.uint8], power: float) -> NDArray[np.uint8]:
    """(S, S, 3) uint8 -> 255 (image / 255) ** power, rounded.

    >>> gamma(np.array([[[0, 64, 255]]], np.uint8), 0.5).tolist()
    [[[0, 128, 255]]]
    """
    table = np.rint(255 * (np.arange(256) / 255) ** power).astype(np.uint8)
    return table[image]


def equalised(image: NDArray[np.uint8], clip: float) -> NDArray[np.uint8]:
    """(S, S, 3) uint8 -> CLAHE of each channel with this limit; the black padding stays black.

    Eight tiles a side from 256 pixels on, fewer below: a limit is a number of pixels of a tile, and of tiles of 16 x 16
    every limit between 1 and 2 is the same one.
    """
    out = clahe(image, tiles=max(1, min(8, image.shape[0] // TILE)), clip=clip)
    out[~image.any(axis=-1)] = 0
    return out


def _mirrored(array: NDArray[np.uint8], mirror: NDArray[np.float64]) -> NDArray[np.uint8]:
    """-1 in the first place: left and right change; in the second: top and bottom."""
    return np.ascontiguousarray(array[:: int(mirror[1]), :: int(mirror[0])])


def _bytes(array: NDArray) -> NDArray[np.uint8]:
    return np.asarray(array, np.uint8)
