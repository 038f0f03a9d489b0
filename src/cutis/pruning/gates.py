"""A gate of value 1 on every channel of a block: its gradient tells what the channel does, and nothing is removed.

Molchanov et al. (CVPR 2019), Sec. 3.2, which SparseSegNet cites for Eq. 1. A gate multiplies all that a channel's
removal takes away (`surgery.owners`), so its gradient is that of removing the channel. A weight's own gradient would
depend on how batch norm happens to scale it; a gate's does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cutis.data.batches import Batch
from cutis.pruning.surgery import convolution_of, owners

__all__ = ["gate_gradients"]


def gate_gradients(
    network: nn.Module, batches: Iterable[Batch], blocks: Sequence[str], value: Callable[[Tensor, Batch], Tensor]
) -> Iterator[dict[str, Tensor]]:
    """One item a batch: block -> (B, C), the derivative of each image's value along each channel's gate.

    `value`: (logits, batch) -> (B,). The network answers as in evaluation, so no image has a part in another's value.
    """
    training = network.training
    network.eval()
    written: dict[str, dict[str, Tensor]] = {}
    try:
        for batch in batches:
            written = written or {block: owners(network, batch.image[:1], block) for block in blocks}
            gates = {block: _gates(network, block, batch.image) for block in blocks}
            with torch.enable_grad(), _gated(network, written, gates):
                values = value(network(batch.image), batch)
            found = torch.autograd.grad(values.sum(), list(gates.values()))
            yield dict(zip(blocks, found, strict=True))
    finally:
        network.train(training)


def _gates(network: nn.Module, block: str, image: Tensor) -> Tensor:
    return image.new_ones(len(image), convolution_of(network, block).out_channels).requires_grad_()


@contextmanager
def _gated(
    network: nn.Module, written: Mapping[str, Mapping[str, Tensor]], gates: Mapping[str, Tensor]
) -> Iterator[None]:
    """While it lasts, the modules that write a block's channels have their outputs multiplied by its gates."""
    handles = [
        network.get_submodule(name).register_forward_hook(_times(gates[block], owner))
        for block, modules in written.items()
        for name, owner in modules.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _times(gates: Tensor, owner: Tensor) -> Callable[[nn.Module, object, Tensor], Tensor]:
    def hook(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        factor = torch.where(owner >= 0, gates[:, owner.clamp(min=0)], 1)
        return output * factor[:, :, None, None]

    return hook
