"""E-Layer: fuses a class activation map into another network's features.

SE-LCN, Sec. 4.1.3 and Fig. 4 (after Xie et al., MB-DCNN, 2020): concatenate, 1x1 convolution, batch norm, ReLU. The map
of the symmetry network is resized bilinearly to the features, which the paper leaves open.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ELayer"]


class ELayer(nn.Module):
    """(B, channels, h, w) features and (B, 1, any, any) map in [0, 1] -> (B, channels, h, w), not negative.

    >>> fuse = ELayer(8)
    >>> fuse(torch.zeros(2, 8, 7, 7), torch.zeros(2, 1, 13, 13)).shape
    torch.Size([2, 8, 7, 7])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fuse = nn.Conv2d(channels + 1, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor, activation: Tensor) -> Tensor:
        size = features.shape[2:]
        resized = F.interpolate(activation.float(), size=size, mode="bilinear", align_corners=False)
        return self.norm(self.fuse(torch.cat([features, resized.to(features.dtype)], 1))).relu()
