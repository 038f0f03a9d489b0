"""ENet: a small network of bottlenecks that leaves the pixels' resolution at once and comes back in two steps.

Paszke et al., "ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation" (2016), Table 1, Fig. 2:
SLSNet's lightest comparison (its Tables 3 and 5). Plain, as the article draws it; the maximum's place is kept as a map
of zeros and ones (`layers/unpool.py`), which every runtime can read.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cutis.layers.padding import pad_to_multiple
from cutis.layers.unpool import pool, unpool
from cutis.registry import models

__all__ = ["ENet", "enet"]

SECTION: tuple[dict[str, Any], ...] = (
    {}, {"dilation": 2}, {"asymmetric": 5}, {"dilation": 4}, {}, {"dilation": 8}, {"asymmetric": 5}, {"dilation": 16},
)  # fmt: skip
"""Table 1, bottlenecks 2.1 to 2.8 and again 3.0 to 3.7."""


class ENet(nn.Module):
    """(B, 3, H, W) -> (B, 1, H, W) logits; sizes that 8 does not divide are padded and cropped back.

    >>> ENet().eval()(torch.zeros(1, 3, 40, 44)).shape
    torch.Size([1, 1, 40, 44])
    """

    def __init__(self) -> None:
        super().__init__()
        self.initial = nn.Conv2d(3, 13, 3, stride=2, padding=1, bias=False)
        self.initial_norm = nn.Sequential(nn.BatchNorm2d(16), nn.PReLU(16))
        self.down1 = Down(16, 64, dropout=0.01)
        self.stage1 = nn.Sequential(*(Bottleneck(64, dropout=0.01) for _ in range(4)))
        self.down2 = Down(64, 128, dropout=0.1)
        self.stage2 = nn.Sequential(*(Bottleneck(128, dropout=0.1, **how) for how in (*SECTION, *SECTION)))
        self.up1 = Up(128, 64)
        self.stage4 = nn.Sequential(*(Bottleneck(64, dropout=0.1, decoder=True) for _ in range(2)))
        self.up2 = Up(64, 16)
        self.stage5 = Bottleneck(16, dropout=0.1, decoder=True)
        self.head = nn.ConvTranspose2d(16, 1, 3, stride=2, padding=1, output_padding=1)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        image = pad_to_multiple(image, 8)
        x = self.initial_norm(torch.cat([self.initial(image), F.max_pool2d(image, 2)], 1))
        x, first = self.down1(x)
        x, second = self.down2(self.stage1(x))
        x = self.stage4(self.up1(self.stage2(x), second))
        return self.head(self.stage5(self.up2(x, first)))[..., :height, :width]


class Bottleneck(nn.Module):
    """(B, C, H, W) -> the same: 1x1 to a quarter of the channels, 3x3 (dilated, or 5x1 and 1x5), 1x1, added."""

    def __init__(
        self, channels: int, *, dropout: float, dilation: int = 1, asymmetric: int = 0, decoder: bool = False
    ) -> None:
        super().__init__()
        inner = channels // 4
        if asymmetric:
            half = asymmetric // 2
            middle = nn.Sequential(
                nn.Conv2d(inner, inner, (asymmetric, 1), padding=(half, 0), bias=False),
                nn.Conv2d(inner, inner, (1, asymmetric), padding=(0, half)),
            )
        else:
            middle = nn.Sequential(nn.Conv2d(inner, inner, 3, padding=dilation, dilation=dilation))
        self.branch = nn.Sequential(
            _unit(nn.Conv2d(channels, inner, 1, bias=False), inner, decoder),
            *_unit(middle, inner, decoder),
            nn.Conv2d(inner, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.Dropout2d(dropout),
        )  # fmt: skip
        self.activation = _activation(channels, decoder)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x + self.branch(x))


class Down(nn.Module):
    """(B, I, H, W) -> (B, O, H/2, W/2) and the places of the maxima (B, I, H, W)."""

    def __init__(self, inputs: int, outputs: int, *, dropout: float) -> None:
        super().__init__()
        inner = inputs // 4
        self.more = outputs - inputs
        self.branch = nn.Sequential(
            _unit(nn.Conv2d(inputs, inner, 2, stride=2, bias=False), inner, False),
            _unit(nn.Conv2d(inner, inner, 3, padding=1), inner, False),
            nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.Dropout2d(dropout),
        )  # fmt: skip
        self.activation = _activation(outputs, False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        small, places = pool(x)
        small = F.pad(small, (0, 0, 0, 0, 0, self.more))
        return self.activation(small + self.branch(x)), places


class Up(nn.Module):
    """(B, I, H, W) and the places of maxima (B, O, 2H, 2W) -> (B, O, 2H, 2W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        inner = inputs // 4
        self.narrow = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        transposed = nn.ConvTranspose2d(inner, inner, 3, stride=2, padding=1, output_padding=1)
        self.branch = nn.Sequential(
            _unit(nn.Conv2d(inputs, inner, 1, bias=False), inner, True), _unit(transposed, inner, True),
            nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.Dropout2d(0.1),
        )  # fmt: skip

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        return F.relu(unpool(self.narrow(x), places) + self.branch(x))


def _unit(layer: nn.Module, channels: int, decoder: bool) -> nn.Sequential:
    return nn.Sequential(layer, nn.BatchNorm2d(channels), _activation(channels, decoder))


def _activation(channels: int, decoder: bool) -> nn.Module:
    return nn.ReLU() if decoder else nn.PReLU(channels)


@models.register("enet")
def enet() -> ENet:
    """As published, for one class."""
    return ENet()
