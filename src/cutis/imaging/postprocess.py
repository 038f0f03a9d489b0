"""Clean a predicted mask: one lesion an image, without holes.

Keeps the largest component (8-connected; of equals the first met row by row) and fills the holes it encloses
(background that no 4-connected path leads out of): in dermoscopic segmentation a lesion is one region.
"""

from __future__ import annotations

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
    outlines = _outlines(pixels)
    if len(outlines) > 1:
        _, labels = cv2.connectedComponentsWithAlgorithm(pixels, 8, cv2.CV_32S, cv2.CCL_WU)  # labels row by row
        areas = np.bincount(labels.ravel())
        outlines = _outlines((labels == 1 + int(areas[1:].argmax())).view(np.uint8))
    filled = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    return filled.view(np.bool_)


def _outlines(pixels: NDArray[np.uint8]) -> list[NDArray]:
    """One outer contour a component, also of a component that lies in another's hole."""
    contours, hierarchy = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return (
        [contour for contour, (*_, parent) in zip(contours, hierarchy[0], strict=True) if parent < 0]
        if contours
        else []
    )
