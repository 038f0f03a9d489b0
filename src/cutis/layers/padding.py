"""Input sizes that a network's strides do not divide: padded for it, its answer cropped back."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["pad_to_multiple"]


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """(B, C, H, W) -> the same with its last row and column repeated until both sides are multiples.

    Nothing is done to a size that fits; crop the answer with `[..., :H, :W]`.

    >>> import torch
    >>> pad_to_multiple(torch.zeros(1, 3, 30, 32), 8).shape
    torch.Size([1, 3, 32, 32])
    """
    below, right = -image.shape[-2] % multiple, -image.shape[-1] % multiple
    return F.pad(image, (0, right, 0, below), mode="replicate") if below or right else image
