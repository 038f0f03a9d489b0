"""Training a promptable network by simulated prompts: first ones, then corrections where its answer was wrong.

Knowledge mining, Sec. 2.2, for the stand-in, as SAM was trained (Kirillov et al., "Segment anything", 2023, appendix
A): of three masks the best one learns, the network estimates its own IoU, an image encoded once is asked several times.
Differs: fewer rounds, and a share of all three masks' loss, since there is little time for a forgotten one to return.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from cutis.data.batches import Batch
from cutis.losses.boundary import boundary_loss
from cutis.losses.overlap import dice_loss
from cutis.recipes.prompting_config import PromptingConfig, PromptSettings
from cutis.recipes.simulated_prompts import correction, jittered, points_in, true_boxes
from cutis.recipes.supervised import adamw, mask_dice

__all__ = ["Asked", "Prompting", "first_prompts"]

_SEEN = 16  # pixels of lesion that an image needs to be asked about


class Asked(NamedTuple):
    """Prompts of a batch in training, where `given` (B, 2) bool says whether an image's box and its mask count."""

    points: Tensor
    labels: Tensor
    boxes: Tensor
    masks: Tensor | None
    given: Tensor


class Prompting:
    """One promptable network, one optimiser.

    The prompts of a batch are decided by the run's seed and by which images are in it.
    """

    def __init__(self, network: nn.Module, config: PromptingConfig) -> None:
        self.networks = nn.ModuleDict({"network": network})
        self.config = config

    def optimisers(self, steps: int) -> dict[str, tuple[Optimizer, LRScheduler]]:
        config = self.config
        warmup = config.warmup_epochs / config.epochs
        return {"network": adamw(self.networks, config.learning_rate, config.weight_decay, steps, warmup)}

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """Every round's loss, their mean; images without a lesion (it was shifted out) are left out."""
        rows = batch.mask.flatten(1).sum(1) >= _SEEN
        if not rows.any():
            return
        network, settings = self.networks["network"], self.config.prompts
        mask, distance = batch.mask[rows], batch.distance[rows]
        rng = generator(self.config.seed, batch.where)
        embedding = network.encode(batch.image[rows])
        asked = first_prompts(mask, settings, rng)
        rounds: list[dict[str, Tensor]] = []
        for turn in range(settings.rounds):
            said = network.decode(embedding, *asked)
            rounds.append(self._terms(said.logits.float(), said.scores.float(), mask, distance))
            if turn + 1 < settings.rounds:
                which = said.scores.argmax(1).view(-1, 1, 1, 1).expand(-1, 1, *said.logits.shape[2:])
                asked = _corrected(asked, said.logits.detach().float().gather(1, which), mask, settings, rng)
        terms = {name: torch.stack([one[name] for one in rounds]).mean() for name in rounds[0]}
        shown = {"last_mask": rounds[-1]["mask"].detach(), "first_mask": rounds[0]["mask"].detach()}
        yield "network", terms["mask"] + self.config.loss.score * terms["score"], terms | shown

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Dice with the true box, with one that is off, with one and with three points; `dice` is their mean."""
        network, settings, mask = self.networks["network"], self.config.prompts, batch.mask
        rng, side = generator(self.config.seed, batch.where), mask.shape[-1]
        embedding = network.encode(batch.image)
        boxes, none = true_boxes(mask), torch.zeros(len(mask), 0, device=mask.device)
        points, there = points_in(mask > 0.5, 3, rng)
        labels = torch.where(there, 1, -1)
        ways = {
            "box": (none.unsqueeze(-1).expand(-1, 0, 2), none, boxes),
            "jittered_box": (none.unsqueeze(-1).expand(-1, 0, 2), none, jittered(boxes, settings.jitter, side, rng)),
            "one_point": (points[:, :1], labels[:, :1]),
            "three_points": (points, labels),
        }
        found, errors = {}, []
        for name, prompts in ways.items():
            said = network.decode(embedding, *prompts)
            score, which = said.scores.float().max(1)
            best = said.logits.float()[torch.arange(len(which), device=which.device), which].unsqueeze(1)
            logits = F.interpolate(best, (side, side), mode="bilinear", align_corners=False)
            dice = found[f"dice_{name}"] = mask_dice(logits, mask, self.config.threshold)
            errors.append((score - dice / (2 - dice)).abs())
        whole = torch.stack(list(found.values())).mean(0)
        return {"dice": whole, **found, "score_error": torch.stack(errors).mean(0)}

    def _terms(self, logits: Tensor, scores: Tensor, mask: Tensor, distance: Tensor) -> dict[str, Tensor]:
        """(B, M, h, w) and (B, M) against (B, 1, S, S), at the answers' own resolution."""
        count, masks, side = logits.shape[:3]
        factor = mask.shape[-1] // side
        truth = (F.avg_pool2d(mask, factor) > 0.5).float().repeat_interleave(masks, 0)
        each = logits.reshape(count * masks, 1, side, side)
        settings, losses = self.config.loss, logits.new_zeros(count * masks)
        if settings.dice:
            losses = losses + settings.dice * dice_loss(each, truth)
        if settings.cross_entropy:
            entropy = F.binary_cross_entropy_with_logits(each, truth, reduction="none").flatten(1).mean(1)
            losses = losses + settings.cross_entropy * entropy
        if settings.boundary:
            far = F.avg_pool2d(distance, factor).repeat_interleave(masks, 0)
            losses = losses + settings.boundary * boundary_loss(each, truth, far, band=settings.boundary_band)
        losses = losses.view(count, masks)
        best = (1 - settings.all_masks) * losses.min(1).values + settings.all_masks * losses.mean(1)
        dice = mask_dice(each, truth, self.config.threshold).view(count, masks)
        return {"mask": best.mean(), "score": (scores - dice / (2 - dice)).square().mean()}


def generator(seed: int, where: Tensor) -> torch.Generator:
    """Of a batch: what the seed and the places of its images say."""
    words = np.random.SeedSequence((seed, *where.tolist())).generate_state(2)
    return torch.Generator().manual_seed(int(words[0]) << 16 ^ int(words[1]))


def first_prompts(mask: Tensor, settings: PromptSettings, rng: torch.Generator) -> Asked:
    """A box that is off, or points on the lesion, or both; for some images a point beside it."""
    count, side, device = len(mask), mask.shape[-1], mask.device

    def chance(share: float, *shape: int) -> Tensor:
        return (torch.rand(count, *shape, generator=rng) < share).to(device)

    boxed = chance(settings.box)
    boxes = jittered(true_boxes(mask), settings.jitter, side, rng)
    on, there = points_in(mask > 0.5, settings.points, rng)
    how_many = torch.randint(1, settings.points + 1, (count, 1), generator=rng).to(device)
    wanted = (torch.arange(on.shape[1], device=device) < how_many) & (~boxed | chance(settings.points_in_box))[:, None]
    beside, free = points_in(mask <= 0.5, 1, rng)
    labels = torch.cat([torch.where(there & wanted, 1, -1), torch.where(free & chance(settings.outside, 1), 0, -1)], 1)
    given = torch.stack([boxed, torch.zeros_like(boxed)], 1)
    return Asked(torch.cat([on, beside], 1), labels, boxes, None, given)


def _corrected(asked: Asked, logits: Tensor, mask: Tensor, settings: PromptSettings, rng: torch.Generator) -> Asked:
    """The same with a point more, and, for some images, the answer as a mask."""
    at = F.interpolate(logits, mask.shape[-2:], mode="bilinear", align_corners=False)
    point, label = correction(at, mask, rng)
    shown = (torch.rand(len(mask), generator=rng) < settings.mask).to(mask.device)
    return Asked(
        torch.cat([asked.points, point], 1),
        torch.cat([asked.labels, label], 1),
        asked.boxes,
        logits,
        torch.stack([asked.given[:, 0], shown], 1),
    )
