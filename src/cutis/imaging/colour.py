"""Even out contrast and colour between cameras: CLAHE, and Reinhard's colour transfer.

SparseSegNet, Sec. 4.2: "CLAHE is applied per RGB channel using 8x8 tiles (clip limit 2.0), followed by color
normalization via Reinhard's method in LAB space to match the training domain's global statistics" (Reinhard et al.,
Color transfer between images, 2001). LAB here is CIELAB on OpenCV's 8-bit scale (L 0..255, a and b around 128), not the
l-alpha-beta of Reinhard's article: that is what "LAB" means in the tools of this field.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["clahe", "lab_statistics", "reinhard"]

Triple = tuple[float, float, float]


def clahe(rgb: NDArray[np.uint8], *, tiles: int = 8, clip: float = 2.0) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 -> the same: contrast-limited adaptive histogram equalisation of each channel by itself.

    >>> grey = np.tile(np.arange(100, 164, dtype=np.uint8)[:, None, None], (1, 64, 3))
    >>> out = clahe(grey)
    >>> bool(np.ptp(out) > np.ptp(grey))
    True
    """
    equaliser = cv2.createCLAHE(clipLimit=clip, tileGridSize=(tiles, tiles))
    return np.asarray(cv2.merge([equaliser.apply(channel) for channel in cv2.split(rgb)]), np.uint8)


def reinhard(rgb: NDArray[np.uint8], mean: Triple, std: Triple) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 -> the same, its LAB channels shifted and scaled to `mean` and `std` (see `lab_statistics`).

    A channel without any contrast is shifted only. Values that leave the scale are clipped.

    >>> flat = np.full((4, 4, 3), 90, np.uint8)
    >>> reinhard(flat, mean=(128.0, 128.0, 128.0), std=(20.0, 5.0, 5.0))[0, 0].tolist()
    [119, 119, 119]
    """
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    own_mean, own_std = (values.ravel() for values in cv2.meanStdDev(lab))
    scale = np.where(own_std > 1e-6, np.asarray(std) / np.maximum(own_std, 1e-6), 1.0)
    steps = np.arange(256)[:, None]
    table = np.clip(np.rint((steps - own_mean) * scale + mean), 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(cv2.LUT(lab, table[:, None]), cv2.COLOR_LAB2RGB), np.uint8)


def lab_statistics(images: Iterable[NDArray[np.uint8]]) -> tuple[Triple, Triple]:
    """Mean and standard deviation of L, a, b over all pixels of all images, one image in memory at a time.

    Sums of integers, so the order of the images does not matter.

    >>> lab_statistics([np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)])
    ((127.5, 128.0, 128.0), (127.5, 0.0, 0.0))
    """
    levels = np.arange(256, dtype=np.int64)
    count, total, squares = 0, np.zeros(3, np.int64), np.zeros(3, np.int64)
    for rgb in images:
        lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).reshape(-1, 3)
        histogram = np.stack([np.bincount(lab[:, channel], minlength=256) for channel in range(3)])
        count += len(lab)
        total += histogram @ levels
        squares += histogram @ levels**2
    if not count:
        raise ValueError("no images: the statistics of nothing are not defined")
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return tuple(mean.tolist()), tuple(std.tolist())
