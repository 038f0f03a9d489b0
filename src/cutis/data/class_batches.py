"""Batches for training a classifier: the cached square, masked, moved by the same augmentation as its symmetry map.

SE-LCN, Sec. 5.1. `balanced` is the paper's: classes with more than 2,000 images are drawn down to 2,000, those with
fewer are filled up by a vertical flip, a horizontal flip and a 90-degree turn of their images, as far as these reach.
It is given training images only, so no copy of a validation image is ever trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from cutis.data.augment import Augmentation, augment
from cutis.data.batches import Key
from cutis.data.cache import SegmentationCache
from cutis.imaging.lesion_area import Masking, mask_area
from cutis.imaging.preprocessing import Preprocessing

__all__ = ["ClassBatch", "ClassificationSet", "Entries", "balanced", "each_once", "follow"]


class ClassBatch(NamedTuple):
    """`image` (B, 3, S, S) normalised float32, `label` (B,) int64, `activation` (B, 1, h, w) float32 in [0, 1] or None,
    `where` (B,) among the entries, `seed` of what else is random in the step (dropout); -1 means nothing is."""

    image: Tensor
    label: Tensor
    activation: Tensor | None
    where: Tensor
    seed: int

    def to(self, device: Any, **keywords: Any) -> ClassBatch:
        moved = {name: part.to(device, **keywords) for name, part in self._asdict().items() if isinstance(part, Tensor)}
        return self._replace(**moved)


class Entries(NamedTuple):
    """What an epoch is drawn from: `where` (M,) in the cache, `turn` (M,) 0 as it is, 1 flipped upside down, 2 flipped
    left to right, 3 turned by 90 degrees."""

    where: NDArray[np.int64]
    turn: NDArray[np.int64]


def each_once(count: int) -> Entries:
    """Every image as it is."""
    return Entries(np.arange(count), np.zeros(count, np.int64))


def balanced(labels: NDArray[np.int64], target: int, seed: int) -> Entries:
    """At most `target` entries a class: its images first, then their flips, then their turns; seeded.

    >>> few_and_many = np.array([0] * 3 + [1] * 50)
    >>> entries = balanced(few_and_many, 10, seed=1)
    >>> np.bincount(few_and_many[entries.where]).tolist(), np.bincount(entries.turn).tolist()
    ([10, 10], [13, 3, 3, 1])
    """
    rng = np.random.default_rng(seed)
    where, turn = [], []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        order = np.concatenate([rng.permutation(own) for _ in range(4)])[:target]
        where.append(order)
        turn.append((np.arange(4 * len(own)) // len(own))[:target])
    return Entries(np.concatenate(where), np.concatenate(turn))


class ClassificationSet(TorchDataset):
    """The cache seen through masking, balancing and augmentation; indexed by `Key`, whose `where` is an entry's place.

    The colour steps of `preprocessing` are in the cache already (`recoloured`). `maps`: (N, h, w) float32 in its order.
    """

    def __init__(
        self,
        cache: SegmentationCache,
        labels: NDArray[np.int64],
        preprocessing: Preprocessing,
        masking: Masking,
        *,
        entries: Entries,
        augmentation: Augmentation | None,
        maps: NDArray[np.float32] | None,
    ) -> None:
        self.cache, self.labels, self.preprocessing, self.masking = cache, labels, preprocessing, masking
        self.entries, self.augmentation, self.maps = entries, augmentation, maps

    def __len__(self) -> int:
        return len(self.entries.where)

    def __getitem__(self, key: Key) -> tuple[NDArray[np.uint8], int, NDArray[np.float32] | None, Key]:
        cv2.setNumThreads(0)
        where, turn = int(self.entries.where[key.where]), int(self.entries.turn[key.where])
        mask = np.asarray(self.cache.masks[where])
        image = mask_area(np.asarray(self.cache.images[where]), mask > 0, self.masking)
        activation = None if self.maps is None else np.asarray(self.maps[where])
        image, mask = turned(image, turn), turned(mask, turn)
        activation = None if activation is None else turned(activation, turn)
        if key.seed >= 0 and self.augmentation is not None:
            rng = np.random.default_rng(key.seed)
            image, _, matrix = augment(image, mask, key.size, self.augmentation, rng)
            if activation is not None:
                activation = follow(activation, matrix, self.preprocessing.size, key.size)
        return image, int(self.labels[where]), activation, key

    def collate(self, items: Sequence[tuple[NDArray, int, NDArray | None, Key]]) -> ClassBatch:
        images, labels, maps, keys = zip(*items, strict=True)
        mean, std = (torch.tensor(v, dtype=torch.float32) for v in (self.preprocessing.mean, self.preprocessing.std))
        pixels = torch.from_numpy(np.stack(images)).float().div_(255).sub_(mean).div_(std)
        activation = None if maps[0] is None else torch.from_numpy(np.stack(maps)).unsqueeze(1)
        places = torch.tensor([key.where for key in keys])
        return ClassBatch(pixels.permute(0, 3, 1, 2), torch.tensor(labels), activation, places, keys[0].seed)


def turned(square: NDArray, turn: int) -> NDArray:
    """(S, S[, C]) -> the same for turn 0, flipped for 1 and 2, rotated for 3 (see `Entries`)."""
    if turn == 0:
        return square
    return np.ascontiguousarray(np.rot90(square) if turn == 3 else np.flip(square, turn - 1))


def follow(activation: NDArray[np.float32], matrix: NDArray[np.float64], source: int, size: int) -> NDArray[np.float32]:
    """(h, w) map of a square of side `source` -> (h, w) of the square of side `size` that `matrix` (2, 3) makes of it.

    What comes from outside the square is 0. Half a pixel: a cell's centre lies in the middle of the pixels it covers.
    """
    h, w = activation.shape

    def to_pixels(side: int) -> NDArray[np.float64]:
        scale = np.array([side / w, side / h])
        return np.vstack([np.column_stack([np.diag(scale), (scale - 1) / 2]), [0, 0, 1]])

    whole = np.vstack([matrix, [0, 0, 1]])
    cells = np.linalg.inv(to_pixels(size)) @ whole @ to_pixels(source)
    return np.asarray(cv2.warpAffine(activation, cells[:2], (w, h), flags=cv2.INTER_LINEAR), np.float32)
