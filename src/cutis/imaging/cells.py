"""Where the cells of a network's last map lie on the picture that it saw, and the map laid over that picture.

A cell stands for what its receptive field is centred on. With the usual padding of a pixel on every side, a convolution
of stride 2 is centred on every other pixel's middle, beginning with the first, so that after five of them cell i looks
at pixel 32 i and not at the middle of the i-th of equal parts: stretching a map over the picture moves it by up to half
a cell to the lower right. On a 4 x 4 map that is an eighth of the picture.

That is the middle of the receptive field. Where the field is larger than the picture, whose border clips it, what a
cell answers to lies nearer to the picture's middle than either rule says (LOG.md has the measurement).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Cells", "spread"]


class Cells(BaseModel):
    """Along both axes, in pixels of the network's input, whose first pixel has its middle at 0.5: `first` is where the
    receptive field of the first cell is centred, `step` how far the next one's is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: float = Field(allow_inf_nan=False)
    step: float = Field(gt=0, allow_inf_nan=False)


def spread(activation: NDArray[np.floating], size: int, cells: Cells) -> NDArray[np.float32]:
    """(h, w) map -> (size, size) float32: each cell's value where it looks, linear between, the outermost beyond.

    >>> spread(np.float32([[0, 1], [0, 1]]), 6, Cells(first=0.5, step=4)).round(2)[0].tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """
    down, across = (_weights(count, size, cells) for count in activation.shape)
    rows = down @ np.asarray(activation, np.float32)
    # Not BLAS: it would take all cores for this, and let them spin long after, in the way of the next picture.
    return np.einsum("ij,jk->ik", rows, np.ascontiguousarray(across.T)).astype(np.float32)


def _weights(count: int, size: int, cells: Cells) -> NDArray[np.float32]:
    """(size, count): how much each cell counts at each pixel; every row sums to 1."""
    place = np.clip((np.arange(size) + 0.5 - cells.first) / cells.step, 0, count - 1)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(count))).astype(np.float32)
