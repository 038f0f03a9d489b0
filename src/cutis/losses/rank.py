"""Rank loss: the hardest pixels of the lesion must lie above the hardest of the background by a margin.

SE-LCN, Sec. 4.1.1, Eq. 2-4 (after Xie et al., MB-DCNN, 2020; the authors' values: 30 pixels a side, margin 0.3, weight
0.05, smoothing 1e-5). Hard in the background is what has the highest probability there, in the lesion the lowest.
Differs from the text in two points: Eq. 3 lacks Dice's factor 2 and would be 0.5 for a perfect mask, so Dice is meant;
and an image with fewer pixels than that on a side counts the pairs there are, an empty side none.
"""

from __future__ import annotations

from torch import Tensor

from cutis.losses.overlap import dice_loss

__all__ = ["hybrid_loss", "rank_loss", "two_sided_dice_loss"]


def rank_loss(logits: Tensor, mask: Tensor, *, hardest: int, margin: float) -> Tensor:
    """(B, 1, H, W) logits, (B, 1, H, W) of 0 and 1 -> (B,): Eq. 4, the mean over the pairs of hardest pixels.

    >>> import torch
    >>> logits = torch.tensor([0.2, 0.6, 0.5, 0.9]).logit().view(1, 1, 2, 2)
    >>> mask = torch.tensor([0.0, 0.0, 1.0, 1.0]).view(1, 1, 2, 2)
    >>> rank_loss(logits, mask, hardest=1, margin=0.3)
    tensor([0.4000])
    """
    p, lesion = logits.float().sigmoid().flatten(1), mask.flatten(1) > 0.5
    k = min(hardest, p.shape[1])
    background, foreground = p.masked_fill(lesion, -1).topk(k).values, -(-p).masked_fill(~lesion, -2).topk(k).values
    pairs = (background >= 0)[:, :, None] & (foreground <= 1)[:, None, :]
    hinge = (background[:, :, None] - foreground[:, None, :] + margin).relu()
    return hinge.where(pairs, 0).sum((1, 2)) / pairs.sum((1, 2)).clamp(min=1)


def two_sided_dice_loss(logits: Tensor, mask: Tensor, *, smooth: float) -> Tensor:
    """(B, 1, H, W) logits, (B, 1, H, W) of 0 and 1 -> (B,): mean of the Dice losses of lesion and background.

    >>> import torch
    >>> two_sided_dice_loss(torch.full((1, 1, 2, 2), 50.0), torch.ones(1, 1, 2, 2), smooth=1e-5)
    tensor([0.])
    """
    lesion = dice_loss(logits, mask, smooth=smooth)
    background = dice_loss(-logits, 1 - mask.float(), smooth=smooth)
    return (lesion + background) / 2


def hybrid_loss(
    logits: Tensor, mask: Tensor, *, rank_weight: float, hardest: int, margin: float, smooth: float
) -> Tensor:
    """(B, 1, H, W) logits, (B, 1, H, W) of 0 and 1 -> (B,): Eq. 2, Dice plus `rank_weight` times rank.

    >>> import torch
    >>> logits = torch.tensor([-50.0, -50.0, 50.0, 50.0]).view(1, 1, 2, 2)
    >>> hybrid_loss(logits, (logits > 0).float(), rank_weight=0.05, hardest=30, margin=0.3, smooth=1e-5)
    tensor([0.])
    """
    rank = rank_loss(logits, mask, hardest=hardest, margin=margin)
    return two_sided_dice_loss(logits, mask, smooth=smooth) + rank_weight * rank
