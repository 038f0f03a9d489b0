"""Continuous pseudo-labels: made anew each time an image is met, from the prediction that is about to be compared.

Knowledge mining, Sec. 2.4. The promptable saw each image once, as it lies in the cache; so the small network's
prediction, which is of an augmented view, is moved back into the plain square, the prompts are taken there, only the
promptable's decoder answers, and its answer is moved into the view by the very same affine matrix. What the view does
not show is not found, and what lies outside the picture is no lesion. Ties between points are drawn from the item's own
random stream, so that a resumed run asks what it would have asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from cutis.data.taught_batches import grid_of, moved
from cutis.imaging.frame import Frame
from cutis.mining.prompts import NOTHING
from cutis.mining.pseudo_labels import agreement, mined
from cutis.mining.settings import Gates, PromptSettings
from cutis.teachers.promptable import Promptable

__all__ = ["Pseudo", "continuous_labels", "inverses"]


class Pseudo(NamedTuple):
    """Of B views: `mask` (B, 1, S, S) of 0 and 1, `score` and `agreement` (B,), NaN where nothing was asked, and `used`
    (B,) bool: something was asked and no gate refused the answer."""

    mask: Tensor
    score: Tensor
    agreement: Tensor
    used: Tensor


def continuous_labels(
    promptable: Promptable, embedding: Tensor, logits: Tensor, settings: PromptSettings, gates: Gates, *,
    matrices: NDArray[np.float64], frames: Sequence[Frame], draws: Sequence[tuple[int, ...]],
) -> Pseudo:  # fmt: skip
    """`embedding` of B plain squares and (B, 1, S, S) `logits` of the small network over views of them.

    `matrices` (B, 2, 3) lead from pixels of the plain square, of side `frames[0].size`, to those of the view; `frames`
    say where the pictures lie in the plain squares; `draws` seed each image's ties.
    """
    view, plain = logits.shape[-1], frames[0].size
    logits = logits.detach().float()
    back = grid_of(inverses(matrices), view, plain, plain).to(logits.device)
    here = F.grid_sample(logits - NOTHING, back, mode="bilinear", padding_mode="zeros", align_corners=False) + NOTHING
    said = mined(promptable, embedding, here, settings, [np.random.default_rng(words) for words in draws])
    forth = grid_of(matrices, plain, view, view)
    answer = moved(said.logits.cpu(), frames, forth).logits.to(logits.device) > 0
    asked = said.objects > 0
    agreed = torch.where(asked, agreement(answer, logits > 0), torch.nan)
    passed = [gates.passed(*pair) for pair in zip(said.score.tolist(), agreed.tolist(), strict=True)]
    return Pseudo(answer.float(), said.score, agreed, asked & torch.tensor(passed, device=asked.device))


def inverses(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, 2, 3) affine maps -> (B, 2, 3), the ways back.

    >>> inverses(np.array([[[2.0, 0, 3], [0, 4.0, 8]]])).tolist()
    [[[0.5, 0.0, -1.5], [0.0, 0.25, -2.0]]]
    """
    linear = np.linalg.inv(matrices[:, :, :2])
    return np.concatenate([linear, -linear @ matrices[:, :, 2:]], 2)
