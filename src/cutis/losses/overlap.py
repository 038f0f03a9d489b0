"""Soft Dice loss: one minus the Sørensen-Dice coefficient of probabilities (SparseSegNet, Sec. 3.4, Eq. 11)."""

from __future__ import annotations

from torch import Tensor

__all__ = ["dice_loss"]


def dice_loss(logits: Tensor, mask: Tensor, *, smooth: float = 1.0) -> Tensor:
    """(B, 1, H, W) logits, (B, 1, H, W) of 0 and 1 -> (B,); `smooth` pixels keep two empty masks at loss 0.

    >>> import torch
    >>> dice_loss(torch.full((1, 1, 4, 4), 50.0), torch.ones(1, 1, 4, 4))
    tensor([0.])
    """
    p, g = logits.float().sigmoid().flatten(1), mask.float().flatten(1)
    return 1 - (2 * (p * g).sum(1) + smooth) / (p.sum(1) + g.sum(1) + smooth)
