"""Weighted cross-entropy of the two classifiers, and the weights that balance their classes.

SE-LCN, Sec. 4.1.2-4.1.3, Eq. 5-7. The sum of Eq. 7 runs over the classes of one image; the mean over images is the
caller's, and, unlike torch's own weighted mean, not divided by the sum of the weights. Eq. 6 is Eq. 7 with weight 1 for
"asymmetric": it weighs only "symmetric".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from cutis.errors import CutisError

__all__ = ["class_weights", "symmetry_weights", "weighted_cross_entropy"]


def class_weights(counts: Sequence[int]) -> Tensor:
    """Training images of each class -> (K,) float32: Eq. 5, total / (count x classes); a class without any is named.

    >>> class_weights([10, 30])
    tensor([2.0000, 0.6667])
    >>> class_weights([10, 0])
    Traceback (most recent call last):
    cutis.errors.CutisError: class 1 of 2 has no training image: leave it out, or give another split
    """
    for index, count in enumerate(counts):
        if count <= 0:
            raise CutisError(
                f"class {index} of {len(counts)} has no training image: leave it out, or give another split"
            )
    return torch.tensor([sum(counts) / (count * len(counts)) for count in counts], dtype=torch.float32)


def symmetry_weights(counts: Sequence[int]) -> Tensor:
    """Asymmetric and symmetric training images -> (2,) float32 of Eq. 6: 1, and Eq. 5's of "symmetric".

    >>> symmetry_weights([10, 30])
    tensor([1.0000, 0.6667])
    """
    _, symmetric = class_weights(counts)
    return torch.stack([torch.ones_like(symmetric), symmetric])


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """(B, K) logits, (B,) class indices, (K,) weights -> (B,): Eq. 7, the weight of the true class times -log p.

    >>> weighted_cross_entropy(torch.zeros(1, 2), torch.tensor([1]), torch.tensor([1.0, 2.0]))
    tensor([1.3863])
    """
    return F.cross_entropy(logits.float(), labels, weight=weights.to(logits.device), reduction="none")
