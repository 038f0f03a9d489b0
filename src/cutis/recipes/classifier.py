"""Training a classifier: weighted cross-entropy, one optimiser; balanced accuracy of all validation images at once.

SE-LCN, Sec. 4.1.2 and 4.1.3, Eq. 5-7. The symmetry network's map comes with the batch, made beforehand by the frozen
network (recipes/symmetry_maps.py): no gradient and no update ever reaches it. Differs in what may be asked for beside
the paper's: AdamW (biases and norms not decayed), cosine, averaged weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from cutis.data.class_batches import ClassBatch
from cutis.losses.classification import weighted_cross_entropy
from cutis.metrics.classification import accuracy, balanced_accuracy, cohen_kappa, confusion_matrix, f1, macro
from cutis.recipes.classification_config import ClassificationConfig
from cutis.recipes.supervised import warmup_cosine

__all__ = ["Classifier"]


class Classifier:
    """One classifier, one optimiser. `weights` (K,): the classes' in the loss.

    Its networks are the classifier alone.
    """

    def __init__(self, network: nn.Module, weights: Tensor, config: ClassificationConfig) -> None:
        self.networks = nn.ModuleDict({"network": network})
        self.weights, self.config = weights, config

    def optimisers(self, steps: int) -> dict[str, tuple[Optimizer, LRScheduler]]:
        config = self.config
        betas = (config.momentum, 0.999)
        optimiser: Optimizer
        if config.optimiser == "adam":  # the decay is a part of the gradient, as in the paper's PyTorch
            parameters = self.networks.parameters()
            optimiser = Adam(parameters, config.learning_rate, betas, weight_decay=config.weight_decay)
        else:
            decayed = [p for p in self.networks.parameters() if p.ndim > 1]
            others = [p for p in self.networks.parameters() if p.ndim <= 1]
            groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
            optimiser = AdamW(groups, config.learning_rate, betas, weight_decay=config.weight_decay)
        warmup = round(config.warmup_epochs / config.epochs * steps)
        if config.schedule == "cosine":
            return {"network": (optimiser, warmup_cosine(optimiser, steps, warmup))}
        return {"network": (optimiser, LambdaLR(optimiser, lambda step: min(1.0, (step + 1) / max(1, warmup))))}

    def losses(self, batch: ClassBatch) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        with _decided(batch.seed, batch.image.device):
            logits = self._logits(batch)
        right = (logits.argmax(1) == batch.label).float().mean()
        yield "network", self._loss(logits, batch.label).mean(), {"accuracy": right}

    def validate(self, batch: ClassBatch) -> dict[str, Tensor]:
        logits = self._logits(batch).float()
        return {"loss": self._loss(logits, batch.label), "logits": logits, "label": batch.label[:, None]}

    def summarise(self, images: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of logits (N, K) and label (N, 1): accuracy, balanced accuracy, Cohen's kappa, macro F1."""
        logits = images["logits"]
        truth, answer = images["label"][:, 0].cpu().numpy(), logits.argmax(1).cpu().numpy()
        counts = confusion_matrix(truth, answer, logits.shape[1])
        values = {
            "accuracy": accuracy(counts),
            "balanced_accuracy": balanced_accuracy(counts),
            "kappa": cohen_kappa(counts),
            "f1": macro(f1(counts), counts),
        }
        return {name: torch.tensor(float(value)) for name, value in values.items() if not math.isnan(float(value))}

    def _logits(self, batch: ClassBatch) -> Tensor:
        network = self.networks["network"]
        return network(batch.image) if batch.activation is None else network(batch.image, batch.activation)

    def _loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """(B,): each image's cross-entropy times its class's weight (Eq. 7)."""
        return weighted_cross_entropy(logits, label, self.weights)


@contextmanager
def _decided(seed: int, device: torch.device) -> Iterator[None]:
    """Dropout as the batch's seed gives it, so that a resumed run drops what an uninterrupted one would have."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
