"""Signed-distance boundary loss: an error costs as much as it lies far from the true border.

SparseSegNet, Sec. 3.4 (L_Boundary, "signed-distance transform loss"), after Kervadec et al. (2019): the integral of
phi (p - g) over the image, phi the signed distance to the true border, negative inside. Since p lies in [0, 1] that is
the mean of |phi| |p - g|: never negative, the same gradient. Differs from both in that |phi| is cut off at `band` (the
proof sketch of Sec. 3.4 speaks of a narrow band) and divided by it: a pixel wrong by the band's width or more costs 1.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["boundary_loss"]


def boundary_loss(logits: Tensor, mask: Tensor, distance: Tensor, *, band: float) -> Tensor:
    """(B, 1, H, W) logits, mask of 0 and 1, signed distance in shares of the frame's side -> (B,); `band` likewise.

    >>> import torch
    >>> wrong, mask = torch.full((1, 1, 1, 2), 50.0), torch.tensor([[[[1.0, 0.0]]]])
    >>> boundary_loss(wrong, mask, torch.tensor([[[[-0.1, 0.05]]]]), band=0.1)
    tensor([0.2500])
    """
    p, g = logits.float().sigmoid(), mask.float()
    weight = distance.abs().clamp(max=band) / band
    return (weight * (p - g).abs()).flatten(1).mean(1)
