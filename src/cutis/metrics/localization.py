"""Whether a class activation map points at the lesion: IoU, percentage overlap, pointing game; one value an image.

SE-LCN, Sec. 5.3.2, Eq. 1, 8 and 9: activation points X are those of the map above 0.5; the lesion Y is the true mask
dilated twice, by a square kernel of 5% of the image's width (the nearest odd number of pixels, so that it has a
middle). The pointing game (Zhang et al., IJCV 2018) asks whether the highest point lies in Y; of equal highest points,
the share that does.

Lesions sit in the middle of pictures, so any map that prefers the middle scores: print `centred_gaussian` beside each
result. Empty cases: a map without activation points (a dead one) scores 0 and 0, and a map that is the same everywhere
has no highest point: a miss. Without a lesion all three are undefined, NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["ACTIVE", "KERNEL", "Localization", "centred_gaussian", "dilated", "localize"]

ACTIVE = 0.5
"""The value above which a point of the map is an activation point."""
KERNEL = 0.05
"""Side of the dilation's kernel, as a share of the image's width."""


class Localization(NamedTuple):
    """Eq. 8, Eq. 9, and a hit (1) or miss (0) of the pointing game; between 0 and 1, NaN without a lesion."""

    iou: float
    overlap: float
    hit: float


def localize(activation: NDArray[np.floating], mask: NDArray[np.bool_]) -> Localization:
    """(h, w) map in [0, 1] and (H, W) bool true mask of the whole picture -> `Localization`.

    The map, of whatever resolution, is resized bilinearly to the mask's. ValueError for other shapes, types or values.

    >>> mask = np.zeros((40, 40), bool)
    >>> mask[16:24, 16:24] = True
    >>> activation = np.zeros((40, 40), np.float32)
    >>> activation[14:26, 8:26] = 0.8  # the dilated lesion is 12 x 12 pixels, the map's 12 x 18
    >>> activation[20, 20] = 1
    >>> [round(value, 3) for value in localize(activation, mask)]
    [0.667, 0.667, 1.0]
    """
    if mask.dtype != np.bool_ or mask.ndim != 2 or activation.ndim != 2 or not activation.size:
        got = f"{activation.shape}, {mask.dtype} {mask.shape}"
        raise ValueError(f"a (h, w) map and a (H, W) bool mask are needed; got {got}")
    if not (activation.min() >= 0 and activation.max() <= 1):  # NaN is refused too
        raise ValueError(f"the map must lie in [0, 1]; got {activation.min()} to {activation.max()}")
    if not mask.any():
        return Localization(np.nan, np.nan, np.nan)
    height, width = mask.shape
    grown = cv2.resize(activation.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    active, lesion = grown > ACTIVE, dilated(mask)
    shared = np.count_nonzero(active & lesion)
    points = np.count_nonzero(active)
    highest = grown == grown.max()
    hit = 0.0 if highest.all() else np.count_nonzero(highest & lesion) / np.count_nonzero(highest)
    iou = shared / np.count_nonzero(active | lesion)
    return Localization(float(iou), float(shared / points) if points else 0.0, float(hit))


def dilated(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) bool -> (H, W) bool: dilated twice by the square of `KERNEL`; beyond the picture is no lesion.

    >>> mask = np.zeros((60, 60), bool)
    >>> mask[30, 30] = True
    >>> int(dilated(mask).sum())  # a 3 x 3 square, twice
    25
    """
    side = 2 * int(KERNEL * mask.shape[1] / 2) + 1
    pixels = np.ascontiguousarray(mask).view(np.uint8)
    return cv2.dilate(pixels, np.ones((side, side), np.uint8), iterations=2).astype(bool)


def centred_gaussian(height: int, width: int, *, sigma: float) -> NDArray[np.float32]:
    """(H, W) float32 in [0, 1], 1 at the middle; `sigma` is a share of each side. The map of who has seen no lesion.

    >>> bump = centred_gaussian(3, 5, sigma=0.25)
    >>> bump.shape, float(bump[1, 2]), bool(bump[1, 0] == bump[1, 4] < bump[1, 1])
    ((3, 5), 1.0, True)
    """
    down, across = (np.exp(-0.5 * (((np.arange(n) + 0.5) / n - 0.5) / sigma) ** 2) for n in (height, width))
    bump = np.outer(down, across)
    return (bump / bump.max()).astype(np.float32)
