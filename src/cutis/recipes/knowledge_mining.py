"""Learn from labelled images and from what a promptable model answers about the unlabelled ones.

Knowledge mining, Sec. 2.4-2.5: L = mean over the labelled of (Dice + k BCE) + lambda x the mean over the
pseudo-labelled of the same. Continuous pseudo-labels are made between the forward pass and the loss, from the very
prediction that they are then compared with; one-time ones come with the batch. An image without a pseudo-label (nothing
found, or refused by a gate) counts in neither mean. The promptable is no part of `networks`: nothing of it is trained,
moved or saved.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from cutis.data.batches import Batch, signed_distance
from cutis.data.mining_batches import MiningBatch
from cutis.imaging.frame import Frame
from cutis.mining.continuous import Pseudo, continuous_labels
from cutis.mining.pseudo_labels import agreement
from cutis.recipes.knowledge_mining_config import KnowledgeMiningConfig
from cutis.recipes.supervised import answer_terms, mask_dice, warmup_cosine, weighted
from cutis.teachers.promptable import Promptable

__all__ = ["KnowledgeMining", "Tally"]


class KnowledgeMining:
    """A small network in one of both phases, and in the second the promptable where it is asked at every step.

    Batches are `Batch`es (the supervised phase) or `MiningBatch`es. `frames`: of the images of the training cache.
    """

    def __init__(
        self, network: nn.Module, config: KnowledgeMiningConfig, *, learning_rate: float,
        promptable: Promptable | None = None, frames: tuple[Frame, ...] = (),
    ) -> None:  # fmt: skip
        self.networks = nn.ModuleDict({"network": network})
        self.config, self.learning_rate, self.promptable, self.frames = config, learning_rate, promptable, frames
        self.tally = Tally()

    def optimisers(self, steps: int) -> dict[str, tuple[Optimizer, LRScheduler]]:
        optimiser = Adam(self.networks.parameters(), lr=self.learning_rate, weight_decay=self.config.weight_decay)
        plateau = self.config.plateau
        if plateau is None:
            return {"network": (optimiser, warmup_cosine(optimiser, steps, 0))}
        mode = "max" if self.config.monitor == "dice" else "min"
        falling = ReduceLROnPlateau(
            optimiser, mode, factor=plateau.factor, patience=plateau.patience, min_lr=plateau.least
        )
        return {"network": (optimiser, falling)}

    def losses(self, batch: Batch | MiningBatch) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        logits, settings = self.networks["network"](batch.image), self.config.loss
        known = batch.labelled if isinstance(batch, MiningBatch) else len(logits)
        terms = answer_terms(settings, logits[:known], batch.mask[:known], batch.distance[:known])
        loss = weighted(settings, terms)
        if isinstance(batch, MiningBatch):
            pseudo, distance = self._pseudo(batch, logits[known:], known)
            mining, used = self.config.mining, pseudo.used
            assert mining is not None
            if used.any():
                mined = answer_terms(settings, logits[known:][used], pseudo.mask[used], distance[used])
                loss = loss + mining.pseudo_weight * weighted(settings, mined)
                terms |= {f"pseudo_{name}": term for name, term in mined.items()}
            self.tally.saw(pseudo, logits[known:].detach() > 0, batch.truth > 0.5, batch.known)
        yield "network", loss, terms

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Each image's Dice and its loss (Sec. 2.5), which the paper watches."""
        logits = self.networks["network"](batch.image)
        each = [
            weighted(self.config.loss, answer_terms(self.config.loss, *(part[i : i + 1] for part in parts)))
            for parts in [(logits, batch.mask, batch.distance)]
            for i in range(len(logits))
        ]
        return {
            "dice": mask_dice(logits, batch.mask, self.config.threshold),
            "loss": torch.stack(each),
        }

    def summarise(self, images: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of the pseudo-labels of the epoch before: how many there were, and how good."""
        return self.tally.close()

    def _pseudo(self, batch: MiningBatch, logits: Tensor, known: int) -> tuple[Pseudo, Tensor]:
        """The pseudo-labels of the unlabelled images, and the signed distance to their borders."""
        if self.promptable is None:
            mask, some = batch.mask[known:], batch.mask[known:].flatten(1).any(1)
            agreed = torch.where(some, agreement(mask > 0.5, logits.detach() > 0), torch.nan)
            return Pseudo(mask, torch.full_like(agreed, torch.nan), agreed, batch.used), batch.distance[known:]
        mining = self.config.mining
        assert mining is not None and batch.embedding is not None
        where = batch.where[known:].tolist()
        pseudo = continuous_labels(
            self.promptable, batch.embedding, logits, mining.prompts, mining.gates,
            matrices=batch.matrix.cpu().numpy(), frames=[self.frames[i] for i in where],
            draws=[(self.config.seed, draw) for draw in batch.draw.tolist()],
        )  # fmt: skip
        distance = batch.distance[known:]
        if self.config.loss.boundary:
            masks = pseudo.mask[:, 0].cpu().numpy().astype(np.uint8)
            distance = torch.from_numpy(np.stack([signed_distance(mask) for mask in masks])).unsqueeze(1).to(distance)
        return pseudo, distance


class Tally:
    """What the pseudo-labels of an epoch were like: counts, and means over the images that have a number."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Tensor]] = {}

    def saw(self, pseudo: Pseudo, student: Tensor, truth: Tensor, known: Tensor) -> None:
        """One batch's (B', 1, S, S) bool of the small network and of the truth, which `known` (B',) images have."""
        asked = ~pseudo.agreement.isnan()
        fits = {"pseudo_dice": agreement(pseudo.mask > 0.5, truth), "student_dice": agreement(student, truth)}
        told = asked & known
        values: dict[str, Any] = {
            "empty": (~asked).float(),
            "used": pseudo.used.float(),
            "score": pseudo.score,
            "agreement": pseudo.agreement,
            **{name: torch.where(told, fit, torch.nan) for name, fit in fits.items()},
            "used_pseudo_dice": torch.where(told & pseudo.used, fits["pseudo_dice"], torch.nan),
        }
        for name, value in values.items():
            self.seen.setdefault(name, []).append(value.cpu())

    def close(self) -> dict[str, Tensor]:
        """The means, and begin anew. `mined/empty` and `mined/used` are shares of the unlabelled images that were met;
        `mined/pseudo_dice` and `mined/student_dice` are of the same images, those that were asked about."""
        means = {f"mined/{name}": torch.cat(values).nanmean() for name, values in self.seen.items()}
        self.seen = {}
        return {name: mean for name, mean in means.items() if not mean.isnan()}
