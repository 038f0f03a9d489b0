"""Batches for training: every picture of a run is decided by (seed, step, place in the batch) and nothing else.

A sampler hands out keys (index, size, seed); workers turn a key into an augmented sample. So a run that was cut off and
goes on sees what it would have seen, with any number of workers or processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from cutis.data.augment import Augmented, Changes
from cutis.data.cache import SegmentationCache
from cutis.imaging.preprocessing import Preprocessing

__all__ = [
    "Batch",
    "Collated",
    "EachOnce",
    "Key",
    "KeySampler",
    "SegmentationSet",
    "loader",
    "plain_batches",
    "signed_distance",
]


class Batch(NamedTuple):
    """`image` (B, 3, S, S) normalised float32, `mask` (B, 1, S, S) float32 of 0 and 1, `distance` (B, 1, S, S) float32,
    signed distance to the border in shares of the frame's side, negative inside; `where` (B,) it lies in the cache."""

    image: Tensor
    mask: Tensor
    distance: Tensor
    where: Tensor

    def to(self, device: Any, **keywords: Any) -> Batch:
        return Batch(*(part.to(device, **keywords) for part in self))


class Key(NamedTuple):
    """Where in the cache, at which size, with which random stream; seed -1 means as it is, without augmentation."""

    where: int
    size: int
    seed: int


class KeySampler(Sampler[list[Key]]):
    """Batches of keys for one epoch an iteration: `epoch` says which (the engine sets it), `size` gives its image side.

    `shares` (N,) are each sample's chances. With several processes each takes its part of every batch, so that all
    together see what one alone would see.
    """

    def __init__(
        self, shares: NDArray[np.float64], steps: int, batch_size: int, seed: int, size: Callable[[int], int]
    ) -> None:
        self.shares = shares / shares.sum()
        self.steps, self.batch_size, self.seed = steps, batch_size, seed
        self.size = size
        self.epoch: Callable[[], int] = lambda: 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Key]]:
        epoch = self.epoch()
        size, rng, count = self.size(epoch), np.random.default_rng((self.seed, epoch)), self.steps * self.batch_size
        order, seeds = self._draw(rng, count), rng.integers(0, 2**62, count)
        rank, world = _place()
        for step in range(self.steps):
            part = slice(step * self.batch_size + rank, (step + 1) * self.batch_size, world)
            yield [Key(int(i), size, int(s)) for i, s in zip(order[part], seeds[part], strict=True)]

    def _draw(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Systematic sampling: each sample comes floor or ceil of (share x count) times, in random order."""
        marks = (np.arange(count) + rng.random()) / count
        picked = np.searchsorted(np.cumsum(self.shares[order := rng.permutation(len(self.shares))]), marks)
        return rng.permutation(order[np.minimum(picked, len(order) - 1)])


class EachOnce(Sampler[list[Key]]):
    """Every sample once, as it is, in order.

    Several processes take turns; so that each has the same number of batches of the same sizes (they wait for each
    other after every batch), the last turn is filled up with samples from the start. `where` tells those apart.
    """

    def __init__(self, count: int, size: int, batch_size: int) -> None:
        self.keys = [Key(index, size, -1) for index in range(count)]
        self.batch_size = batch_size

    def __len__(self) -> int:
        each = -(-len(self.keys) // _place()[1])
        return -(-each // self.batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        rank, world = _place()
        filled = [self.keys[turn % len(self.keys)] for turn in range(-(-len(self.keys) // world) * world)]
        mine = filled[rank::world]
        for start in range(0, len(mine), self.batch_size):
            yield mine[start : start + self.batch_size]


def _place() -> tuple[int, int]:
    """This process's number and how many there are."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class SegmentationSet(TorchDataset):
    """The cache seen through augmentation, preprocessing and normalisation; indexed by `Key`."""

    def __init__(self, cache: SegmentationCache, preprocessing: Preprocessing, augmentation: Changes | None) -> None:
        self.cache, self.preprocessing, self.augmentation = cache, preprocessing, augmentation

    def __len__(self) -> int:
        return len(self.cache)

    def drawn(self, key: Key) -> Augmented:
        """The image and mask of a key, and the affine matrix that led there from the cache's pixels."""
        cv2.setNumThreads(0)
        image, mask = np.asarray(self.cache.images[key.where]), np.asarray(self.cache.masks[key.where])
        image = self.preprocessing.recolour(image, self.cache.frames[key.where])
        if key.seed >= 0 and self.augmentation is not None:
            return self.augmentation.apply(image, mask, key.size, np.random.default_rng(key.seed))
        scale = key.size / image.shape[0]
        if scale != 1:
            image = _shrunk(image, key.size)
            mask = _shrunk(mask * np.uint8(255), key.size) // np.uint8(128)
        return Augmented(image, mask, np.eye(2, 3) * scale + [[0, 0, (scale - 1) / 2]] * 2)

    def __getitem__(self, key: Key) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32], int]:
        image, mask, _ = self.drawn(key)
        return image, mask, signed_distance(mask), key.where

    def collate(self, items: Sequence[tuple[NDArray, NDArray, NDArray, int]]) -> Batch:
        images, masks, distances, places = zip(*items, strict=True)
        mean, std = (torch.tensor(v, dtype=torch.float32) for v in (self.preprocessing.mean, self.preprocessing.std))
        pixels = torch.from_numpy(np.stack(images)).float().div_(255).sub_(mean).div_(std)
        return Batch(
            pixels.permute(0, 3, 1, 2),  # already channels-last in memory
            torch.from_numpy(np.stack(masks)).unsqueeze(1).float(),
            torch.from_numpy(np.stack(distances)).unsqueeze(1),
            torch.tensor(places),
        )


def _shrunk(array: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(array, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


class Collated(Protocol):
    """A data set indexed by `Key` that makes batches of its items."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: Key) -> Any: ...

    def collate(self, items: Sequence[Any]) -> Any: ...


def plain_batches(pictures: Collated, size: int) -> Iterator[Any]:
    """Batches of at most 512 of `pictures` (drawn without augmentation), evenly spread, `size` pixels a side: for
    statistics, e.g. of batch norms."""
    picked = np.linspace(0, len(pictures) - 1, min(512, len(pictures))).round().astype(int)
    for chunk in np.array_split(picked, -(-len(picked) // 32)):
        yield pictures.collate([pictures[Key(int(i), size, -1)] for i in chunk])


def loader(dataset: Collated, sampler: Sampler[list[Key]], workers: int) -> DataLoader:
    """A DataLoader over `sampler`'s batches of keys; `workers` processes, 0 for none."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=dataset.collate,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="spawn" if workers else None,
    )


def signed_distance(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(S, S) uint8 of 0 and 1 -> (S, S) float32: distance to the border in shares of S, negative inside; 1 everywhere
    for an empty mask, -1 for a full one.

    >>> signed_distance(np.eye(4, dtype=np.uint8) * 0).max()
    np.float32(1.0)
    """
    size = mask.shape[0]
    if not mask.any():
        return np.ones(mask.shape, np.float32)
    if mask.all():
        return -np.ones(mask.shape, np.float32)
    outside = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 3)
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    return np.asarray((outside - inside) / np.float32(size), np.float32)
