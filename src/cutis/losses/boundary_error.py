"""B_error: how wrong an answer is near the true border; what the gates of the skips are judged by.

SparseSegNet, Sec. 3.1, Eq. 4, which names it and does not define it. Here: the mismatch |p - g| of the pixels in a band
around the true border, each counting as much as it lies far from it (|phi|, the signed distance, of L_Boundary), over
what it would be were all of them wrong. A border displaced by d all around costs (d / band)^2 / 2: a few places far off
cost more than many a little off, as with HD95. It needs no distance map of the answer, so it is free of the CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["boundary_error"]


@torch.no_grad()
def boundary_error(logits: Tensor, mask: Tensor, distance: Tensor, *, band: float) -> Tensor:
    """(B, 1, H, W) logits, mask of 0 and 1, signed distance in shares of the frame's side -> (B,) in [0, 1].

    `band`, also in shares of the side, reaches so far to both sides of the border. Where a mask has no border in the
    frame every pixel counts, and the same.

    >>> logits, mask = torch.tensor([[[[50.0, 50.0, 50.0, 50.0]]]]), torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]])
    >>> boundary_error(logits, mask, torch.tensor([[[[-0.3, -0.1, 0.1, 0.3]]]]), band=0.2)
    tensor([0.5000])
    """
    mismatch = (logits.float().sigmoid() - mask.float()).abs().flatten(1)
    far = distance.float().abs().flatten(1)
    weight = far.where(far <= band, 0)
    weight = torch.where(weight.any(1, keepdim=True), weight, 1.0)
    return (weight * mismatch).sum(1) / weight.sum(1)
