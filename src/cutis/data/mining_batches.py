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

__all__ = ["Embeddings", "MiningBatch", "MiningSampler", "MiningSet", "PseudoMasks"]


class Embeddings(Protocol):
    """What a promptable saw in the unlabelled pictures: (N, K, h', w') float16, memory-mapped where first used."""

    @property
    def embedding(self) -> NDArray[np.float16]: ...


class PseudoMasks(Protocol):
    """One-time pseudo-labels: the (S, S) mask of 0 and 1 of the `index`th unlabelled image, in its letterbox."""

    def square(self, index: int) -> NDArray[np.uint8]: ...


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
        return MiningBatch(*(None if part is None else part.to(device, **keywords) for part in self))  # type: ignore[arg-type]


class MiningSampler(KeySampler):
    """Batches of which `batch_size - unlabelled` keys are drawn from the first `labelled` samples and `unlabelled` from
    the others, each part by a `KeySampler` of its own.

    >>> sampler = MiningSampler(np.ones(10), labelled=4, unlabelled=1, steps=2, batch_size=3, seed=0, size=32)
    >>> [[key.where >= 4 for key in batch] for batch in sampler]
    [[False, False, True], [False, False, True]]
    """

    def __init__(
        self, shares: NDArray[np.float64], *, labelled: int, unlabelled: int, steps: int, batch_size: int, seed: int,
        size: int,
    ) -> None:  # fmt: skip
        super().__init__(shares, steps, batch_size, seed, lambda epoch: size)
        self.offsets = (0, labelled)
        self.parts = (
            KeySampler(shares[:labelled], steps, batch_size - unlabelled, seed, self.size),
            KeySampler(shares[labelled:], steps, unlabelled, seed + 1, self.size),
        )

    def __iter__(self) -> Iterator[list[Key]]:
        for part in self.parts:
            part.epoch = self.epoch
        for keys in zip(*self.parts, strict=True):
            yield [
                key._replace(where=key.where + offset)
                for offset, some in zip(self.offsets, keys, strict=True)
                for key in some
            ]


class MiningSet:
    """`pictures`, of which the first `labelled` have labels; indexed by `Key`.

    `masks` and `used` (N - labelled,): one-time pseudo-labels and which of them to learn from; else none. `embeddings`,
    of the unlabelled ones: for continuous ones.
    """

    def __init__(
        self, pictures: SegmentationSet, labelled: int, *, masks: PseudoMasks | None = None,
        used: NDArray[np.bool_] | None = None, embeddings: Embeddings | None = None,
    ) -> None:  # fmt: skip
        self.pictures, self.labelled, self.masks, self.used = pictures, labelled, masks, used
        self.embeddings = embeddings

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: Key) -> tuple[Any, ...]:
        which = key.where - self.labelled
        if which < 0:
            image, mask, _ = self.pictures.drawn(key)
            return image, mask, signed_distance(mask), key.where
        image, truth, matrix = self.pictures.drawn(key)
        made = None if self.masks is None else self.masks.square(which)
        mask = np.zeros_like(truth) if made is None else warped(made, matrix, key.size)
        embedding = None if self.embeddings is None else np.asarray(self.embeddings.embedding[which])
        known = self.pictures.cache.samples[key.where].mask is not None
        used = made is not None and (self.used is None or bool(self.used[which]))
        return image, mask, signed_distance(mask), key.where, used, truth, known, matrix, key.seed, embedding

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
