"""Openings of a mask by many small elements at once, 64 pixels a word.

Morphology of flat elements commutes with a threshold, so what OpenCV would do to grey values byte by byte is done to
bits, and gives the same mask as `cv2.morphologyEx`. An element that nowhere fits is left as soon as that is seen, which
on a picture without hair is after a few of its pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

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
    reach, columns = _reached(tuple(elements))
    words, inside = _packed(mask, reach)
    length = len(inside)  # words a row
    moved = {column: _moved(words, column) for column in columns}
    spread: dict[int, NDArray[np.uint64]] = {}  # column -> what stays, before it is moved there
    frame = np.tile(inside, height)
    eroded = np.empty_like(frame)
    # The picture's rows, so many further down.
    down = {row: slice((reach + row) * length, (reach + row + height) * length) for row in range(-reach, reach + 1)}
    for element in elements:
        np.copyto(eroded, frame)
        for part in _apart(element):
            for row, column in part:
                np.bitwise_and(eroded, moved[column][down[row]], out=eroded)
            if not eroded.any():
                break
        else:
            for row, column in element:
                if column not in spread:
                    spread[column] = np.zeros_like(words)
                into = spread[column][1:-1][down[-row]]
                np.bitwise_or(into, eroded, out=into)
    opened = np.zeros_like(frame)
    for column, bits in spread.items():
        np.bitwise_or(opened, _moved(bits, column)[down[0]], out=opened)
    rows = opened.view(np.uint8).reshape(height, -1)
    return np.unpackbits(rows, axis=1, count=width, bitorder="little").view(np.bool_)


@lru_cache(maxsize=16)
def _reached(elements: tuple[Offsets, ...]) -> tuple[int, frozenset[int]]:
    """How far they reach from their centres, and the columns that are in them."""
    columns = frozenset(column for element in elements for _, column in element)
    return max(*(abs(row) for element in elements for row, _ in element), *map(abs, columns)), columns


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
    length = -(-width // _WORD) + 1
    bytes_ = np.packbits(mask, axis=1, bitorder="little")
    words = np.full((height + 2 * reach) * length + 2, ~np.uint64(0))
    rows = words[1:-1].view(np.uint8).reshape(-1, 8 * length)[reach : reach + height]
    rows[:, : bytes_.shape[1]] = bytes_
    if over := width % 8:
        rows[:, bytes_.shape[1] - 1] |= np.uint8(0xFF << over & 0xFF)
    inside = np.packbits(np.arange(length * _WORD) < width, bitorder="little").view("<u8")
    return words, inside.astype(np.uint64)


def _moved(words: NDArray[np.uint64], column: int) -> NDArray[np.uint64]:
    """All words but the first and the last; bit x of a row is what bit x + column was."""
    if column == 0:
        return words[1:-1]
    far, near = np.uint64(_WORD - abs(column)), np.uint64(abs(column))
    if column > 0:
        found = words[1:-1] >> near
        found |= words[2:] << far
    else:
        found = words[1:-1] << near
        found |= words[:-2] >> far
    return found
