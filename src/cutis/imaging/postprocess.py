"""Clean a predicted mask: one lesion an image, without holes.

Keeps the largest component (8-connected; of equals the first met row by row) and fills the holes it encloses
(background that no 4-connected path leads out of): in dermoscopic segmentation a lesion is one region.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["clean_mask"]


def clean_mask(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) bool -> (H, W) bool, new: the largest component with its holes filled; an empty mask stays empty.

    >>> ring_and_dot = np.zeros((5, 7), bool)
    >>> ring_and_dot[1:4, 1:4] = True
    >>> ring_and_dot[2, 2], ring_and_dot[0, 6] = False, True
    >>> clean_mask(ring_and_dot).astype(int)
    array([[0, 0, 0, 0, 0, 0, 0],
           [0, 1, 1, 1, 0, 0, 0],
           [0, 1, 1, 1, 0, 0, 0],
           [0, 1, 1, 1, 0, 0, 0],
           [0, 0, 0, 0, 0, 0, 0]])
    """
    pixels = np.ascontiguousarray(mask).view(np.uint8)
    filled = np.zeros(mask.shape, np.uint8)
    outline = _largest_without_holes(pixels)
    if outline is None:  # rarely: count every component's pixels
        _, labels = cv2.connectedComponentsWithAlgorithm(pixels, 8, cv2.CV_32S, cv2.CCL_WU)  # labels row by row
        areas = np.bincount(labels.ravel(), minlength=2)
        largest = (labels == 1 + int(areas[1:].argmax())).view(np.uint8)
        outline, _ = cv2.findContours(largest, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(filled, outline, -1, 1, cv2.FILLED)
    return filled.view(np.bool_)


def _largest_without_holes(pixels: NDArray[np.uint8]) -> Sequence[NDArray] | None:
    """The outline of the largest component where outlines alone tell it: when that one has no hole and no equal."""
    contours, hierarchy = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return []
    outer = [k for k, (_, _, _, parent) in enumerate(hierarchy[0].tolist()) if parent < 0]
    if len(outer) == 1:
        return [contours[outer[0]]]
    # Pick's theorem: pixels inside and on a closed outline = area + steps / 2 + 1 (a single pixel takes no step).
    sizes = {k: int(cv2.contourArea(contours[k]) + len(contours[k]) / 2 + 1) for k in outer}
    first, second = sorted(outer, key=sizes.__getitem__, reverse=True)[:2]
    holes = hierarchy[0][first][2] >= 0
    return None if holes or sizes[first] == sizes[second] else [contours[first]]
