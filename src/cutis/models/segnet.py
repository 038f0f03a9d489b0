"""SegNet: VGG-16's thirteen convolutions down, the same up, and maxima put back where they were.

Badrinarayanan et al., "SegNet" (2017), one of SLSNet's comparisons (its Tables 3 and 4, where a version of 11.5 M
parameters is printed; this is the published one at its own widths, which are a keyword).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from cutis.layers.padding import pad_to_multiple
from cutis.layers.unpool import pool, unpool
from cutis.registry import models

__all__ = ["SegNet", "segnet"]

DEPTHS = (2, 2, 3, 3, 3)


class SegNet(nn.Module):
    """(B, 3, H, W) -> (B, 1, H, W) logits; sizes that 32 does not divide are padded and cropped back.

    >>> import torch
    >>> SegNet((4, 4, 8, 8, 8)).eval()(torch.zeros(1, 3, 40, 64)).shape
    torch.Size([1, 1, 40, 64])
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        inputs, before = (3, *widths[:-1]), (widths[0], *widths[:-1])
        self.down = nn.ModuleList(
            _stage(first, width, width, depth) for first, width, depth in zip(inputs, widths, DEPTHS, strict=True)
        )
        self.up = nn.ModuleList(
            _stage(width, width, last, depth) for width, last, depth in zip(widths, before, DEPTHS, strict=True)
        )
        self.head = nn.Conv2d(widths[0], 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        x, kept = pad_to_multiple(image, 32), []
        for stage in self.down:
            x, places = pool(stage(x))
            kept.append(places)
        for stage, places in zip(reversed(self.up), reversed(kept), strict=True):
            x = stage(unpool(x, places))
        return self.head(x)[..., :height, :width]


def _stage(inputs: int, width: int, outputs: int, depth: int) -> nn.Sequential:
    """`depth` 3x3 convolutions, the first from `inputs`, the last to `outputs`."""
    sides = [inputs, *([width] * (depth - 1)), outputs]
    layers: list[nn.Module] = []
    for first, second in pairwise(sides):
        layers += [nn.Conv2d(first, second, 3, padding=1, bias=False), nn.BatchNorm2d(second), nn.ReLU()]
    return nn.Sequential(*layers)


@models.register("segnet")
def segnet(widths: Sequence[int] = (64, 128, 256, 512, 512)) -> SegNet:
    """At VGG-16's widths."""
    return SegNet(widths)
