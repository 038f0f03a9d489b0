"""Pseudo-labels: what a promptable model answers to prompts from a small network's prediction, and when it is trusted.

Knowledge mining, Sec. 2.2-2.4. Of its masks the one is taken that the promptable thinks best of itself. Two gates
(`settings.Gates`), off in the paper, may refuse an answer: by that score, and by its agreement (Dice) with the
prediction that asked for it.
`one_time.py` and `continuous.py` are the two schedules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cutis.metrics.overlap import count, dice
from cutis.mining.prompts import NOTHING, Asked, prompts_from
from cutis.mining.settings import PromptSettings
from cutis.teachers.promptable import Promptable

__all__ = ["Mined", "agreement", "mined", "resized"]

_SURE = 1e-6
"""A mean probability is kept that far from 0 and 1, so that its logit is a number."""


class Mined(NamedTuple):
    """`logits` (B, 1, h, w) over the promptable's squares, `NOTHING` everywhere in an image that nothing was asked
    about; `score` (B,), the promptable's own, the mean over the image's objects, NaN without; `objects` (B,) how many;
    `asked`: the prompts themselves, None without any."""

    logits: Tensor
    score: Tensor
    objects: Tensor
    asked: Asked | None


@torch.no_grad()
def mined(
    promptable: Promptable, embedding: Tensor, logits: Tensor, settings: PromptSettings,
    rngs: Sequence[np.random.Generator],
) -> Mined:  # fmt: skip
    """`embedding` of B images, (B, 1, h, w) `logits` of the small network over the same squares -> what the promptable
    says. Answers about several objects of an image are united, and averaged with `logits` where `settings` say so."""
    asked = prompts_from(logits, promptable.preprocessing.size, settings, rngs)
    objects = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    score = torch.full((len(logits),), torch.nan, device=logits.device)
    if asked is None:
        return Mined(torch.full_like(logits, NOTHING, dtype=torch.float32), score, objects, None)
    found, own = promptable.segment(embedding[asked.image].float(), asked.prompts).best()
    found, own = found.float(), own.float()
    objects.index_add_(0, asked.image, torch.ones_like(asked.image))
    answer = found.new_full((len(logits), *found.shape[1:]), NOTHING)
    for row, image in enumerate(asked.image.tolist()):
        answer[image] = torch.maximum(answer[image], found[row])
    if settings.averaged:
        mean = (answer.sigmoid() + resized(logits.float(), answer.shape[-1]).sigmoid()) / 2
        answer = torch.where((objects > 0)[:, None, None, None], torch.logit(mean, eps=_SURE), answer)
    total = torch.zeros_like(score).index_add_(0, asked.image, own)
    return Mined(answer, torch.where(objects > 0, total / objects.clamp(min=1), score), objects, asked)


def resized(logits: Tensor, side: int) -> Tensor:
    """(B, 1, h, w) -> (B, 1, side, side), bilinear."""
    if logits.shape[-2:] == (side, side):
        return logits
    return F.interpolate(logits, (side, side), mode="bilinear", align_corners=False)


def agreement(one: Tensor, other: Tensor) -> Tensor:
    """(B, 1, H, W) bool, twice -> (B,) float32: the Dice coefficient; two empty masks: 1.

    >>> agreement(torch.ones(1, 1, 2, 2) > 0, torch.tensor([[[[1, 1], [1, 0]]]]) > 0)
    tensor([0.8571])
    """
    masks = (mask[:, 0].cpu().numpy() for mask in (one, other))
    return torch.from_numpy(dice(count(*masks))).float().to(one.device)
