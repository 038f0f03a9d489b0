"""Letterbox: fit an image into a square with its aspect kept and zero padding, and the exact way back.

SparseSegNet, Sec. 4.2 ("bilinear interpolation with aspect-preserving zero-padding"). Where a large image shrinks, the
pixels are averaged over their area instead: plain bilinear sampling of a 4000-pixel photo skips most of it.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Frame", "letterbox"]


class Frame(NamedTuple):
    """Where an image of `width` x `height` lies inside a square of side `size`: its corner (`left`, `top`) and extent.

    >>> frame = Frame.fit(width=600, height=450, size=256)
    >>> frame
    Frame(width=600, height=450, size=256, left=0, top=32, inner_width=256, inner_height=192)
    """

    width: int
    height: int
    size: int
    left: int
    top: int
    inner_width: int
    inner_height: int

    @classmethod
    def fit(cls, width: int, height: int, size: int) -> Frame:
        scale = size / max(width, height)
        inner_width, inner_height = max(1, round(width * scale)), max(1, round(height * scale))
        return cls(
            width, height, size, (size - inner_width) // 2, (size - inner_height) // 2, inner_width, inner_height
        )

    def crop(self, square: NDArray) -> NDArray:
        """(size, size[, C]) -> (inner_height, inner_width[, C]): the part of the square that is image; a view."""
        return square[self.top : self.top + self.inner_height, self.left : self.left + self.inner_width]

    def restore(self, square: NDArray, width: int | None = None, height: int | None = None) -> NDArray:
        """(size, size[, C]) -> (height, width[, C]): out of the square, at the image's own size, bilinear."""
        return cv2.resize(
            self.crop(square), (width or self.width, height or self.height), interpolation=cv2.INTER_LINEAR
        )


def letterbox(image: NDArray, size: int) -> tuple[NDArray, Frame]:
    """(H, W[, C]) uint8 or float -> (size, size[, C]) of the same type, and the `Frame` that undoes it.

    A mask (0 or 255) goes through the same call and is then cut at 128, so that it shrinks by area as its image does.

    >>> square, frame = letterbox(np.full((450, 600, 3), 200, np.uint8), 256)
    >>> square.shape, int(square[0, 0, 0]), int(square[128, 128, 0])
    ((256, 256, 3), 0, 200)
    >>> frame.restore(square).shape
    (450, 600, 3)
    """
    height, width = image.shape[:2]
    frame = Frame.fit(width, height, size)
    how = cv2.INTER_AREA if frame.inner_width < width else cv2.INTER_LINEAR
    inner = cv2.resize(image, (frame.inner_width, frame.inner_height), interpolation=how)
    if inner.shape[:2] == (size, size):
        return inner, frame
    square = np.zeros((size, size, *image.shape[2:]), image.dtype)
    frame.crop(square)[...] = inner
    return square, frame
