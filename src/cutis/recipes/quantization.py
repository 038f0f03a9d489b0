"""Quantisation-aware fine-tuning: the supervised loss of a network that answers as its INT8 file will.

Jacob et al., 2018 (arXiv 1712.05877), Sec. 3, after training in float. Differs in that batch norm is frozen from the
first step (there it is trained on for long, then frozen): the network stays in evaluation mode, which is what is
exported. Validation sees the simulated network too, so that the weights that are kept are the best in INT8.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from cutis.data.batches import Batch
from cutis.layers.simulated_quantization import SimulatedQuantization
from cutis.losses.overlap import dice_loss
from cutis.recipes.quantization_config import QuantizationConfig
from cutis.recipes.supervised import adamw, answer_terms, mask_dice, weighted

__all__ = ["QuantizationAware"]


class QuantizationAware:
    """A network, what rounds its values, one optimiser. Only the network has parameters."""

    def __init__(self, network: nn.Module, simulated: SimulatedQuantization, config: QuantizationConfig) -> None:
        self.networks = nn.ModuleDict({"network": network, "simulated": simulated})
        self.config = config

    def optimisers(self, steps: int) -> dict[str, tuple[Optimizer, LRScheduler]]:
        config = self.config
        warmup = config.warmup_epochs / config.epochs
        return {"network": adamw(self.networks, config.learning_rate, config.weight_decay, steps, warmup)}

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        terms = answer_terms(self.config.loss, self._logits(batch.image), batch.mask, batch.distance)
        yield "network", weighted(self.config.loss, terms), terms

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        logits = self._logits(batch.image)
        dice = mask_dice(logits, batch.mask, self.config.threshold)
        return {"dice": dice, "dice_loss": dice_loss(logits, batch.mask)}

    def _logits(self, image: Tensor) -> Tensor:
        network: nn.Module = self.networks["network"].eval()
        logits: Tensor = self.networks["simulated"](network, image)
        return logits
