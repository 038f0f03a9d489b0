"""Factorised 1-D convolutions: a 3x1 and a 1x3 filter in place of a 3x3 one, and the module that adds attention.

SLSNet, Sec. 3.1.3, Eq. 5-6 and Fig. 4, after Romera et al. (ERFNet, 2018). A filter of rank K is a sum of K products of
a vertical and a horizontal one (Eq. 5), so two 1-D layers with a non-linearity between them (Eq. 6) take 2/3 of the
weights of a 3x3 layer. As in ERFNet a block has two such pairs, the second dilated, batch norm after each and the input
added at the end; channel attention follows as the last step of a factorised-attention module (FAM).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cutis.layers.dual_attention import ChannelAttention

__all__ = ["FactorizedAttention", "FactorizedBlock", "FactorizedConv", "rank_one_kernels"]


class FactorizedConv(nn.Module):
    """(B, C, H, W) -> the same: Eq. 6, vertical 3x1, ReLU, horizontal 1x3; the outer ReLU is the caller's.

    >>> FactorizedConv(4, dilation=2)(torch.zeros(1, 4, 8, 8)).shape
    torch.Size([1, 4, 8, 8])
    """

    def __init__(self, channels: int, *, dilation: int) -> None:
        super().__init__()
        self.vertical = nn.Conv2d(channels, channels, (3, 1), padding=(dilation, 0), dilation=(dilation, 1))
        self.horizontal = nn.Conv2d(channels, channels, (1, 3), padding=(0, dilation), dilation=(1, dilation))

    def forward(self, x: Tensor) -> Tensor:
        return self.horizontal(self.vertical(x).relu())


class FactorizedBlock(nn.Module):
    """(B, C, H, W) -> the same: two factorised convolutions, the second dilated, added to the input (Fig. 4, left).

    `dropout`: the share of values that is dropped before the addition while training (Sec. 3.4: z).
    """

    def __init__(self, channels: int, *, dilation: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.first = FactorizedConv(channels, dilation=1)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = FactorizedConv(channels, dilation=dilation)
        self.second_norm = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first_norm(self.first(x)).relu()
        return (x + self.dropout(self.second_norm(self.second(y)))).relu()


class FactorizedAttention(nn.Module):
    """FAM (Fig. 4): a factorised block, then channel attention; without it (`channel=False`) the baseline's block."""

    def __init__(self, channels: int, *, channel: bool, dilation: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.block = FactorizedBlock(channels, dilation=dilation, dropout=dropout)
        self.attention = ChannelAttention() if channel else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.block(x))


def rank_one_kernels(kernel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(d, d) -> sigma (K,), vertical (K, d), horizontal (K, d): Eq. 5, the kernel is sum of sigma v h^T (its SVD).

    >>> kernel = torch.tensor([[1.0, 2.0], [2.0, 4.0]])
    >>> sigma, v, h = rank_one_kernels(kernel)
    >>> torch.allclose(torch.einsum("k,ki,kj->ij", sigma, v, h), kernel, atol=1e-6), int((sigma > 1e-5).sum())
    (True, 1)
    """
    left, sigma, right = torch.linalg.svd(kernel)
    return sigma, left.T, right
