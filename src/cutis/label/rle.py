"""Run lengths of a mask as COCO counts them: column by column from the top left, the zeros first.

Lin and others, *Microsoft COCO* (2014), and its Python tools: the uncompressed form, a list of counts, which they and
annotation programs read where `iscrowd` is 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["run_lengths"]


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """(H, W) bool -> counts of pixels outside, inside, outside, ...; they add up to H W.

    >>> run_lengths(np.array([[0, 1, 1], [0, 0, 1]], bool))
    [2, 1, 1, 2]
    >>> run_lengths(np.ones((2, 2), bool))
    [0, 4]
    """
    down = mask.ravel(order="F")
    edges = np.flatnonzero(down[1:] != down[:-1]) + 1
    counts = np.diff(edges, prepend=0, append=down.size).tolist()
    return [0, *counts] if down.size and down[0] else counts
