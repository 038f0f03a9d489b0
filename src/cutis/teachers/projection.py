"""A teacher's embedding taken to C channels by a frozen orthonormal map: the principal components of training images.

SparseSegNet, Sec. 3.3 assumes embeddings of one width C and says nothing of how they get there. Here: less their mean,
times the first C principal components, over one number that gives them a mean square length of 1, so that the weight
of Eq. 10 means the same for every teacher. Components of two teachers have nothing to do with each other, and the
cosine of Eq. 7 would be that of strangers: `aligned` turns the components of the second (an orthogonal Procrustes
problem, over the same pixels) so that it is as like the first as turning can make it. Orthonormal it stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cutis.errors import CutisError
from cutis.files import atomic_path

__all__ = ["Projection", "ProjectionFit"]


@dataclass(frozen=True)
class Projection:
    """`mean` (K,), `basis` (K, C) with orthonormal columns, `scale`; `explained`: the share of the variance kept."""

    mean: NDArray[np.float32]
    basis: NDArray[np.float32]
    scale: float
    explained: float

    def apply(self, embedding: Tensor) -> Tensor:
        """(B, K, h, w) -> (B, C, h, w)."""
        mean, basis = (torch.from_numpy(part).to(embedding.device) for part in (self.mean, self.basis))
        centred = embedding.float() - mean.view(-1, 1, 1)
        return torch.einsum("bkhw,kc->bchw", centred, basis) * self.scale

    def save(self, path: Path) -> None:
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, mean=self.mean, basis=self.basis, scale=self.scale, explained=self.explained)

    @classmethod
    def load(cls, path: Path) -> Projection:
        with np.load(path, allow_pickle=False) as parts:
            return cls(parts["mean"], parts["basis"], float(parts["scale"]), float(parts["explained"]))


class ProjectionFit:
    """Running moments of embeddings, in float64; `fit` makes the projection of them.

    >>> fit = ProjectionFit()
    >>> fit.add(torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    >>> found = fit.fit(1)
    >>> found.basis.ravel().tolist(), round(found.explained, 2)
    ([1.0, 0.0], 0.9)
    """

    def __init__(self) -> None:
        self.count = 0
        self.sums: list[NDArray[np.float64]] = []

    def add(self, pixels: Tensor, other: Tensor | None = None) -> None:
        """(n, K) embeddings of pixels; `other` (n, C): the projected ones of the teacher to align with."""
        x = pixels.detach().double().cpu().numpy()
        y = np.zeros((len(x), 0)) if other is None else other.detach().double().cpu().numpy()
        new = [x.sum(0), x.T @ x, y.sum(0), x.T @ y]
        self.sums = [a + b for a, b in zip(self.sums, new, strict=True)] if self.sums else new
        self.count += len(x)

    def fit(self, channels: int) -> Projection:
        """To `channels`; with `other` pixels (as many channels) aligned with them."""
        if not self.count:
            raise CutisError("there is no pixel of a picture to fit the projection on: give images that are not empty")
        total, squares, other, products = self.sums
        mean = total / self.count
        covariance = squares / self.count - np.outer(mean, mean)
        values, vectors = np.linalg.eigh(covariance)
        values, basis = values[::-1].clip(min=0), vectors[:, ::-1][:, :channels]
        kept = values[:channels].sum()
        if not kept > 0:
            raise CutisError("the teacher's embedding is the same everywhere: name another layer")
        basis = basis * np.sign(basis[np.abs(basis).argmax(0), np.arange(channels)])
        if len(other):
            left, _, right = np.linalg.svd(basis.T @ (products / self.count - np.outer(mean, other / self.count)))
            basis = basis @ left @ right
        scale = float(1 / np.sqrt(kept))
        return Projection(mean.astype(np.float32), basis.astype(np.float32), scale, float(kept / values.sum()))
