"""How unlike its training images an image is: a squared distance of its features, whitened, inside the graph.

After Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples" (NeurIPS 2018): the Mahalanobis
distance of the last features. What differs: one Gaussian for all classes (the rare classes have too few images for a
mean of their own), and only the leading principal components of the training features, whose variance is known well
from hundreds of images. Divided by their number it is 1 on average over the training images.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

__all__ = ["LARGEST_RANK", "Unlikeness", "Whitening", "fit_whitening"]

LARGEST_RANK = 32
_LEAST_SHARE = 1e-6  # of the first component's variance: below it a component is rounding


class Whitening(NamedTuple):
    """`mean`: (D,). `matrix`: (R, D); times features less their mean it gives R values of variance 1."""

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]


def fit_whitening(features: ArrayLike, largest_rank: int) -> Whitening:
    """(N, D) features of training images -> their principal components, `largest_rank` at most.

    Fewer where the features do not vary in so many directions, or where there are fewer than eight images a direction.

    >>> features = np.random.default_rng(0).normal(size=(400, 3)) * [5.0, 1.0, 0.0] + 2
    >>> whitening = fit_whitening(features, 32)
    >>> whitened = (features - whitening.mean) @ whitening.matrix.T
    >>> whitening.matrix.shape, bool(np.allclose(np.cov(whitened.T, bias=True), np.eye(2), atol=1e-4))
    ((2, 3), True)
    """
    table = np.asarray(features, np.float64)
    if table.ndim != 2 or len(table) < 2 or not np.isfinite(table).all():
        raise ValueError(f"(N >= 2, D) finite features are needed, got {table.shape}")
    mean = table.mean(0)
    _, spread, directions = np.linalg.svd(table - mean, full_matrices=False)
    variance = spread**2 / len(table)
    if not variance[0] > 0:
        raise ValueError("the features are the same for every image: this network tells nothing apart")
    known = int((variance > _LEAST_SHARE * variance[0]).sum())
    rank = max(1, min(largest_rank, known, len(table) // 8))
    matrix = directions[:rank] / np.sqrt(variance[:rank, None])
    return Whitening(mean.astype(np.float32), matrix.astype(np.float32))


class Unlikeness(nn.Module):
    """(N, D) features -> (N,): ||W (features - mean)||^2 / rank."""

    mean: Tensor
    matrix: Tensor

    def __init__(self, whitening: Whitening) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(whitening.mean))
        self.register_buffer("matrix", torch.from_numpy(whitening.matrix).T.contiguous())

    def forward(self, features: Tensor) -> Tensor:
        whitened = (features.float() - self.mean) @ self.matrix
        return (whitened * whitened).mean(1)
