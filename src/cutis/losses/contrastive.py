"""NT-Xent: of all other views in a batch, a view's own partner should look most like it.

Knowledge mining, Sec. 2.3 and 2.8 (SimCLR); Chen et al., "A simple framework for contrastive learning of visual
representations" (2020), Eq. 1: the cross-entropy of cosine similarities over a temperature, of both views of a pair.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["nt_xent", "similarities"]


def nt_xent(one: Tensor, other: Tensor, *, temperature: float) -> Tensor:
    """(B, D) projections of both views of B images -> (B,): the mean over a pair's two views.

    >>> apart = torch.eye(2)
    >>> nt_xent(apart, apart, temperature=0.5)
    tensor([0.2395, 0.2395])
    """
    logits = similarities(one, other) / temperature
    count = len(one)
    partner = torch.arange(2 * count, device=one.device).roll(count)
    return F.cross_entropy(logits, partner, reduction="none").view(2, count).mean(0)


def similarities(one: Tensor, other: Tensor) -> Tensor:
    """(B, D) twice -> (2B, 2B): cosines of all views with each other, -inf of each with itself.

    >>> similarities(torch.eye(2)[:1], torch.eye(2)[1:])
    tensor([[-inf, 0.],
            [0., -inf]])
    """
    views = F.normalize(torch.cat([one, other]).float(), dim=1)
    return (views @ views.T).fill_diagonal_(-torch.inf)
