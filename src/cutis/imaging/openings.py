"""Openings of a mask by many small elements at once, 64 pixels a word.

Morphology of flat elements commutes with a threshold, so what OpenCV would do to grey values byte by byte is done to
bits, and gives the same mask as `cv2.morphologyEx`. An element that nowhere fits is left as soon as that is seen, which
on a picture without hair is after a few of its pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Offsets", "opened_by_any"]

Offsets = tuple[tuple[int, int], ...]
"""Rows and columns from the centre of a structuring element, of each pixel in it; fewer than 64 away."""
_WORD = 64


def opened_by_any(mask: NDArray[np.bool_], elements: Sequence[Offsets]) -> NDArray[np.bool_]:
    """(H, W) bool -> (H, W) bool, new: pixels that stay in the opening by at least one of `elements`.

    What lies outside the picture counts as set when it is eroded and as unset when it is dilated, as in OpenCV.

    >>> row = np.array([[False, True, True, True, False, True]])
    >>> opened_by_any(row, [((0, -1), (0, 0), (0, 1))]).astype(int)
    array([[0, 1, 1, 1, 0, 0]])
    """
    height, width = mask.shape
    reach = max(max(abs(row), abs(column)) for element in elements for row, column in element)
    columns = sorted({column for element in elements for _, column in element})
    words, inside = _packed(mask, reach)
    moved = {column: _moved(words, column) for column in columns}
    spread = {column: np.zeros((height + 2 * reach, inside.shape[1]), np.uint64) for column in columns}
    for element in elements:
        eroded = np.tile(inside, (height, 1))
        for part in _apart(element):
            for row, column in part:
                np.bitwise_and(eroded, moved[column][reach + row : reach + row + height], out=eroded)
            if not eroded.any():
                break
        else:
            for row, column in element:
                into = spread[column][reach - row : reach - row + height]
                np.bitwise_or(into, eroded, out=into)
    opened = np.zeros((height, inside.shape[1]), np.uint64)
    for column, bits in spread.items():
        edged = np.pad(bits[reach : reach + height], ((0, 0), (1, 1)))
        np.bitwise_or(opened, _moved(edged, column), out=opened)
    return np.unpackbits(opened.view(np.uint8), axis=1, count=width, bitorder="little").view(np.bool_)


def _apart(element: Offsets) -> tuple[Offsets, ...]:
    """The same pixels, those first that lie far apart: what is not as long fails there.

    >>> _apart(((0, 0), (0, 1), (0, 2), (0, 3), (0, 4)))
    (((0, 0), (0, 4)), ((0, 2),), ((0, 1), (0, 3)))
    """
    return element[::4], element[2::4], element[1::2]


def _packed(mask: NDArray[np.bool_], reach: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The mask as little-endian words, between `reach` rows and a word of set bits; and one row of what is inside."""
    height, width = mask.shape
    count = -(-width // _WORD)
    bits = np.ones((height, count * _WORD), np.bool_)
    bits[:, :width] = mask
    words = np.full((height + 2 * reach, count + 2), ~np.uint64(0))
    words[reach : reach + height, 1:-1] = np.packbits(bits, axis=1, bitorder="little").view("<u8")
    inside = np.packbits(np.arange(count * _WORD) < width, bitorder="little").view("<u8").astype(np.uint64)
    return words, inside[None]


def _moved(words: NDArray[np.uint64], column: int) -> NDArray[np.uint64]:
    """(R, n + 2) -> (R, n): bit x is what bit x + column was."""
    if column == 0:
        return np.ascontiguousarray(words[:, 1:-1])
    far, near = np.uint64(_WORD - abs(column)), np.uint64(abs(column))
    if column > 0:
        return (words[:, 1:-1] >> near) | (words[:, 2:] << far)
    return (words[:, 1:-1] << near) | (words[:, :-2] >> far)
