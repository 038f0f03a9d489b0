"""What a network costs: parameters, and multiply-adds of its convolutions and of its attention products apart.

SLSNet, Tables 3, 5, 6 and 7 print "MACs" that leave the attention products out; both are counted here, and no other
layers (norms, activations, resizing), as is usual. Shapes alone are followed: nothing is computed.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cutis.layers.dual_attention import ChannelAttention, PositionAttention

__all__ = ["Budget", "budget"]


class Budget(NamedTuple):
    """`parameters`, and multiply-adds for one image: `convolutions`, `attention`."""

    parameters: int
    convolutions: int
    attention: int

    @property
    def macs(self) -> int:
        """All multiply-adds."""
        return self.convolutions + self.attention


def budget(network: nn.Module, size: int) -> Budget:
    """Of one image of `size` x `size` pixels; `network` stays as it is.

    >>> budget(nn.Conv2d(3, 2, 3, padding=1, bias=False), 10)
    Budget(parameters=54, convolutions=5400, attention=0)
    """
    shadow = copy.deepcopy(network).to("meta").eval()
    counts = {"convolutions": 0, "attention": 0}

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            counts["convolutions"] += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.ConvTranspose2d):
            counts["convolutions"] += inputs[0].numel() * module.weight[0].numel()
        else:
            channels, positions = output.shape[1], output.shape[2] * output.shape[3]
            position = isinstance(module, PositionAttention)
            counts["attention"] += 2 * channels * positions * (positions if position else channels)

    for module in shadow.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, PositionAttention, ChannelAttention)):
            module.register_forward_hook(count)
    with torch.no_grad():
        shadow(torch.zeros(1, 3, size, size, device="meta"))
    return Budget(sum(p.numel() for p in network.parameters()), counts["convolutions"], counts["attention"])
