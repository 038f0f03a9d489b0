"""Dual attention: over positions (PAM) and over channels (CAM).

SLSNet, Sec. 3.1.1-3.1.2, Eq. 1-4 and Fig. 2-3, after Fu et al. (2018). gamma and eta start at 0, so that both modules
begin as the identity. Position attention over N = H x W positions is scaled dot-product attention with scale 1, so it
goes through torch's fused kernel, which never stores the N x N map: memory grows with N, not with its square
(benchmarks/position_attention.py). `textbook_position_attention` is the equation as it is printed, for comparison.

Channel attention is not the class activation map of SE-LCN (`class_activation.py`), though the papers call both CAM.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "ChannelAttention",
    "PositionAttention",
    "channel_attention",
    "position_attention",
    "textbook_position_attention",
]


def channel_attention(a: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, H, W): the sum of Eq. 2, channel j the mean of all channels weighted by Eq. 1's x_ji.

    Products of whole maps are large, and what they are rounded by decides between channels that are alike. So they are
    computed in at least float32, and the channels' mean is taken from A_i first: it adds the same to every A_i . A_j of
    one j, which a softmax over i does not see.

    >>> channel_attention(torch.ones(1, 3, 2, 2)).flatten().unique()
    tensor([1.])
    """
    maps = _at_least_single(a).flatten(2)
    centred = maps - maps.mean(1, keepdim=True)
    x = torch.softmax(maps @ centred.transpose(1, 2), dim=-1)  # row j holds x_ji over i
    return (x @ maps).reshape(a.shape).to(a.dtype)


def position_attention(b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """(B, C, H, W) three times -> (B, C, H, W): the sum of Eq. 4, each position the mean of D weighted by Eq. 3's s_ji.

    Position j asks with C_j, position i answers with B_i. Memory grows linearly with H x W.

    >>> b, c, d = torch.randn(3, 1, 4, 5, 6)
    >>> torch.allclose(position_attention(b, c, d), textbook_position_attention(b, c, d), atol=1e-5)
    True
    """
    key, query, value = (x.flatten(2).transpose(1, 2).unsqueeze(1).contiguous() for x in (b, c, d))
    found = F.scaled_dot_product_attention(query, key, value, scale=1.0)
    return found.squeeze(1).transpose(1, 2).reshape(d.shape)


def textbook_position_attention(b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """The same by the N x N map of Eq. 3 itself."""
    b, c, d_flat = (x.flatten(2) for x in (b, c, d))
    s = torch.softmax(c.transpose(1, 2) @ b, dim=-1)  # (B, N, N), row j: over i
    return (d_flat @ s.transpose(1, 2)).reshape(d.shape)


class ChannelAttention(nn.Module):
    """CAM: (B, C, H, W) -> the same, Eq. 2: E = gamma attention(A) + A.

    >>> x = torch.randn(1, 4, 3, 3)
    >>> torch.equal(ChannelAttention()(x), x)
    True
    """

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, a: Tensor) -> Tensor:
        return self.gamma * channel_attention(a) + a


class PositionAttention(nn.Module):
    """PAM: (B, C, H, W) -> the same, Eq. 4: E = eta attention(B, C, D) + A; B, C, D from a 1x1 convolution, batch norm
    and ReLU each, with as many channels as A."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.b, self.c, self.d = (_projection(channels) for _ in range(3))
        self.eta = nn.Parameter(torch.zeros(()))

    def forward(self, a: Tensor) -> Tensor:
        return self.eta * position_attention(self.b(a), self.c(a), self.d(a)) + a


def _projection(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())


def _at_least_single(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
