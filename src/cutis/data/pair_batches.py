"""Batches of two views of each image, for what is learned without any label (SimCLR)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from cutis.data.batches import Key, SegmentationSet

__all__ = ["PairBatch", "PairSet"]


class PairBatch(NamedTuple):
    """`image` and `other` (B, 3, S, S): two views of each of B images; `where` (B,) they lie in the cache."""

    image: Tensor
    other: Tensor
    where: Tensor

    def to(self, device: Any, **keywords: Any) -> PairBatch:
        return PairBatch(*(part.to(device, **keywords) for part in self))


class PairSet:
    """`pictures` with an augmentation; a key's seed decides both views. Without one (validation) a picture's place
    does, so that it is the same views every time."""

    def __init__(self, pictures: SegmentationSet) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: Key) -> tuple[Any, ...]:
        words = (key.seed,) if key.seed >= 0 else (0, key.where)
        seeds = np.random.default_rng(words).integers(0, 2**62, 2)
        views = [self.pictures.drawn(key._replace(seed=int(seed))) for seed in seeds]
        return *((view.image, view.mask) for view in views), key.where

    def collate(self, items: Sequence[tuple[Any, ...]]) -> PairBatch:
        flat = np.zeros((1, 1), np.float32)  # nobody asks for the distance
        one, other = (self.pictures.collate([(*item[i], flat, item[2]) for item in items]) for i in (0, 1))
        return PairBatch(one.image, other.image, one.where)
