"""Max-pooling that remembers where its maxima were, and its reverse.

Badrinarayanan et al., SegNet (2017), Fig. 3; ENet keeps it. The places are a map of zeros and ones instead of torch's
indices, so that the graph exports as comparisons and products; where several values of a window are its maximum (zeros
after a ReLU) all of them count, torch would take the first.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["pool", "unpool"]


def pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C, H, W), even sides -> maxima (B, C, H/2, W/2) and their places (B, C, H, W), 1 at a maximum."""
    small = F.max_pool2d(x, 2)
    return small, (x == _enlarged(small)).to(x.dtype)


def unpool(small: Tensor, places: Tensor) -> Tensor:
    """(B, C, h, w) and places (B, C, 2h, 2w) -> (B, C, 2h, 2w): each value where the maximum was, else 0.

    >>> import torch
    >>> x = torch.tensor([[[[1.0, 5.0], [2.0, 3.0]]]])
    >>> unpool(*pool(x))
    tensor([[[[0., 5.],
              [0., 0.]]]])
    """
    return _enlarged(small) * places


def _enlarged(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
