"""Every measure of one predicted mask: overlap at the image's own resolution, outline distances in a 256 x 256 frame.

SparseSegNet, Sec. 4 (HD95 in pixels at 256 x 256); ISIC 2018, task 1 (overlap at native resolution). Both masks go into
the frame by the letterbox that images go through, cut at one half; so a pixel of HD95 is the same share of any picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cutis.imaging.frame import letterbox
from cutis.metrics import overlap
from cutis.metrics.surface import hd95_of, surface_dice_of, surface_distances

__all__ = ["FRAME", "MEASURES", "TOLERANCE", "measure"]

FRAME = 256
"""Side of the square in which outline distances are measured, pixels."""
TOLERANCE = 2.0
"""Outline error that surface Dice forgives, pixels of that square."""

OVERLAP = {
    "dice": overlap.dice,
    "jaccard": overlap.jaccard,
    "thresholded_jaccard": overlap.thresholded_jaccard,
    "accuracy": overlap.accuracy,
    "sensitivity": overlap.sensitivity,
    "specificity": overlap.specificity,
}
MEASURES = (*OVERLAP, "hd95_256", "surface_dice_256")
"""Names of the values that `measure` gives, in the order of the tables."""


def measure(pred: NDArray[np.bool_], truth: NDArray[np.bool_]) -> dict[str, float]:
    """(H, W) bool, twice -> the value of every one of `MEASURES`. NaN: undefined for this truth (see `overlap.py`).

    >>> truth = np.zeros((300, 400), bool)
    >>> truth[100:200, 100:300] = True
    >>> pred = np.roll(truth, 10, axis=1)
    >>> values = measure(pred, truth)
    >>> {name: round(value, 3) for name, value in values.items()}  # doctest: +NORMALIZE_WHITESPACE
    {'dice': 0.95, 'jaccard': 0.905, 'thresholded_jaccard': 0.905, 'accuracy': 0.983, 'sensitivity': 0.95,
     'specificity': 0.99, 'hd95_256': 6.0, 'surface_dice_256': 0.663}
    """
    counts = overlap.count(pred, truth)
    values = {name: float(formula(counts)) for name, formula in OVERLAP.items()}
    distances = surface_distances(in_frame(pred), in_frame(truth))
    return values | {
        "hd95_256": hd95_of(distances),
        "surface_dice_256": surface_dice_of(distances, tolerance=TOLERANCE),
    }


def in_frame(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) bool -> (256, 256) bool, letterboxed."""
    square, _ = letterbox(np.ascontiguousarray(mask).view(np.uint8) * 255, FRAME)
    return square >= 128
