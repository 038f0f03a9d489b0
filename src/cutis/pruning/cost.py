"""What a network costs before anything is measured: parameters, and multiplications with additions (MACs)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["Cost", "cost"]


class Cost(NamedTuple):
    """`parameters`, and `macs` of one image."""

    parameters: int
    macs: int


def cost(network: nn.Module, example: Tensor) -> Cost:
    """Count both on `example`, (1, 3, H, W); convolutions and matrix products count, additions alone do not.

    >>> cost(nn.Conv2d(3, 4, 3, padding=1), torch.zeros(1, 3, 8, 8))
    Cost(parameters=112, macs=6912)
    """
    training = network.training
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network.eval()(example)
    network.train(training)
    return Cost(sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2)
