"""SparseSegNet's composite loss: overlap, boundary, two teachers' distillation, consistency, and gates that learn.

SparseSegNet, Sec. 3.4, Eq. 11, with Eq. 4 for the gates. One optimiser updates everything at once, as there; Eq. 4 is
no part of Eq. 11 in the paper and is added here with a weight of its own. Differs in that the gates have a learning
rate of their own, since AdamW moves a parameter by at most its rate a step, and that their baseline may be a second
pattern's error. A term of weight 0 is not computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from cutis.data.batches import Batch
from cutis.data.taught_batches import DistillationBatch
from cutis.errors import CutisError
from cutis.layers.effu import EFFU, MovingBaseline, gates_of, reinforce
from cutis.losses.ag_op import ag_op
from cutis.losses.boundary_error import boundary_error
from cutis.losses.consistency import padd_loss
from cutis.losses.gate_sparsity import gate_sparsity
from cutis.losses.overlap import dice_loss
from cutis.recipes.distillation_config import DistillationConfig
from cutis.recipes.supervised import answer_terms, mask_dice, warmup_cosine, weighted

__all__ = ["Distillation", "embedding_of"]


class Distillation:
    """A student, the 1x1 convolution that brings its embedding to the teachers' `channels`, its gates' baseline.

    `channels`: None where nothing is distilled. Batches are `DistillationBatch`es where the loss has AG-OP.
    """

    def __init__(self, network: nn.Module, config: DistillationConfig, *, channels: int | None) -> None:
        self.config, self.gates = config, gates_of(network)
        self.networks = nn.ModuleDict({"network": network, "steps": _Steps()})
        if config.loss.ag_op:
            if channels is None:
                raise ValueError("AG-OP needs to know how many channels the teachers' embeddings have")
            self.networks["projection"] = _from_nothing(nn.Conv2d(embedding_of(network)[0], channels, 1))
        if self.gates and config.gates.baseline != "rival":
            self.networks["baseline"] = MovingBaseline(config.gates.baseline)

    def optimisers(self, steps: int) -> dict[str, tuple[Optimizer, LRScheduler]]:
        own = {id(gate.phi) for gate in self.gates}
        rest = [p for p in self.networks.parameters() if id(p) not in own]
        groups = [
            {"params": [p for p in rest if p.ndim > 1]},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},  # biases and norms are not decayed
        ]
        if self.gates:
            phi = [gate.phi for gate in self.gates]
            groups.append({"params": phi, "weight_decay": 0.0, "lr": self.config.gates.learning_rate})
        optimiser = AdamW(groups, lr=self.config.learning_rate, weight_decay=self.config.weight_decay)
        warmup = round(self.config.warmup_epochs / self.config.epochs * steps)
        return {"network": (optimiser, warmup_cosine(optimiser, steps, warmup))}

    def losses(self, batch: Batch | DistillationBatch) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """Eq. 11 and Eq. 4; beside the terms, what tells whether distillation and gates do anything."""
        settings, network = self.config.loss, self.networks["network"]
        with self._randomness(batch) as rng:
            if settings.ag_op or self.gates:
                maps = network.encoder(batch.image)
                logits = network.decode(maps)
            else:
                logits = network(batch.image)
            terms = answer_terms(settings, logits, batch.mask, batch.distance)
            told: dict[str, Tensor] = {}
            if settings.ag_op:
                terms["ag_op"], told = self._distilled(maps[-1], batch)
            if self.gates and settings.reinforce:
                terms["reinforce"], seen = self._judged(maps, logits, batch)
                told |= seen
            if settings.effu:
                terms["effu"] = gate_sparsity(self.gates)
            if settings.padd:  # last: its pass draws new patterns
                terms["padd"] = self._consistent(batch.image, logits, rng)
        yield "network", weighted(settings, terms), terms | told

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.networks["network"](batch.image)
        dice = mask_dice(logits, batch.mask, self.config.threshold)
        return {"dice": dice, "dice_loss": dice_loss(logits, batch.mask)}

    def _consistent(self, image: Tensor, logits: Tensor, rng: np.random.Generator) -> Tensor:
        """L_PADD of the batch's first images: batches are drawn at random, so their mean stands for that over all."""
        settings = self.config.perturbation
        some = slice(math.ceil(settings.share * len(image)))
        moved = settings.model_dump(exclude={"share"})
        return padd_loss(self.networks["network"], image[some], logits[some], rng, **moved).mean()

    def _distilled(self, embedding: Tensor, batch: Batch | DistillationBatch) -> tuple[Tensor, dict[str, Tensor]]:
        if not isinstance(batch, DistillationBatch) or batch.first is None or batch.second is None:
            raise ValueError("AG-OP needs batches with both teachers")
        student = self.networks["projection"](embedding)
        found = ag_op(student, batch.first, batch.second, **self.config.agreement.model_dump())
        return found.loss, {
            "agreement_share": found.share, "teachers_cosine": found.cosine, "first_norm": found.first_norm,
            "second_norm": found.second_norm, "student_norm": found.student_norm,
        }  # fmt: skip

    def _judged(
        self, maps: list[Tensor], logits: Tensor, batch: Batch | DistillationBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 4 of the patterns that gave `logits`, and the gates' state."""
        band, likelihood = self.config.loss.boundary_band, _likelihood(self.gates)
        error = boundary_error(logits, batch.mask, batch.distance, band=band)
        if "baseline" in self.networks:
            estimate = reinforce(error, self.networks["baseline"](error), likelihood)
        else:
            with torch.no_grad():
                other = boundary_error(self.networks["network"].decode(maps), batch.mask, batch.distance, band=band)
            rival = _likelihood(self.gates)
            estimate = (reinforce(error, other, likelihood) + reinforce(other, error, rival)) / 2
        opened = {f"open_gates_{i}": (~gate.closed()).sum().float() for i, gate in enumerate(self.gates)}
        return estimate, {"boundary_error": error.mean(), **opened}

    @contextmanager
    def _randomness(self, batch: Batch | DistillationBatch) -> Iterator[np.random.Generator]:
        """Of this step and no other, so that a resumed run draws what it would have drawn; torch's own is put back."""
        step = self.networks["steps"].count
        words = (self.config.seed, int(step), int(batch.where[0]))  # the last: processes see different images
        step += 1
        seeds = np.random.SeedSequence(words)
        devices = [batch.image.device] if batch.image.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(int(seeds.generate_state(1)[0]))
            yield np.random.default_rng(seeds)


def _from_nothing(projection: nn.Conv2d) -> nn.Conv2d:
    """All weights 0: what is projected grows towards the teachers' from nothing. Random ones began eight times as long
    as where they end, and for the first epochs AG-OP's gradient in the encoder was 500 times that of Dice (LOG.md)."""
    for parameter in projection.parameters():
        nn.init.zeros_(parameter)
    return projection


class _Steps(nn.Module):
    """How many batches there were, kept in checkpoints."""

    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.long))


def embedding_of(network: nn.Module) -> tuple[int, int]:
    """Channels of the embedding that is distilled, and how many pixels of the image are one of its.

    >>> from cutis.models.sparsesegnet import SparseSegNet
    >>> embedding_of(SparseSegNet((8, 16, 24, 32), (1, 1, 1, 1)))
    (32, 16)
    """
    if not hasattr(network, "embed"):
        raise CutisError(
            f"{type(network).__name__} has no embedding to distil into: take the network sparsesegnet, or set "
            "loss.ag_op to 0"
        )
    training, device = network.training, next(network.parameters()).device
    with torch.no_grad():
        found = network.eval().embed(torch.zeros(1, 3, 64, 64, device=device)).embedding
    network.train(training)
    return found.shape[1], 64 // found.shape[2]


def _likelihood(gates: list[EFFU]) -> Tensor:
    return torch.stack([gate.log_likelihood() for gate in gates]).sum(0)
