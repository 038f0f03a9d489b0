"""Fisher information of a channel: how much the likelihood of the truth hangs on it, on the mean over images.

SparseSegNet, Sec. 3.1, Eq. 1 (after Molchanov et al., 2019): I(theta) = E[(d log p(y | x, theta) / d theta)^2]. Here
theta is a gate on the channel (`gates.py`), y the image's mask, p the product over pixels of the network's Bernoulli
probabilities; so the score is the second-order estimate of what the log-likelihood loses without the channel, doubled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cutis.data.batches import Batch
from cutis.pruning.gates import gate_gradients

__all__ = ["fisher_scores", "log_likelihood"]


def fisher_scores(network: nn.Module, batches: Iterable[Batch], blocks: Sequence[str]) -> dict[str, Tensor]:
    """Block -> (C,) float64: Eq. 1, the mean over all images of the squared derivative; nats squared."""
    gradients = gate_gradients(network, batches, blocks, lambda logits, batch: log_likelihood(logits, batch.mask))
    found = [{block: values.double().square() for block, values in one.items()} for one in gradients]
    return {block: torch.cat([one[block] for one in found]).mean(0) for block in blocks}


def log_likelihood(logits: Tensor, mask: Tensor) -> Tensor:
    """(B, 1, H, W) logits, (B, 1, H, W) of 0 and 1 -> (B,): log p(y | x), summed over pixels; nats.

    >>> log_likelihood(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    tensor([-2.7726])
    """
    return -F.binary_cross_entropy_with_logits(logits, mask, reduction="none").flatten(1).sum(1)
