"""Batches of labelled and unlabelled images together: so many of each, labelled first (knowledge mining, Sec. 2.4-2.5).

The mask of an unlabelled image never reaches the loss: it is a pseudo-label made beforehand, or empty. Where the truth
is known after all (labels that were dropped to mimic unlabelled data) it travels under another name, moved along with
the picture, so that the quality of pseudo-labels can be told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cutis.data.augment import warped
from cutis.data.batches import Key, KeySampler, SegmentationSet, signed_distance

__all__ = ["Embeddings", "MiningBatch", "MiningSet", "Part", "PartSampler", "PseudoMasks"]


class Embeddings(Protocol):
    """What a promptable saw in the N pictures of a cache: (N, K, h', w') float16, memory-mapped where first used; of no
    meaning for pictures that nobody asks about."""

    @property
    def embedding(self) -> NDArray[np.float16]: ...


class PseudoMasks(Protocol):
    """One-time pseudo-labels: the (S, S) mask of 0 and 1 of the picture at a place in the cache, in its letterbox."""

    def square(self, where: int) -> NDArray[np.uint8]: ...


class MiningBatch(NamedTuple):
    """B labelled images and after them B' without a label.

    `image`, `mask`, `distance`, `where` as in `Batch`, of all of them; `mask` is the truth of the labelled ones and of
    the others a one-time pseudo-label, or empty. Of the B' others alone: `used` (B',) bool, whether that pseudo-label
    is to be learned from; `truth` (B', 1, S, S) and `known` (B',) bool, whether there is one; `matrix` (B', 2, 3)
    float64 from pixels of the plain square to those of the view; `draw` (B',) long, of the item's random stream;
    `embedding` (B', K, h', w') float16 of the plain squares, where the labels are made continuously.
    """

    image: Tensor
    mask: Tensor
    distance: Tensor
    where: Tensor
    used: Tensor
    truth: Tensor
    known: Tensor
    matrix: Tensor
    draw: Tensor
    embedding: Tensor | None

    @property
    def labelled(self) -> int:
        """B."""
        return len(self.image) - len(self.used)

    def to(self, device: Any, **keywords: Any) -> MiningBatch:
        return MiningBatch(*(None if part is None else part.to(device, **keywords) for part in self))


class Part(NamedTuple):
    """Some of a cache's pictures: `places` (N,), `shares` (N,) their chances, and how many of them `each` batch has."""

    places: NDArray[np.int64]
    shares: NDArray[np.float64]
    each: int


class PartSampler(KeySampler):
    """Batches with so many keys of each part, in the parts' order; a `KeySampler` draws each. Nothing else is drawn.

    >>> some, others = Part(np.array([5, 7]), np.ones(2), 2), Part(np.array([1]), np.ones(1), 1)
    >>> [sorted(key.where for key in keys) for keys in PartSampler([some, others], steps=2, seed=0, size=32)]
    [[1, 5, 7], [1, 5, 7]]
    """

    def __init__(self, parts: Sequence[Part], *, steps: int, seed: int, size: int) -> None:
        everyone = np.concatenate([part.shares for part in parts])
        super().__init__(everyone, steps, sum(part.each for part in parts), seed, lambda epoch: size)
        self.parts = [
            (part.places, KeySampler(part.shares, steps, part.each, seed + number, self.size))
            for number, part in enumerate(parts)
        ]

    def __iter__(self) -> Iterator[list[Key]]:
        for _, sampler in self.parts:
            sampler.epoch = self.epoch
        for drawn in zip(*(sampler for _, sampler in self.parts), strict=True):
            yield [
                key._replace(where=int(places[key.where]))
                for (places, _), keys in zip(self.parts, drawn, strict=True)
                for key in keys
            ]


class MiningSet:
    """`pictures`, of which those where `labelled` (N,) bool have labels; indexed by `Key`.

    `masks` and `used` (N,) bool: one-time pseudo-labels and which of them to learn from; `embeddings`: for continuous
    ones.
    """

    def __init__(
        self, pictures: SegmentationSet, labelled: NDArray[np.bool_], *, masks: PseudoMasks | None = None,
        used: NDArray[np.bool_] | None = None, embeddings: Embeddings | None = None,
    ) -> None:  # fmt: skip
        self.pictures, self.labelled, self.masks, self.used = pictures, labelled, masks, used
        self.embeddings = embeddings

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: Key) -> tuple[Any, ...]:
        where = key.where
        image, truth, matrix = self.pictures.drawn(key)
        if self.labelled[where]:
            return image, truth, signed_distance(truth), where
        mask = np.zeros_like(truth) if self.masks is None else warped(self.masks.square(where), matrix, key.size)
        embedding = None if self.embeddings is None else np.asarray(self.embeddings.embedding[where])
        known = self.pictures.cache.samples[where].mask is not None
        used = self.masks is not None and (self.used is None or bool(self.used[where]))
        return image, mask, signed_distance(mask), where, used, truth, known, matrix, key.seed, embedding

    def collate(self, items: Sequence[tuple[Any, ...]]) -> MiningBatch:
        batch = self.pictures.collate([item[:4] for item in items])
        used, truths, known, matrices, draws, embeddings = zip(*(i[4:] for i in items if len(i) > 4), strict=True)
        return MiningBatch(
            *batch,
            torch.tensor(used),
            torch.from_numpy(np.stack(truths)).unsqueeze(1).float(),
            torch.tensor(known),
            torch.from_numpy(np.stack(matrices)),
            torch.tensor(draws),
            None if embeddings[0] is None else torch.from_numpy(np.stack(embeddings)),
        )
