"""SLSNet's generator: multiscale input, factorised 1-D convolutions, position and channel attention, a small decoder.

Sarker et al., "SLSNet", Sec. 3.1-3.2 and Fig. 1 (docs/papers/slsnet.md). The paper prints no widths but the multiscale
block's 16; with ERFNet's, which it builds on, both of its printed budgets are met: 2.35 M parameters, and multiply-adds
at 64, 128 and 256 pixels. Differs from the text in the downsampling layer, "a convolutional layer followed by a (2,2)
max-pooling": it is ERFNet's, a convolution of stride 2 (the stride that Sec. 3.2 gives all layers) beside the
max-pooling, concatenated. One after the other it would cost 1.1 G multiply-adds at 128 pixels instead of 0.9.

The four ablations of table 6 are keywords: `multiscale`, `position` and `channel` (attention). The baseline has none.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cutis.layers.dual_attention import ChannelAttention, PositionAttention
from cutis.layers.factorized import FactorizedAttention, FactorizedBlock
from cutis.layers.padding import pad_to_multiple
from cutis.registry import models

__all__ = ["SLSNet", "slsnet"]

SCALES = (8, 4, 2, 1)
DILATIONS = (2, 4, 8, 16, 2, 4, 8, 16)
STRIDE = 8


class SLSNet(nn.Module):
    """(B, 3, H, W) normalised RGB -> (B, 1, H, W) logits of "lesion"; sizes that 8 does not divide are padded and
    cropped back.

    `dropout`: share of values dropped in the decoder while training, the paper's z.

    >>> network = SLSNet(multiscale=True, position=True, channel=True, dropout=0.1).eval()
    >>> network(torch.zeros(1, 3, 32, 44)).shape, sum(p.numel() for p in network.parameters())
    (torch.Size([1, 1, 32, 44]), 2346348)
    """

    def __init__(self, *, multiscale: bool, position: bool, channel: bool, dropout: float) -> None:
        super().__init__()
        self.entry = Multiscale(16, channel=channel) if multiscale else _conv(3, 16)
        self.encoder = nn.Sequential(
            Down(16, 32, position=position),
            Down(32, 64, position=position),
            *(FactorizedAttention(64, channel=channel) for _ in range(4)),
            Down(64, 128, position=position),
            *(FactorizedAttention(128, channel=channel, dilation=dilation) for dilation in DILATIONS),
        )
        self.bottleneck = Bottleneck(128, position=position, channel=channel)
        self.decoder = nn.Sequential(
            Up(128, 64, position=position),
            *(FactorizedAttention(64, channel=channel, dropout=dropout) for _ in range(2)),
            Up(64, 16, position=position),
            *(FactorizedAttention(16, channel=channel, dropout=dropout) for _ in range(2)),
        )
        self.head = nn.ConvTranspose2d(16, 1, 3, stride=2, padding=1, output_padding=1)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        x = self.entry(pad_to_multiple(image, STRIDE))
        return self.head(self.decoder(self.bottleneck(self.encoder(x))))[..., :height, :width]


class Multiscale(nn.Module):
    """(B, 3, H, W) -> (B, C, H, W): the image at 1/8, 1/4, 1/2 and 1, a 3x3 convolution and channel attention each,
    brought to full size bilinearly and averaged (Sec. 3.1)."""

    def __init__(self, channels: int, *, channel: bool) -> None:
        super().__init__()
        attention = ChannelAttention if channel else nn.Identity
        self.branches = nn.ModuleList(nn.Sequential(_conv(3, channels), attention()) for _ in SCALES)

    def forward(self, image: Tensor) -> Tensor:
        maps = []
        for scale, branch in zip(SCALES, self.branches, strict=True):
            x = branch(F.avg_pool2d(image, scale) if scale > 1 else image)
            if scale > 1:
                x = F.interpolate(x, scale_factor=float(scale), mode="bilinear", align_corners=False)
            maps.append(x)
        return torch.stack(maps).mean(0)


class Down(nn.Module):
    """(B, I, H, W) -> (B, O, H/2, W/2): stride-2 convolution and (2,2) max-pooling side by side, position attention."""

    def __init__(self, inputs: int, outputs: int, *, position: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs - inputs, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.attention = PositionAttention(outputs) if position else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.conv(x), F.max_pool2d(x, 2)], 1)
        return self.attention(self.norm(both).relu())


class Bottleneck(nn.Module):
    """A 1-D factorised layer, then channel and position attention side by side, summed; one alone where only one is
    asked for."""

    def __init__(self, channels: int, *, position: bool, channel: bool) -> None:
        super().__init__()
        self.block = FactorizedBlock(channels)
        self.channel = ChannelAttention() if channel else None
        self.position = PositionAttention(channels) if position else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(x)
        branches = [attention(x) for attention in (self.channel, self.position) if attention is not None]
        return torch.stack(branches).sum(0) if branches else x


class Up(nn.Module):
    """(B, I, H, W) -> (B, O, 2H, 2W): a 3x3 transposed convolution of stride 2, position attention (Sec. 3.2)."""

    def __init__(self, inputs: int, outputs: int, *, position: bool) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.attention = PositionAttention(outputs) if position else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.norm(self.conv(x)).relu())


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


@models.register("slsnet")
def slsnet(multiscale: bool = True, position: bool = True, channel: bool = True, dropout: float = 0.1) -> SLSNet:
    """The full generator; table 6's others leave parts out."""
    return SLSNet(multiscale=multiscale, position=position, channel=channel, dropout=dropout)
