"""Essential Feature-Flow Unit (EFFU): a gate for each channel of a skip connection, trained by REINFORCE.

SparseSegNet, Sec. 3.1, Eq. 3-4 (Williams, 1992). Differs from the text in the sign, which it leaves open: what is
minimised is the expected boundary error, so a pattern of gates with a smaller error than the baseline becomes more
likely. One pattern is drawn for each image. phi learns from `reinforce` and the L1 term alone: the pattern is a sample,
no gradient passes through it, and what passes through the features is the gated network's own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["EFFU", "MovingBaseline", "gates_of", "reinforce"]

_CERTAIN = 120.0  # sigmoid(-120) is exactly 0 in float32, and sigmoid(120) exactly 1


class EFFU(nn.Module):
    """(B, channels, H, W) skip -> the same with some channels set to 0; `open`: each gate's first probability.

    In training each image draws its pattern (from torch's own stream of random numbers, as dropout does), kept as
    `pattern` (B, channels) until the next; in evaluation a gate is open where its probability is at least a half.

    >>> gate = EFFU(3, open=0.9).eval()
    >>> _ = gate.phi.data[1].fill_(-2.0)
    >>> gate(torch.ones(1, 3, 1, 1)).flatten(), gate.closed()
    (tensor([1., 0., 1.]), tensor([False,  True, False]))
    """

    def __init__(self, channels: int, open: float) -> None:
        super().__init__()
        if not 0 < open < 1:
            raise ValueError(f"a gate is open with a probability between 0 and 1, got {open}")
        self.phi = nn.Parameter(torch.full((channels,), math.log(open / (1 - open))))
        self.pattern: Tensor | None = None

    def forward(self, skip: Tensor) -> Tensor:
        if not self.training:
            return skip * self.closed().logical_not().to(skip.dtype)[:, None, None]
        p = self.probabilities().detach()
        self.pattern = torch.bernoulli(p.expand(len(skip), -1))  # Eq. 3
        return skip * self.pattern.to(skip.dtype)[:, :, None, None]

    def probabilities(self) -> Tensor:
        """(channels,): sigmoid(phi)."""
        return self.phi.float().sigmoid()

    def closed(self) -> Tensor:
        """(channels,) bool: what is off in evaluation."""
        return self.probabilities().detach() < 0.5

    def log_likelihood(self) -> Tensor:
        """(B,): log p(g | phi) of the pattern that each image of the last forward in training drew."""
        if self.pattern is None:
            raise ValueError("no pattern was drawn yet: run the network in training mode first")
        phi = self.phi.float().expand_as(self.pattern)
        return -F.binary_cross_entropy_with_logits(phi, self.pattern.float(), reduction="none").sum(1)

    @torch.no_grad()
    def settle(self) -> None:
        """Make every gate what it is in evaluation, in training too and for good: the end of its search.

        phi becomes so large that its sigmoid is exactly 0 or 1, where the gradients of both its terms are 0.
        """
        self.phi.copy_(torch.where(self.closed(), -_CERTAIN, _CERTAIN))


def gates_of(network: nn.Module) -> list[EFFU]:
    """All gates of a network, in the order it names them; none in a plain one."""
    return [module for module in network.modules() if isinstance(module, EFFU)]


def reinforce(error: Tensor, baseline: Tensor | float, log_likelihood: Tensor) -> Tensor:
    """(B,) errors and log-likelihoods of the patterns that caused them -> a scalar whose gradient is Eq. 4.

    That is the mean over images of (error - baseline) d log p / d phi, an unbiased estimate of the gradient of the
    expected error for any baseline that the patterns have no part in: a number, or (B,), one an image. The error of the
    same image under another pattern is such a one (on the bundled network, gates at 0.9, its estimate spreads a tenth
    as wide as with a moving average, for images differ far more than patterns). The value itself means nothing.

    >>> reinforce(torch.tensor([0.3, 0.1]), 0.2, torch.tensor([-1.0, -3.0]))
    tensor(0.1000)
    """
    return ((error - baseline).detach() * log_likelihood).mean()


class MovingBaseline(nn.Module):
    """B_baseline of Eq. 4: the exponential moving average of the errors of earlier batches, kept in checkpoints.

    forward(error (B,)) -> scalar, the average before this batch, which then counts with 1 - `decay`. The very first
    batch has none before it and gets its own mean.

    >>> baseline = MovingBaseline(decay=0.9)
    >>> [round(baseline(torch.tensor([x, x])).item(), 3) for x in (1.0, 0.0, 0.0)]
    [1.0, 1.0, 0.9]
    """

    average: Tensor
    batches: Tensor

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def forward(self, error: Tensor) -> Tensor:
        mean = error.float().mean()
        before = torch.where(self.batches > 0, self.average, mean)
        self.average.copy_(self.decay * before + (1 - self.decay) * mean)
        self.batches += 1
        return before
