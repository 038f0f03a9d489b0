"""The convolutional trunks that the two classifiers stand on, from torchvision and timm, with their own weights' names.

SE-LCN, Sec. 4.1.2-4.1.3. A trunk is everything before the head: its state dict has the keys of the library's network,
so that published weights load without renaming. Nothing is downloaded here (`cutis.models.pretrained` does that).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import timm
import torchvision
from torch import nn

from cutis.errors import CutisError
from cutis.imaging.cells import Cells

__all__ = ["BACKBONES", "TIMM", "TORCHVISION", "Trunk", "build_trunk"]

TORCHVISION = {
    "squeezenet1_1": (("features",), 512),
    "resnet34": (("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"), 512),
    "shufflenet_v2_x1_0": (("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5"), 1024),
}
TIMM = ("efficientnet_b0", "efficientnet_b4", "mobilenetv2_100")
BACKBONES = (*TORCHVISION, *TIMM)
_CELLS = {"squeezenet1_1": Cells(first=15.5, step=16)}  # no padding: 2, 4, 8, 16 apart, each begins a step further in
_PADDED = Cells(first=0.5, step=32)  # five halvings that are each padded by half their kernel


class Trunk(NamedTuple):
    """`module`: (B, 3, H, W) -> (B, channels, H / 32, W / 32), or H / 16 in SqueezeNet; where on the input its cells
    look."""

    module: nn.Module
    channels: int
    cells: Cells


def build_trunk(name: str) -> Trunk:
    """The trunk called `name`, with random weights.

    >>> build_trunk("shufflenet_v2_x1_0").channels
    1024
    >>> build_trunk("vgg")
    Traceback (most recent call last):
    cutis.errors.CutisError: no backbone 'vgg'; there are: squeezenet1_1, resnet34, shufflenet_v2_x1_0, \
efficientnet_b0, efficientnet_b4, mobilenetv2_100
    """
    cells = _CELLS.get(name, _PADDED)
    if name in TORCHVISION:
        parts, channels = TORCHVISION[name]
        whole = torchvision.models.get_model(name, weights=None)
        return Trunk(nn.Sequential(OrderedDict((part, getattr(whole, part)) for part in parts)), channels, cells)
    if name in TIMM:
        network = timm.create_model(name, pretrained=False, num_classes=0, global_pool="")
        return Trunk(network, int(network.num_features), cells)
    raise CutisError(f"no backbone {name!r}; there are: {', '.join(BACKBONES)}")
