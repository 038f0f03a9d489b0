"""A segmenter that looks at an image four times, as it is and mirrored, and how far the four looks agree.

The mean of the four is what is marked. How sure it is of its mask: the Dice coefficient that the mask has with the
truth if each pixel's probability is right, times the mean Dice of the four masks with the one they make together. Which
of such measures finds the worst masks is measured in docs/labelling.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutis.imaging.frame import Frame
from cutis.imaging.postprocess import clean_mask
from cutis.imaging.preprocessing import Preprocessing
from cutis.metrics.overlap import count, dice

__all__ = ["Flips", "Sureness", "sureness"]

_LOOKS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
"""Steps down and across: as it is, mirrored left to right, top to bottom, both."""


class Sureness(NamedTuple):
    """`expected`: the Dice that the network's probabilities promise; `agreement`: of the four looks. Both 0 where
    nothing is found."""

    expected: float
    agreement: float

    @property
    def product(self) -> float:
        return self.expected * self.agreement


class Flips:
    """In the place of `model`, which has a `preprocessing`, a `threshold` and gives `probability`; for one image at a
    time. `seen` (4, S, S) are its four answers about the last one, turned back."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.preprocessing: Preprocessing = model.preprocessing
        self.threshold: float = model.threshold
        self.seen: NDArray[np.float32] = np.zeros((4, 0, 0), np.float32)

    def probability(self, square: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(S, S, 3) uint8 RGB, preprocessed -> (1, S, S) float32, the mean of four looks."""
        found = self.model.probability(np.stack([square[::down, ::across] for down, across in _LOOKS]))
        self.seen = np.stack([one[::down, ::across] for one, (down, across) in zip(found, _LOOKS, strict=True)])
        return self.seen.mean(0, keepdims=True)


def sureness(seen: NDArray[np.float32], threshold: float, width: int, height: int) -> Sureness:
    """Four looks (4, S, S) at an image of `width` x `height` in its letterbox -> how sure its mask is.

    >>> seen = np.zeros((4, 8, 8), np.float32)
    >>> seen[:, 2:6, 2:6] = 0.75
    >>> [round(value, 3) for value in sureness(seen, 0.5, 8, 8)]
    [0.857, 1.0]
    """
    frame = Frame.fit(width, height, seen.shape[1])
    mean = frame.crop(seen.mean(0))
    whole = clean_mask(mean > threshold)
    if not whole.any():
        return Sureness(0.0, 0.0)
    expected = 2 * float(mean[whole].sum()) / (float(mean.sum()) + int(np.count_nonzero(whole)))
    masks = np.stack([clean_mask(frame.crop(one) > threshold) for one in seen])
    return Sureness(expected, float(dice(count(masks, np.broadcast_to(whole, masks.shape))).mean()))
