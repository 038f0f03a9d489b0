"""A gated SparseSegNet as it is exported: what is closed has left the graph, the answer is the same.

Ours, on SparseSegNet, Sec. 3.1. A skip that is closed altogether goes with its addition, one that is open altogether
loses its gate. Of one that is partly open the channels are sorted, those that are open first, in the map it comes from,
in the map it is added to and in the weights of whatever reads them; then the addition is of the first so many channels
and the others pass by. Exact up to the order of sums.

In INT8 (one thread of a busy x86, processor time, 256x256, half of each skip open; the ungated network is 1): so 1.03,
as a product with the pattern 1.06, quantised or not, with the skip sliced and padded again 1.05; all three skips gone
0.98. An addition is cheap, and encoder maps also feed the next stage: what gates save here is little, and to close a
skip altogether is all of it. They leave weights to pruning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cutis.layers.effu import EFFU

if TYPE_CHECKING:
    from cutis.models.sparsesegnet import SparseSegNet

__all__ = ["leave_out_closed"]


@torch.no_grad()
def leave_out_closed(network: SparseSegNet) -> None:
    """Take every gate out of `network`, in place, so that it answers as it did in evaluation."""
    for number, step in enumerate(network.decoder.steps):
        if not isinstance(step.skip, EFFU):
            continue
        closed = step.skip.closed()
        step.skip = nn.Identity()
        if closed.any():
            step.open = int((~closed).sum())
            if step.open:
                _sort(network, number, closed.to(torch.uint8).argsort(stable=True))


def _sort(network: SparseSegNet, number: int, order: Tensor) -> None:
    """Channels of the skip into step `number` and of what it is added to, into `order`."""
    encoder, decoder = network.encoder, network.decoder
    stages = (encoder.stage3, encoder.stage2, encoder.stage1)
    readers = (encoder.stage4, encoder.stage3, encoder.stage2)
    _sort_outputs(stages[number].aggregate, order)
    _sort_inputs(readers[number].entry, order)
    if number == 0:
        _sort_outputs(decoder.bridge, order)
    else:  # four channels before a pixel shuffle are one behind it
        _sort_outputs(decoder.steps[number - 1].up, (4 * order[:, None] + torch.arange(4)).flatten())
    _sort_inputs(decoder.steps[number].refine, order)


def _sort_outputs(block: nn.Sequential, order: Tensor) -> None:
    """Of a convolution without bias and the batch norm behind it."""
    convolution, norm = block[0], block[1]
    for values in (convolution.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var):
        values.copy_(values[order])


def _sort_inputs(block: nn.Sequential, order: Tensor) -> None:
    block[0].weight.copy_(block[0].weight[:, order])
