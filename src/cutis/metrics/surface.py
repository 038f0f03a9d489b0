"""Distance between two outlines: the 95th-percentile Hausdorff distance and the normalised surface Dice of one image.

HD95 after Huttenlocher et al. (1993) with the usual percentile; surface Dice after Nikolov et al. (2018), counted in
outline pixels. Both follow MONAI's convention (`compute_hausdorff_distance(percentile=95)`, `compute_surface_dice`):

- the outline is every lesion pixel with a 4-neighbour outside the lesion; beyond the picture's edge is outside;
- a directed distance is taken from each outline pixel of one mask to the nearest outline pixel of the other;
- the percentile (linear between ranks) is taken of each direction alone, and the larger of the two is the answer.
  Others pool both directions first, which gives smaller values where one outline is much longer.

What differs: one exact Euclidean distance transform a direction (`cv2.DIST_MASK_PRECISE`) in place of a search tree.
Empty masks: HD95 of two empty masks is 0, of one empty mask the image's diagonal; surface Dice 1 and 0 (MONAI answers
infinity or NaN, which no mean survives). Reported figures are measured in a 256 x 256 frame: see `segmentation.py`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["SurfaceDistances", "hd95", "outline", "surface_dice", "surface_distances"]

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


class SurfaceDistances(NamedTuple):
    """Pixels from every outline pixel to the nearest one of the other mask, (P,) and (T,) float64; () of an empty mask.

    `diagonal` is the image's, in pixels: the distance that counts where only one mask is empty.
    """

    pred_to_truth: NDArray[np.float64]
    truth_to_pred: NDArray[np.float64]
    diagonal: float


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) bool -> (H, W) bool: the lesion's pixels that have a 4-neighbour outside it, or lie on the picture's edge.

    >>> outline(np.ones((3, 4), bool)).astype(int).tolist()
    [[1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    """
    pixels = np.ascontiguousarray(mask).view(np.uint8)
    inside = cv2.erode(pixels, CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return mask & (inside == 0)


def surface_distances(pred: NDArray[np.bool_], truth: NDArray[np.bool_]) -> SurfaceDistances:
    """(H, W) bool, twice -> `SurfaceDistances`, the one measurement that both figures come from.

    Cut to the box around both masks first: distances within it are the same and large pictures stay cheap. ValueError
    for other types or unequal shapes.
    """
    if pred.dtype != np.bool_ or truth.dtype != np.bool_ or pred.ndim != 2 or pred.shape != truth.shape:
        got = f"{pred.dtype} {pred.shape}, {truth.dtype} {truth.shape}"
        raise ValueError(f"masks must be two (H, W) bool arrays of one shape; got {got}")
    diagonal = math.hypot(*pred.shape)
    nothing = np.empty(0)
    left, top, width, height = cv2.boundingRect((pred | truth).view(np.uint8))
    if width == 0:
        return SurfaceDistances(nothing, nothing, diagonal)
    box = np.s_[top : top + height, left : left + width]
    pred_line, truth_line = outline(pred[box]), outline(truth[box])
    if not pred_line.any() or not truth_line.any():
        far = [np.full(np.count_nonzero(line), diagonal) for line in (pred_line, truth_line)]
        return SurfaceDistances(far[0], far[1], diagonal)
    return SurfaceDistances(_to_nearest(truth_line)[pred_line], _to_nearest(pred_line)[truth_line], diagonal)


def hd95(pred: NDArray[np.bool_], truth: NDArray[np.bool_], *, spacing: float) -> float:
    """(H, W) bool, twice -> the larger of the two directed 95th percentiles; pixels times `spacing` (1 for pixels).

    Two empty masks: 0; one: the image's diagonal.

    >>> pred, truth = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    >>> hd95(pred, truth, spacing=1)
    0.0
    >>> pred[2, 2], truth[5, 6] = True, True
    >>> hd95(pred, truth, spacing=1), hd95(pred, truth, spacing=0.5)
    (5.0, 2.5)
    >>> hd95(pred, np.zeros((8, 8), bool), spacing=1) == 8 * 2**0.5
    True
    """
    return hd95_of(surface_distances(pred, truth)) * spacing


def surface_dice(pred: NDArray[np.bool_], truth: NDArray[np.bool_], *, tolerance: float) -> float:
    """(H, W) bool, twice -> the share of both outlines' pixels within `tolerance` pixels of the other, in [0, 1].

    Two empty masks: 1; one: 0.

    >>> pred, truth = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    >>> pred[2, 2:6], truth[2, 2:4] = True, True
    >>> surface_dice(pred, truth, tolerance=1)
    0.8333333333333334
    >>> surface_dice(pred, truth, tolerance=2)
    1.0
    """
    return surface_dice_of(surface_distances(pred, truth), tolerance=tolerance)


def hd95_of(distances: SurfaceDistances) -> float:
    """`SurfaceDistances` -> HD95 in pixels."""
    directed = [d for d in (distances.pred_to_truth, distances.truth_to_pred) if d.size]
    return float(max((np.percentile(d, 95) for d in directed), default=0.0))


def surface_dice_of(distances: SurfaceDistances, *, tolerance: float) -> float:
    """`SurfaceDistances` -> surface Dice at `tolerance` pixels."""
    both = np.concatenate(distances[:2])
    if both.size == 0:
        return 1.0
    if distances.pred_to_truth.size == 0 or distances.truth_to_pred.size == 0:
        return 0.0
    return float(np.count_nonzero(both <= tolerance) / both.size)


def _to_nearest(line: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(H, W) bool -> (H, W) float64: pixels to the nearest True; exact below 2,000 (squares are whole)."""
    near = cv2.distanceTransform((~line).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE).astype(np.float64)
    return np.sqrt(np.rint(near * near))
