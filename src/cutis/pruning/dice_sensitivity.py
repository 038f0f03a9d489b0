"""Sensitivity of the Dice loss to a channel: the size of its gradient, on the mean over images.

SparseSegNet, Sec. 3.1, Eq. 2: dL_Dice / dw_i; the channels with the smallest gradients go. Here w_i is a gate on the
channel (`gates.py`). The size is taken image by image: at the end of a training the gradients of all images together
cancel for every channel, needed or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from cutis.data.batches import Batch
from cutis.losses.overlap import dice_loss
from cutis.pruning.gates import gate_gradients

__all__ = ["dice_sensitivity_scores"]


def dice_sensitivity_scores(network: nn.Module, batches: Iterable[Batch], blocks: Sequence[str]) -> dict[str, Tensor]:
    """Block -> (C,) float64: the mean over all images of |dL_Dice / dw| of Eq. 2."""
    gradients = gate_gradients(network, batches, blocks, lambda logits, batch: dice_loss(logits, batch.mask))
    found = [{block: values.double().abs() for block, values in one.items()} for one in gradients]
    return {block: torch.cat([one[block] for one in found]).mean(0) for block in blocks}
