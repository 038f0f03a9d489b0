"""SimCLR: an encoder learns from images without labels that two views of one picture belong together.

Knowledge mining, Sec. 2.3 ("optionally pre-trained with self-supervised learning methods on both the labeled and
unlabeled subsets") and 2.8; Chen et al. (2020). The mean of the encoder's last map goes through two layers, which only
this training needs. The paper gives no settings; ours are in configs/knowledge-mining/simclr*.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from cutis.data.pair_batches import PairBatch
from cutis.errors import CutisError
from cutis.losses.contrastive import nt_xent, similarities
from cutis.recipes.contrastive_config import ContrastiveConfig
from cutis.recipes.supervised import adamw

__all__ = ["Contrastive", "encoded"]


class Contrastive:
    """A segmenter, of which only `encoder` is asked and trained, and the projection."""

    def __init__(self, network: nn.Module, config: ContrastiveConfig) -> None:
        size, to = config.preprocessing.size, config.projection
        self.config = config
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.default_generator.manual_seed(config.seed)
            width = encoded(network.eval(), torch.zeros(1, 3, size, size)).shape[1]
            projection = nn.Sequential(nn.Linear(width, to.hidden), nn.ReLU(), nn.Linear(to.hidden, to.width))
        self.networks = nn.ModuleDict({"network": network.train(), "projection": projection})

    def optimisers(self, steps: int) -> dict[str, tuple[Optimizer, LRScheduler]]:
        trained = nn.ModuleList([self.networks["network"].encoder, self.networks["projection"]])
        warmup = self.config.warmup_epochs / self.config.epochs
        return {"network": adamw(trained, self.config.learning_rate, self.config.weight_decay, steps, warmup)}

    def losses(self, batch: PairBatch) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        one, other = self._projected(batch)
        matched = _matched(one.detach(), other.detach()).mean()
        yield "network", nt_xent(one, other, temperature=self.config.temperature).mean(), {"matched": matched}

    def validate(self, batch: PairBatch) -> dict[str, Tensor]:
        """NT-Xent, and whether both views find each other among the batch's."""
        one, other = self._projected(batch)
        loss = nt_xent(one, other, temperature=self.config.temperature)
        return {"nt_xent_loss": loss, "matched": _matched(one, other)}

    def _projected(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        seen = encoded(self.networks["network"], torch.cat([batch.image, batch.other]))
        one, other = self.networks["projection"](seen).chunk(2)
        return one, other


def encoded(network: nn.Module, image: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, K): the mean of the encoder's last map.

    >>> encoded(nn.Identity(), torch.zeros(1, 3, 32, 32))
    Traceback (most recent call last):
    cutis.errors.CutisError: Identity has no part 'encoder' that takes a picture, to train alone: take ...
    """
    encoder = getattr(network, "encoder", None)
    first = None if encoder is None else next(weight for weight in encoder.parameters() if weight.ndim == 4)
    if encoder is None or first is None or first.shape[1] != 3:  # SLSNet's begins after other layers
        raise CutisError(
            f"{type(network).__name__} has no part 'encoder' that takes a picture, to train alone: take sparsesegnet, "
            "unet, unetplusplus, deeplabv3plus, fpn or linknet"
        )
    maps = encoder(image)
    return (maps if isinstance(maps, Tensor) else maps[-1]).mean((2, 3))


def _matched(one: Tensor, other: Tensor) -> Tensor:
    """(B,): the share of a pair's two views whose nearest other view is its partner."""
    nearest = similarities(one, other).argmax(1)
    return (nearest == torch.arange(len(nearest), device=one.device).roll(len(one))).float().view(2, -1).mean(0)
