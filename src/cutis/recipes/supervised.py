"""Supervised segmentation: Dice and signed-distance boundary loss, AdamW, linear warm-up, cosine.

SparseSegNet, Sec. 3.4. Differs from it in the cross-entropy, which is there for Table 4's vanilla row ("Dice+CE loss
only") and, small, for a network that starts from nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from cutis.data.batches import Batch
from cutis.losses.boundary import boundary_loss
from cutis.losses.overlap import dice_loss
from cutis.losses.rank import hybrid_loss
from cutis.recipes.config import LossSettings

__all__ = ["Supervised", "adamw", "answer_terms", "mask_dice", "warmup_cosine", "weighted"]


class Supervised:
    """One network, one optimiser.

    >>> from cutis.models.sparsesegnet import SparseSegNet
    >>> settings = LossSettings(dice=1, boundary=0.2, cross_entropy=0, boundary_band=0.1)
    >>> recipe = Supervised(SparseSegNet((8, 8, 8, 8), (1, 1, 1, 1)), settings, 4e-4, 1e-4, warmup=0.1, threshold=0.5)
    >>> batch = Batch(torch.zeros(2, 3, 32, 32), torch.ones(2, 1, 32, 32), -torch.ones(2, 1, 32, 32), torch.arange(2))
    >>> [(name, sorted(terms)) for name, loss, terms in recipe.losses(batch)]
    [('network', ['boundary', 'dice'])]
    """

    def __init__(
        self,
        network: nn.Module,
        loss: LossSettings,
        learning_rate: float,
        weight_decay: float,
        *,
        warmup: float,
        threshold: float,
    ) -> None:
        self.networks = nn.ModuleDict({"network": network})
        self.loss, self.learning_rate, self.weight_decay = loss, learning_rate, weight_decay
        self.warmup, self.threshold = warmup, threshold

    def optimisers(self, steps: int) -> dict[str, tuple[Optimizer, LRScheduler]]:
        return {"network": adamw(self.networks, self.learning_rate, self.weight_decay, steps, self.warmup)}

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        logits = self.networks["network"](batch.image)
        terms = answer_terms(self.loss, logits, batch.mask, batch.distance)
        yield "network", weighted(self.loss, terms), terms

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.networks["network"](batch.image)
        return {"dice": mask_dice(logits, batch.mask, self.threshold), "dice_loss": dice_loss(logits, batch.mask)}


def answer_terms(settings: LossSettings, logits: Tensor, mask: Tensor, distance: Tensor) -> dict[str, Tensor]:
    """The terms of an answer against its mask that `settings` asks for, without their weights: name -> scalar."""
    terms = {}
    if settings.dice:
        terms["dice"] = dice_loss(logits, mask).mean()
    if settings.boundary:
        terms["boundary"] = boundary_loss(logits, mask, distance, band=settings.boundary_band).mean()
    if settings.cross_entropy:
        terms["cross_entropy"] = F.binary_cross_entropy_with_logits(logits.float(), mask)
    if settings.hybrid:
        terms["hybrid"] = hybrid_loss(logits, mask, **settings.hybrid.model_dump()).mean()
    return terms


def weighted(settings: LossSettings, terms: Mapping[str, Tensor]) -> Tensor:
    """The sum of the terms, each times the field of its name; SE-LCN's hybrid loss has its weights inside."""
    weights = {name: getattr(settings, name) if name != "hybrid" else 1.0 for name in terms}
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


def mask_dice(logits: Tensor, mask: Tensor, threshold: float) -> Tensor:
    """(B, 1, H, W) logits, (B, 1, H, W) of 0 and 1 -> (B,): Dice of the mask cut at `threshold`; two empty ones: 1.

    >>> mask_dice(torch.tensor([[[[2.0, 2.0]]]]), torch.tensor([[[[1.0, 0.0]]]]), 0.5)
    tensor([0.6667])
    """
    found = (logits.sigmoid() > threshold).flatten(1)
    truth = mask.flatten(1) > 0.5
    both, either = (found & truth).sum(1), found.sum(1) + truth.sum(1)
    return torch.where(either > 0, 2 * both / either.clamp(min=1), torch.ones(()).to(logits))


def adamw(
    networks: nn.Module, learning_rate: float, weight_decay: float, steps: int, warmup: float
) -> tuple[Optimizer, LRScheduler]:
    """AdamW over all parameters, biases and norms not decayed, and its schedule; `warmup` is a share of `steps`."""
    decayed = [p for p in networks.parameters() if p.ndim > 1]
    others = [p for p in networks.parameters() if p.ndim <= 1]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    optimiser = AdamW(groups, lr=learning_rate, weight_decay=weight_decay)
    return optimiser, warmup_cosine(optimiser, steps, round(warmup * steps))


def warmup_cosine(optimiser: Optimizer, steps: int, warmup: int) -> LRScheduler:
    """Linear from 0 over `warmup` updates, then half a cosine to 0 at `steps`."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))

    return LambdaLR(optimiser, factor)
