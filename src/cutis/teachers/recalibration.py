"""Batch norms of a teacher brought to the colours of other images: their statistics are taken anew, weights stay.

SparseSegNet, Sec. 4.3 ("a one-time self-supervised BN recalibration on ~8,000 unlabeled HAM10000 images corrects color
shifts without updating weights"). SAM has layer norms only and nothing to recalibrate; the paper does not say what of
it was. A channel's mean and variance are those over all pixels of all images, not an average of the batches'.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cutis.errors import CutisError
from cutis.models.pretrained import Moments

__all__ = ["recalibrate"]


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Iterable[Tensor]) -> dict[str, float]:
    """Set every batch norm's running mean and variance from `batches`, (B, 3, H, W) as the network takes them.

    While the images pass, each norm normalises by its batch, as in training; everything else is in evaluation mode.
    Answers each norm's mean |shift of a channel's mean| in its old standard deviations. Weights are not touched.

    >>> network = nn.Sequential(nn.BatchNorm2d(1))
    >>> recalibrate(network, [torch.full((1, 1, 2, 2), 3.0), torch.full((1, 1, 2, 2), 1.0)])
    {'0': 2.0}
    >>> network[0].running_mean, network[0].running_var
    (tensor([2.]), tensor([1.]))
    """
    norms = {name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)}
    if not norms:
        raise CutisError("the teacher has no batch norms: there is nothing to recalibrate")
    seen = {norm: Moments() for norm in norms.values()}
    handles = [norm.register_forward_pre_hook(lambda module, x: seen[module].add(x[0])) for norm in norms.values()]
    modes = {module: module.training for module in network.modules()}
    momenta = {norm: (norm.momentum, norm.num_batches_tracked) for norm in norms.values()}
    try:
        network.eval()
        for norm in norms.values():
            norm.train()
            norm.momentum, norm.num_batches_tracked = 0.0, None  # the pass itself leaves the statistics alone
        for batch in batches:
            network(batch)
    finally:
        for handle in handles:
            handle.remove()
        for norm, (momentum, tracked) in momenta.items():
            norm.momentum, norm.num_batches_tracked = momentum, tracked
        for module, training in modes.items():
            module.training = training
    shifts = {}
    for name, norm in norms.items():
        try:
            mean, variance = seen[norm].values()
        except ValueError as error:
            raise CutisError(f"no image was given to recalibrate {name} on: name a data set with images") from error
        shifts[name] = float(((mean - norm.running_mean).abs() / (norm.running_var + norm.eps).sqrt()).mean())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
    return {name: round(shift, 4) for name, shift in shifts.items()}
