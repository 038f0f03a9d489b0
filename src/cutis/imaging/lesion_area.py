"""What a classifier sees of an image: everything, the lesion's pixels, or the box around them (LAE).

SE-LCN, Sec. 4.1.1 and Fig. 3. "segmentation" blackens every pixel outside the mask; "lae" (lesion area extraction)
keeps the mask's bounding box, dilated by 1.4 about its centre and clipped to the image. One implementation for
training, calibration and analysis. The mask is applied last, after hair removal and colour steps: what lies outside is
exactly black for the network, and no colour statistic or black-hat is taken from a blackened image.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutis.errors import CutisError
from cutis.imaging.frame import letterbox
from cutis.imaging.preprocessing import Preprocessing

__all__ = ["DILATION", "Box", "Masking", "lesion_box", "mask_area", "prepare_classifier_image"]

Masking = Literal["none", "segmentation", "lae"]
DILATION = 1.4  # of the paper


class Box(NamedTuple):
    """Rows `top` to `bottom` and columns `left` to `right`, the last of each not included; pixels."""

    top: int
    bottom: int
    left: int
    right: int


def lesion_box(mask: NDArray[np.bool_], dilation: float) -> Box:
    """(H, W) bool -> the mask's bounding box, its sides times `dilation` about its centre, clipped to the image.

    >>> mask = np.zeros((20, 30), bool)
    >>> mask[8:13, 0:10] = True
    >>> lesion_box(mask, 1.4)
    Box(top=7, bottom=14, left=0, right=12)
    """
    if not mask.any():
        raise CutisError("the mask is empty: without a lesion there is no lesion area to keep")
    top, bottom = _dilated(np.asarray(mask.any(1)), dilation)
    left, right = _dilated(np.asarray(mask.any(0)), dilation)
    return Box(top, bottom, left, right)


def _dilated(occupied: NDArray[np.bool_], dilation: float) -> tuple[int, int]:
    first, last = np.flatnonzero(occupied)[[0, -1]]
    middle, half = (first + last + 1) / 2, (last + 1 - first) * dilation / 2
    return max(0, round(middle - half)), min(len(occupied), round(middle + half))


def mask_area(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], strategy: Masking, dilation: float = DILATION
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 and (H, W) bool -> (H, W, 3) uint8 with black outside the area that `strategy` keeps.

    An empty mask raises `CutisError`, except with "none", which gives the image as it is.

    >>> image, mask = np.full((4, 5, 3), 9, np.uint8), np.eye(4, 5, dtype=bool)
    >>> [int((mask_area(image, mask, strategy) > 0).sum()) // 3 for strategy in ("none", "segmentation", "lae")]
    [20, 4, 20]
    """
    if strategy == "none":
        return image
    if image.shape[:2] != mask.shape:
        raise ValueError(f"the image is {image.shape[:2]}, its mask {mask.shape}")
    box = lesion_box(mask, dilation)
    if strategy == "segmentation":
        return image * mask[..., None]
    kept = np.zeros_like(image)
    where = np.s_[box.top : box.bottom, box.left : box.right]
    kept[where] = image[where]
    return kept


def prepare_classifier_image(
    picture: NDArray[np.uint8], mask: NDArray[np.bool_] | None, preprocessing: Preprocessing, masking: Masking
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB and its (H, W) bool mask -> (S, S, 3) uint8 RGB, a classifier's input.

    Letterbox, the optional steps of `preprocessing`, then the mask, letterboxed as its picture. `mask` may be None only
    with "none".

    >>> picture, mask = np.full((30, 40, 3), 200, np.uint8), np.zeros((30, 40), bool)
    >>> mask[10:20, 10:30] = True
    >>> steps = Preprocessing(size=64, mean=(0.7, 0.55, 0.5), std=(0.15, 0.15, 0.17))
    >>> square = prepare_classifier_image(picture, mask, steps, "segmentation")
    >>> square.shape, int((square[..., 0] > 0).sum())
    ((64, 64, 3), 512)
    """
    square = preprocessing.apply(picture).square
    if masking == "none":
        return square
    if mask is None or mask.shape != picture.shape[:2]:
        raise ValueError(f"the image is {picture.shape[:2]}, its mask {None if mask is None else mask.shape}")
    small, _ = letterbox(mask.astype(np.uint8) * 255, preprocessing.size)
    return mask_area(square, small >= 128, masking)
