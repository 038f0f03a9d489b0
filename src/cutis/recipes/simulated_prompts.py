"""Prompts as a person would give them, made from true masks: to train a promptable network, and to measure one.

Knowledge mining, Sec. 2.2 (SAM was trained so: Kirillov et al., "Segment anything", 2023, appendix A: points at random,
boxes off by a tenth, then corrections where the answer was wrong). Randomness is a generator on the CPU, so that every
device is asked the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cutis.teachers.promptable import boxes_around

__all__ = ["correction", "jittered", "points_in", "true_boxes"]


def true_boxes(mask: Tensor) -> Tensor:
    """(B, 1, S, S) of 0 and 1 -> (B, 4) x0, y0, x1, y1; the whole square for an empty one.

    >>> mask = torch.zeros(1, 1, 8, 8)
    >>> mask[..., 2:5, 3:4] = 1
    >>> true_boxes(mask)
    tensor([[3., 2., 3., 4.]])
    """
    return boxes_around(mask - 0.5, mask.shape[-1])


def jittered(boxes: Tensor, share: float, side: int, rng: torch.Generator) -> Tensor:
    """(B, 4): every side moved by a normal amount, `share` of the box's extent (SD), at most twice that; inside the
    square and never inside out."""
    extent = (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)
    amount = torch.randn(boxes.shape, generator=rng).clamp(-2, 2).to(boxes)
    moved = (boxes + amount * share * extent).clamp(0, side - 1)
    return torch.cat([torch.minimum(moved[:, :2], moved[:, 2:]), torch.maximum(moved[:, :2], moved[:, 2:])], 1)


def points_in(region: Tensor, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """(B, 1, S, S) bool -> (B, count, 2) x, y of different pixels of each region, at random; (B, count) bool: whether
    it is one (a region may have fewer).

    >>> region = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    >>> region[0, 0, 3, 1] = True
    >>> points_in(region, 2, torch.Generator().manual_seed(0))[0][0, 0], points_in(region, 2, torch.Generator())[1]
    (tensor([1., 3.]), tensor([[ True, False]]))
    """
    flat = region.flatten(1)
    drawn = (torch.rand(flat.shape, generator=rng).to(region.device) + 1e-6) * flat
    value, where = drawn.topk(min(count, flat.shape[1]), 1)
    side = region.shape[-1]
    return torch.stack([where % side, where // side], -1).float(), value > 0


def correction(logits: Tensor, mask: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """(B, 1, S, S) logits and true masks -> (B, 1, 2) a point where the answer is wrong, at random, and its (B, 1)
    label: 1 where lesion was missed, 0 where there is none; -1 where nothing is wrong."""
    truth = mask > 0.5
    points, there = points_in((logits > 0) != truth, 1, rng)
    x, y = points[:, 0, 0].long(), points[:, 0, 1].long()
    label = truth[torch.arange(len(truth), device=truth.device), 0, y, x].long().unsqueeze(1)
    return points, torch.where(there, label, -1)
