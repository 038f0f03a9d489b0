"""Alternate updates of discriminator and generator.

SLSNet, Sec. 3.4, Eq. 7 and 11, as in pix2pix. The discriminator is updated once, on half a batch of true masks and half
a batch of generated ones, each beside its image in colours of [0, 1]; then it is held, and the generator is updated to
be taken for true, to come close (L1) and to overlap (Jaccard). z is the dropout of the generator's decoder, drawn from
the run's seed and the number of the update, so that a resumed run draws what an uninterrupted one would have. Differs
from the paper in stopping when the discriminator says nothing any more, and in that a weight of 0 for the adversarial
term trains the generator alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from cutis.data.batches import Batch
from cutis.losses.adversarial import discriminator_loss, generator_loss, jaccard_loss, l1_loss
from cutis.recipes.adversarial_config import AdversarialConfig, CollapseSettings
from cutis.recipes.recipe import Diverged
from cutis.recipes.supervised import mask_dice, warmup_cosine

__all__ = ["Adversarial", "Noise", "Watch"]

SHOWN = 8
"""Images whose masks are logged after every epoch."""


class Adversarial:
    """A generator and, where the adversarial term has a weight, a discriminator.

    Only `network`, the generator, is evaluated and exported.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module | None, config: AdversarialConfig) -> None:
        self.networks = nn.ModuleDict({"network": generator, "noise": Noise(config.seed)})
        if config.loss.adversarial:
            if discriminator is None:
                raise ValueError("the adversarial term has a weight: a discriminator is needed")
            self.networks["discriminator"] = discriminator
        self.config, self.watch = config, Watch(config.collapse)

    def optimisers(self, steps: int) -> dict[str, tuple[Optimizer, LRScheduler]]:
        rates = {"generator": ("network", self.config.learning_rate)}
        if "discriminator" in self.networks:
            rates = {"discriminator": ("discriminator", self.config.discriminator.learning_rate)} | rates
        found: dict[str, tuple[Optimizer, LRScheduler]] = {}
        for name, (network, rate) in rates.items():
            optimiser = Adam(self.networks[network].parameters(), lr=rate, betas=self.config.betas)
            cosine = self.config.schedule == "cosine"
            found[name] = (optimiser, warmup_cosine(optimiser, steps, 0) if cosine else _constant(optimiser))
        return found

    def losses(self, batch: Batch) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        image, mask, weights = batch.image, batch.mask, self.config.loss
        noise = self.networks["noise"]
        assert isinstance(noise, Noise)
        with noise.drawn(image.device):
            fake = self.networks["network"](image).sigmoid()
        terms: dict[str, Tensor] = {}
        if "discriminator" in self.networks:
            critic = self.networks["discriminator"]
            image = self._picture(image)
            half = (len(image) + 1) // 2
            real, made = critic(image[:half], mask[:half]), critic(image[-half:], fake[-half:].detach())
            loss = discriminator_loss(real, made)
            seen = {"real_accuracy": (real > 0).float().mean(), "generated_accuracy": (made < 0).float().mean()}
            self.watch.saw(Seen(loss.item(), *(value.item() for value in seen.values())))
            yield "discriminator", loss, seen
            with _held(critic):
                terms["adversarial"] = generator_loss(critic(image, fake)).mean()
        if weights.l1:
            terms["l1"] = l1_loss(fake, mask).mean()
        if weights.jaccard:
            terms["jaccard"] = jaccard_loss(fake, mask).mean()
        yield "generator", torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum(), terms

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.networks["network"](batch.image)
        dice = mask_dice(logits, batch.mask, self.config.threshold)
        return {"dice": dice, "jaccard_loss": jaccard_loss(logits.sigmoid(), batch.mask)}

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Images above their true masks above the generated ones."""
        image = self._picture(batch.image[:SHOWN].float())
        found = self.networks["network"](batch.image[:SHOWN]).sigmoid().float()
        rows = [image, batch.mask[:SHOWN].expand(image.shape), found.expand(image.shape)]
        return {"masks": torch.cat([torch.cat(list(row), 2) for row in rows], 1).clamp(0, 1)}

    def _picture(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) normalised -> colours in [0, 1], what the discriminator sees: beside an image of standard
        deviation 1 it does not learn to look at the mask, whose values are in [0, 1] (LOG.md)."""
        steps = self.config.preprocessing
        mean, std = (image.new_tensor(value).view(3, 1, 1) for value in (steps.mean, steps.std))
        return image * std + mean


class Noise(nn.Module):
    """Whose random numbers the update's z are: of the run's seed and of the number of updates before it."""

    updates: Tensor

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    @contextmanager
    def drawn(self, device: torch.device) -> Iterator[None]:
        """Inside, torch draws this update's numbers; outside, what it would have drawn."""
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed((self.seed << 32) + int(self.updates))
            yield
        self.updates += 1


class Seen(NamedTuple):
    """One update of the discriminator: its loss, and the share of patches it got right."""

    loss: float
    real: float
    generated: float


class Watch:
    """Stops a run whose discriminator collapsed: over a whole window it said the same of everything, or knew all.

    >>> watch = Watch(CollapseSettings(steps=2, share=0.99, loss=0.01))
    >>> watch.saw(Seen(0.7, real=1.0, generated=0.0))
    >>> watch.saw(Seen(0.8, real=1.0, generated=0.0))
    Traceback (most recent call last):
    cutis.recipes.recipe.Diverged: the discriminator collapsed: it called everything real over the last 2 updates ...
    """

    def __init__(self, settings: CollapseSettings) -> None:
        self.settings = settings
        self.window: deque[Seen] = deque(maxlen=settings.steps)

    def saw(self, seen: Seen) -> None:
        """Take one update in; Diverged with what was seen if the window shows a collapse."""
        self.window.append(seen)
        if len(self.window) < self.settings.steps:
            return
        loss, real, generated = (sum(values) / len(values) for values in zip(*self.window, strict=True))
        share = self.settings.share
        if real >= share and generated <= 1 - share:
            what = "called everything real"
        elif real <= 1 - share and generated >= share:
            what = "called everything generated"
        elif min(real, generated) >= share and loss < self.settings.loss:
            what = "knew every patch, so that the generator learns nothing from it,"
        else:
            return
        raise Diverged(
            f"the discriminator collapsed: it {what} over the last {len(self.window)} updates (mean loss {loss:.4g}, "
            f"right on {real:.1%} of real and {generated:.1%} of generated patches): give discriminator.learning_rate "
            "another value, or loss.l1 and loss.jaccard more weight"
        )


@contextmanager
def _held(network: nn.Module) -> Iterator[None]:
    """Inside, `network` passes gradients on and takes none."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


def _constant(optimiser: Optimizer) -> LRScheduler:
    return LambdaLR(optimiser, lambda step: 1.0)
