"""Batches with what two teachers say of every picture, moved along with the picture's augmentation.

SparseSegNet, Sec. 3.3. Teachers saw each picture once, as it lies in the cache; their maps are then sampled through the
affine matrix that the augmentation drew, straight onto the student's grid. Where no picture is (outside the old frame,
or in the letterbox's black bars) the embedding is zero and the probability of "lesion" nearly so; `losses/ag_op.py`
leaves out pixels without an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from cutis.data.batches import Key, SegmentationSet, signed_distance
from cutis.errors import CutisError
from cutis.imaging.frame import Frame

__all__ = ["Answers", "DistillationBatch", "Taught", "TaughtSet", "grid_of", "inside", "moved"]

_OUTSIDE = -20.0  # logit of "lesion" where there is no picture


class Taught(NamedTuple):
    """What a teacher says: `logits` (B, 1, h, w) of "lesion" and `embedding` (B, C, h, w)."""

    logits: Tensor
    embedding: Tensor

    def to(self, device: Any, **keywords: Any) -> Taught:
        return Taught(*(part.to(device, **keywords) for part in self))


class DistillationBatch(NamedTuple):
    """A `Batch` (image, mask, distance, where) with what the `first` and the `second` teacher say, on the grid of the
    student's embedding; None for a teacher that is not there."""

    image: Tensor
    mask: Tensor
    distance: Tensor
    where: Tensor
    first: Taught | None
    second: Taught | None

    def to(self, device: Any, **keywords: Any) -> DistillationBatch:
        return DistillationBatch(*(None if part is None else part.to(device, **keywords) for part in self))


class Answers(Protocol):
    """What a teacher said of N pictures: (N, 1, h, w) and (N, C, h, w), float16, memory-mapped where it is first used,
    so that it can be sent to a worker process."""

    @property
    def logits(self) -> NDArray[np.float16]: ...

    @property
    def embedding(self) -> NDArray[np.float16]: ...


class TaughtSet:
    """`pictures`, each with the teachers' maps moved onto a grid of 1 / `stride` of its side; indexed by `Key`."""

    def __init__(
        self, pictures: SegmentationSet, first: Answers | None, second: Answers | None, *, stride: int
    ) -> None:
        self.pictures, self.teachers, self.stride = pictures, (first, second), stride
        for teacher in self.teachers:
            if teacher is not None and len(teacher.logits) != len(pictures):
                raise CutisError(f"a teacher's cache of {len(teacher.logits)} images was given for {len(pictures)}")

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: Key) -> tuple[Any, ...]:
        image, mask, matrix = self.pictures.drawn(key)
        said = [
            None if teacher is None else np.concatenate([teacher.logits[key.where], teacher.embedding[key.where]])
            for teacher in self.teachers
        ]
        return image, mask, signed_distance(mask), key.where, matrix, *said

    def collate(self, items: Sequence[tuple[Any, ...]]) -> DistillationBatch:
        batch = self.pictures.collate([item[:4] for item in items])
        cache = self.pictures.cache
        side, source = batch.image.shape[-1], cache.images.shape[1]
        grid = grid_of(np.stack([item[4] for item in items]), source, side, side // self.stride)
        frames = [cache.frames[item[3]] for item in items]
        taught = []
        for which, teacher in enumerate(self.teachers, start=5):
            maps = None if teacher is None else torch.from_numpy(np.stack([item[which] for item in items]))
            taught.append(None if maps is None else moved(maps, frames, grid))
        return DistillationBatch(*batch, *taught)


def grid_of(matrices: NDArray[np.float64], source: int, side: int, cells: int) -> Tensor:
    """(B, 2, 3) from pixels of a square of side `source` to those of one of `side` -> (B, cells, cells, 2) float32:
    where in the source each cell of the new square looks, x and y from -1 to 1 (torch's grid_sample).

    >>> grid_of(np.eye(2, 3)[None], 64, 64, 2)[0, 0]
    tensor([[-0.5000, -0.5000],
            [ 0.5000, -0.5000]])
    """
    centres = (np.arange(cells) + 0.5) * side / cells - 0.5
    new = np.stack(np.meshgrid(centres, centres), -1).reshape(-1, 2)
    linear, offset = matrices[:, :, :2], matrices[:, :, 2]
    old = (new[None] - offset[:, None]) @ np.linalg.inv(linear).transpose(0, 2, 1)
    return torch.from_numpy(((old + 0.5) * (2 / source) - 1).astype(np.float32)).reshape(-1, cells, cells, 2)


def moved(maps: Tensor, frames: Sequence[Frame], grid: Tensor) -> Taught:
    """(B, 1 + C, h, w), logits first, over squares whose pictures lie in `frames` -> what `grid` sees of it."""
    pictures = torch.stack([inside(frame, maps.shape[-1]) for frame in frames]).unsqueeze(1)
    known = torch.cat([maps[:, :1].float() - _OUTSIDE, maps[:, 1:].float()], 1) * pictures
    seen = F.grid_sample(known, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return Taught(seen[:, :1] + _OUTSIDE, seen[:, 1:])


def inside(frame: Frame, cells: int) -> Tensor:
    """(cells, cells) float32: 1 where the middle of a cell of the square is in the picture."""
    middle = (torch.arange(cells) + 0.5) * frame.size / cells
    rows = (middle > frame.top) & (middle < frame.top + frame.inner_height)
    columns = (middle > frame.left) & (middle < frame.left + frame.inner_width)
    return (rows[:, None] & columns[None, :]).float()
