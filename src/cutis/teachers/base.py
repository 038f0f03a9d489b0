"""What a teacher is: it answers an image with logits and an embedding of every pixel, and never trains.

SparseSegNet, Sec. 3.3 and 4.3 ("frozen, providing logits and intermediate features").
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cutis.data.cache import SegmentationCache
from cutis.data.taught_batches import Taught
from cutis.imaging.frame import letterbox
from cutis.imaging.preprocessing import Preprocessing
from cutis.imaging.read import read_image

__all__ = ["Live", "Source", "Taught", "Teacher", "fingerprint_of", "frozen", "normalised", "squares"]


class Teacher(Protocol):
    """`fingerprint` is of all that decides its answers: weights, layer, prompts. `preprocessing` is what it wants to
    see: size and colour steps; its own mean and standard deviation are taken care of in `answer`."""

    name: str
    fingerprint: str
    preprocessing: Preprocessing

    def answer(self, image: Tensor) -> Taught:
        """(B, 3, S, S) float32 RGB in [0, 1], preprocessed -> logits (B, 1, h, w), embedding (B, K, h', w')."""
        ...


class Source(Protocol):
    """Answers by position in a `SegmentationCache`: of a live teacher, or what another program wrote."""

    name: str
    fingerprint: str
    preprocessing: Preprocessing

    def at(self, positions: Sequence[int]) -> Taught:
        """As `Teacher.answer`, of the samples at these positions."""
        ...


class Live:
    """A teacher shown the samples of a cache at its own size: out of the cache if that is the cache's, else decoded."""

    def __init__(self, teacher: Teacher, cache: SegmentationCache, device: str) -> None:
        self.teacher, self.cache, self.device = teacher, cache, device
        self.name, self.fingerprint, self.preprocessing = teacher.name, teacher.fingerprint, teacher.preprocessing

    def at(self, positions: Sequence[int]) -> Taught:
        return self.teacher.answer(squares(self.cache, positions, self.preprocessing, self.device))


def squares(cache: SegmentationCache, positions: Sequence[int], steps: Preprocessing, device: str) -> Tensor:
    """The samples at these positions as `steps` want them -> (B, 3, S, S) float32 in [0, 1], on `device`."""

    def one(position: int) -> NDArray[np.uint8]:
        if steps.size == cache.frames[position].size:
            return steps.recolour(np.asarray(cache.images[position]), cache.frames[position])
        square, frame = letterbox(read_image(cache.samples[position].image).pixels, steps.size)
        return steps.recolour(square, frame)

    with ThreadPoolExecutor() as pool:
        found = np.stack(list(pool.map(one, positions)))
    return torch.from_numpy(found).to(device).permute(0, 3, 1, 2).float() / 255


def frozen(network: nn.Module) -> nn.Module:
    """The same network, in evaluation mode, with weights that ask for no gradient."""
    return network.eval().requires_grad_(False)


def normalised(image: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(B, 3, S, S) in [0, 1] -> the same less the mean, over the standard deviation."""
    mean, std = (
        torch.tensor(v, dtype=image.dtype, device=image.device) for v in (preprocessing.mean, preprocessing.std)
    )
    return (image - mean.view(3, 1, 1)) / std.view(3, 1, 1)


def fingerprint_of(network: nn.Module, *decides: str) -> str:
    """Hash of every weight and buffer and of what else decides the answers.

    >>> one, two = nn.Linear(2, 1), nn.Linear(2, 1)
    >>> fingerprint_of(one) == fingerprint_of(two), fingerprint_of(one) == fingerprint_of(one, "another layer")
    (False, False)
    """
    whole = hashlib.blake2b(digest_size=20)
    for name, value in network.state_dict().items():
        whole.update(f"{name}:{tuple(value.shape)}:{value.dtype}".encode())
        whole.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    for text in decides:
        whole.update(f"\0{text}".encode())
    return whole.hexdigest()
