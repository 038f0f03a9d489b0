"""SparseSegNet: a four-stage encoder with deep layer aggregation and a decoder of three transposed convolutions.

Dasgupta et al., "SparseSegNet", Sec. 3.1-3.2 (docs/papers/sparsesegnet.md). Differs from the text, whose stated layers
and stated budget do not fit together: the four stages lie at strides 4, 8, 16 and 16 instead of 2, 4, 8 and 8 (the
first of the two separable convolutions strides), their widths are keywords, stages 2 and 3 use dense 3x3 convolutions
(in INT8 as fast as separable ones with more features), and the last transposed convolution gives the logits themselves
at stride 2, so that no wide map ever exists at high resolution: on a CPU that costs more than a stage.

Each skip enters the decoder through one named module (`decoder.steps[i].skip`): with `gates` an EFFU (Eq. 3), else
nothing. The gates act in the decoder alone, so that one pass of the encoder serves several patterns (`decode`). Pruning
and distillation belong to training and are not here.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cutis.layers.effu import EFFU
from cutis.models.closed_channels import leave_out_closed
from cutis.registry import models

__all__ = ["Decoder", "Embedded", "Encoder", "SparseSegNet", "sparsesegnet"]


class Embedded(NamedTuple):
    """`logits`: (B, 1, H, W). `embedding`: (B, C, H / 16, W / 16), the encoder's last map, which AG-OP compares."""

    logits: Tensor
    embedding: Tensor


class SparseSegNet(nn.Module):
    """(B, 3, H, W) normalised RGB, H and W multiples of 16 -> (B, 1, H, W) logits of "lesion".

    `gates`: None for plain skips, or the probability with which every gate on them is open at the start. `tail`: the
    stride at which the decoder gives logits; at 4 its last step is left out, and the finest map skips nowhere.

    >>> network = SparseSegNet(widths=(8, 16, 24, 32), depths=(1, 1, 1, 3))
    >>> network(torch.zeros(2, 3, 64, 48)).shape
    torch.Size([2, 1, 64, 48])
    """

    def __init__(self, widths: Sequence[int], depths: Sequence[int], gates: float | None = None, tail: int = 2) -> None:
        super().__init__()
        if tail not in (2, 4):
            raise ValueError(f"the tail gives logits at stride 2 or 4, not {tail!r}")
        self.tail = tail
        self.encoder = Encoder(widths, depths)
        self.decoder = Decoder(widths, gates, tail)

    def forward(self, image: Tensor) -> Tensor:
        return self.decode(self.encoder(image))

    def decode(self, maps: Sequence[Tensor]) -> Tensor:
        """The encoder's four maps, finest first -> (B, 1, H, W) logits; in training each call draws new patterns."""
        return F.interpolate(self.decoder(maps), scale_factor=float(self.tail), mode="bilinear", align_corners=False)

    def embed(self, image: Tensor) -> Embedded:
        """Logits, and the map that is distilled."""
        maps = self.encoder(image)
        return Embedded(self.decode(maps), maps[-1])

    def deployed(self) -> SparseSegNet:
        """A copy in evaluation mode that answers the same and has no gates: what is closed is gone from its graph."""
        network = copy.deepcopy(self).eval()
        leave_out_closed(network)
        return network


class Encoder(nn.Module):
    """(B, 3, H, W) -> four maps at strides 4, 8, 16, 16 with `widths` channels; `depths` blocks a stage (Sec. 3.1)."""

    def __init__(self, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        one, two, three, four = widths
        self.stem = _conv(3, one // 2, stride=2)
        self.stage1 = Stage(_separable(one // 2, one, stride=2), one, [_separable(one, one) for _ in range(depths[0])])
        self.stage2 = Stage(_conv(one, two, stride=2), two, [_conv(two, two) for _ in range(depths[1])])
        self.stage3 = Stage(_conv(two, three, stride=2), three, [_conv(three, three) for _ in range(depths[2])])
        entry = _conv(three, four, kernel=1)
        self.stage4 = Stage(entry, four, [_conv(four, four, dilation=2) for _ in range(depths[3])])

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.stem(image)
        maps = []
        for stage in (self.stage1, self.stage2, self.stage3, self.stage4):
            x = stage(x)
            maps.append(x)
        return maps


class Stage(nn.Module):
    """Enter, run the blocks, aggregate what every block gave with a 1x1 convolution (DLA's root node).

    Each block adds to its input, so that a deep stage trains from scratch.
    """

    def __init__(self, entry: nn.Module, width: int, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.entry = entry
        self.blocks = nn.ModuleList(blocks)
        self.aggregate = _conv(width * (1 + len(blocks)), width, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.entry(x)]
        for block in self.blocks:
            maps.append(maps[-1] + block(maps[-1]))
        return self.aggregate(torch.cat(maps, 1))


class Decoder(nn.Module):
    """Four maps, finest first -> (B, 1, H/2, W/2) logits, or with `tail` 4 (B, 1, H/4, W/4).

    Three steps, each a skip and a transposed convolution (Sec. 3.2); with `tail` 4, two.
    """

    def __init__(self, widths: Sequence[int], gates: float | None = None, tail: int = 2) -> None:
        super().__init__()
        one, two, three, four = widths
        self.bridge = _conv(four, three, kernel=1)
        ends = [(three, two), (two, one), (one, None)] if tail == 2 else [(three, two), (two, None)]
        self.steps = nn.ModuleList([DecoderStep(inputs, outputs, gates) for inputs, outputs in ends])

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        x = self.bridge(maps[-1])
        for step, skip in zip(self.steps, reversed(maps[:-1]), strict=False):  # a short tail has no last step
            x = step(x, skip)
        return x


class DecoderStep(nn.Module):
    """Add the skip, refine with a 3x3 convolution, double the size by a transposed convolution.

    `outputs=None` is the last step: one channel of logits, neither normalised nor rectified. A transposed convolution
    of kernel 2 and stride 2 is a 1x1 convolution to four times the channels and a pixel shuffle; written so, it runs in
    INT8 where runtimes have no quantised transposed convolution. `open`: how many channels, the first, take the skip.
    """

    def __init__(self, inputs: int, outputs: int | None, gates: float | None = None) -> None:
        super().__init__()
        self.skip = nn.Identity() if gates is None else EFFU(inputs, gates)
        self.open: int | None = None  # all of them
        self.refine = _conv(inputs, inputs)
        up = nn.Conv2d(inputs, 4 * (outputs or 1), 1, bias=outputs is None)
        norm = [nn.BatchNorm2d(4 * outputs), nn.ReLU(inplace=True)] if outputs else []
        self.up = nn.Sequential(up, *norm, nn.PixelShuffle(2))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.up(self.refine(self._join(x, self.skip(skip))))

    def _join(self, x: Tensor, skip: Tensor) -> Tensor:
        if self.open is None:
            return x + skip
        if self.open == 0:
            return x
        return torch.cat([x[:, : self.open] + skip[:, : self.open], x[:, self.open :]], 1)


def _conv(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _separable(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    depthwise = nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False)
    return nn.Sequential(depthwise, nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), *_conv(inputs, outputs, kernel=1))


@models.register("sparsesegnet")
def sparsesegnet(
    widths: Sequence[int] = (32, 96, 192, 192),
    depths: Sequence[int] = (1, 2, 2, 3),
    gates: float | None = None,
    tail: int = 2,
) -> SparseSegNet:
    """SparseSegNet at the bundled widths."""
    return SparseSegNet(widths, depths, gates, tail)
