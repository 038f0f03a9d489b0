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
    words, inside = _packed(mask, reach)
    columns = {column for element in elements for _, column in element}
    moved = {column: _moved(words, column, len(inside)) for column in columns}
    spread = {column: np.zeros_like(words) for column in columns}
    rows = {column: _rows(spread[column], len(inside)) for column in columns}
    for element in elements:
        eroded = np.tile(inside, (height, 1))
        for part in _apart(element):
            for row, column in part:
                np.bitwise_and(eroded, moved[column][reach + row : reach + row + height], out=eroded)
            if not eroded.any():
                break
        else:
            for row, column in element:
                into = rows[column][reach - row : reach - row + height]
                np.bitwise_or(into, eroded, out=into)
    opened = np.zeros((height, len(inside)), np.uint64)
    for column, bits in spread.items():
        np.bitwise_or(opened, _moved(bits, column, len(inside))[reach : reach + height], out=opened)
    return np.unpackbits(opened.view(np.uint8), axis=1, count=width, bitorder="little").view(np.bool_)


def _apart(element: Offsets) -> tuple[Offsets, ...]:
    """The same pixels, those first that lie far apart: what is not as long fails there.

    >>> _apart(((0, 0), (0, 1), (0, 2), (0, 3), (0, 4)))
    (((0, 0), (0, 4)), ((0, 2),), ((0, 1), (0, 3)))
    """
    return element[::4], element[2::4], element[1::2]


def _packed(mask: NDArray[np.bool_], reach: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The mask as little-endian words, one row after the other, and one row of what is inside.

    A word of set bits follows each row and one is before the first, `reach` rows of them are above and below: what is
    moved out of a row or into it is never another row's.
    """
    height, width = mask.shape
    count = -(-width // _WORD)
    bits = np.ones((height, (count + 1) * _WORD), np.bool_)
    bits[:, :width] = mask
    words = np.full((height + 2 * reach) * (count + 1) + 2, ~np.uint64(0))
    _rows(words, count + 1)[reach : reach + height] = np.packbits(bits, axis=1, bitorder="little").view("<u8")
    inside = np.packbits(np.arange((count + 1) * _WORD) < width, bitorder="little").view("<u8")
    return words, inside.astype(np.uint64)


def _rows(words: NDArray[np.uint64], length: int) -> NDArray[np.uint64]:
    """The words without the first and the last as rows; a view."""
    return words[1:-1].reshape(-1, length)


def _moved(words: NDArray[np.uint64], column: int, length: int) -> NDArray[np.uint64]:
    """Rows whose bit x is what bit x + column was."""
    if column == 0:
        return _rows(words, length)
    far, near = np.uint64(_WORD - abs(column)), np.uint64(abs(column))
    if column > 0:
        found = words[1:-1] >> near
        found |= words[2:] << far
    else:
        found = words[1:-1] << near
        found |= words[:-2] >> far
    return found.reshape(-1, length)
