"""What an adversarial run is: a generator, a discriminator, the three weights of Eq. 7, and when to call it collapsed.

SLSNet, Sec. 3.4 and 4.3. No torch here.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cutis.data.eightfold import Eightfold
from cutis.recipes.config import NetworkSettings, SegmentationConfig, Settings

__all__ = ["AdversarialConfig", "AdversarialLossSettings", "CollapseSettings", "DiscriminatorSettings"]


class AdversarialLossSettings(Settings):
    """Eq. 7: adversarial 1, l1 (lambda) 0.1, jaccard (alpha) 0.5; 0 leaves a term out. Without the adversarial term
    there is no discriminator: the generator is then trained alone, by what is left."""

    adversarial: float = Field(ge=0, description="-log D of the generated mask")
    l1: float = Field(ge=0, description="mean absolute difference; a sister code of the authors' takes 100")
    jaccard: float = Field(ge=0, description="Eq. 9")

    @model_validator(mode="after")
    def _learns_something(self) -> AdversarialLossSettings:
        if not (self.adversarial or self.l1 or self.jaccard):
            raise ValueError("all weights are 0: nothing would be learned")
        return self


class DiscriminatorSettings(NetworkSettings):
    """A registered network of (image, mask), and its own learning rate; the paper: the generator's."""

    learning_rate: float = Field(gt=0)


class CollapseSettings(Settings):
    """When a run is stopped because its discriminator says nothing any more.

    That is: over `steps` updates it called nearly everything real, or nearly everything generated; or it knew nearly
    every patch and its loss was below `loss`, so that the generator learns nothing from it either.
    """

    steps: int = Field(ge=1)
    share: float = Field(gt=0.5, le=1, description="what 'nearly' means: 0.999 of the patches, say")
    loss: float = Field(ge=0, description="of the discriminator, Eq. 11")


class AdversarialConfig(SegmentationConfig):
    """A run of SLSNet's recipe (Sec. 3.4); `network` is the generator, any registered segmenter."""

    recipe: Literal["adversarial"]
    discriminator: DiscriminatorSettings
    loss: AdversarialLossSettings
    betas: tuple[float, float] = Field(description="Adam's; the paper: 0.5 and 0.999")
    schedule: Literal["constant", "cosine"] = Field(description="of both learning rates; the paper: constant")
    augmentation: Eightfold | None = Field(description="Sec. 4.3; null for none")
    collapse: CollapseSettings

    @model_validator(mode="after")
    def _steps_each_batch(self) -> AdversarialConfig:
        if self.accumulate != 1:
            raise ValueError("accumulate must be 1: the generator's loss needs the discriminator's update before it")
        if self.batch_size < 2 and self.loss.adversarial:
            raise ValueError("batch_size must be at least 2: half a batch is real, half generated")
        return self
