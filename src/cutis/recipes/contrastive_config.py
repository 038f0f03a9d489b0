"""What a contrastive run is: which images, the views, the projection, the temperature (knowledge mining, Sec. 2.8).

No torch here.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cutis.data.augment import Augmentation
from cutis.recipes.config import SegmentationConfig, Settings

__all__ = ["ContrastiveConfig", "ProjectionSettings"]


class ProjectionSettings(Settings):
    """The two layers between the encoder's mean and what is compared; SimCLR: the encoder's width, then 128."""

    hidden: int = Field(ge=1)
    width: int = Field(ge=1)


class ContrastiveConfig(SegmentationConfig):
    """A SimCLR run: `network` is any registered segmenter with an encoder, of which the encoder alone is trained."""

    recipe: Literal["contrastive"]
    unlabelled: tuple[str, ...] = Field(
        default=(), description="data sets of whose training part images are taken too, with masks or without"
    )
    temperature: float = Field(gt=0, description="SimCLR: 0.5 for small batches")
    projection: ProjectionSettings
    augmentation: Augmentation = Field(description="of the two views; SimCLR: crops, colour, blur")
    weight_decay: float = Field(ge=0)
    warmup_epochs: float = Field(ge=0)

    @model_validator(mode="after")
    def _has_others_to_compare_with(self) -> ContrastiveConfig:
        if self.batch_size < 2:
            raise ValueError("batch_size must be at least 2: a picture is told from the others of its batch")
        if set(self.unlabelled) & set(self.datasets):
            raise ValueError("a data set is in both 'datasets' and 'unlabelled': leave it out of the second")
        return self
