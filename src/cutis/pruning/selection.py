"""From scores to the channels that go: a share, or a threshold, and a number that machines like.

SparseSegNet, Sec. 3.1 (a share is kept) and Eq. 6 (a threshold is). Ours: what stays is rounded up to a multiple.
Measured on 3x3 convolutions of C to C channels (AVX512-VNNI, one thread, time of C = 64 is 1): in fp32, whose kernels
work on blocks of 16, C = 72, 80, 88, 96 take 1.69, 1.69, 2.18, 2.19; in INT8 1.36, 1.49, 1.69, 1.85.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

__all__ = ["below", "least"]


def least(scores: Tensor, *, keep: float, multiple: int) -> list[int]:
    """(C,) scores -> the channels that go so that the share `keep` stays, rounded up to a multiple; least score first.

    >>> import torch
    >>> least(torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0, 6.0]), keep=0.5, multiple=1)
    [1, 3, 4]
    >>> least(torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0, 6.0]), keep=0.5, multiple=4)
    [1, 3]
    """
    return _going(scores, math.ceil(keep * len(scores) - 1e-9), multiple)


def below(scores: Tensor, *, threshold: float, multiple: int) -> list[int]:
    """(C,) scores -> the channels below the threshold (Eq. 6), but for the best of them that fill up a multiple.

    >>> import torch
    >>> below(torch.tensor([0.5, 0.1, 0.34, 0.2, 0.35]), threshold=0.35, multiple=1)
    [1, 3, 2]
    >>> below(torch.tensor([0.5, 0.1, 0.34, 0.2, 0.35]), threshold=0.35, multiple=4)
    [1]
    """
    return _going(scores, int((scores >= threshold).sum()), multiple)


def _going(scores: Tensor, staying: int, multiple: int) -> list[int]:
    staying = min(len(scores), multiple * math.ceil(max(1, staying) / multiple))
    order: Sequence[int] = scores.argsort(stable=True).tolist()
    return list(order[: len(scores) - staying])
