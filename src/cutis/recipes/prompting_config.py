"""What the training of a promptable network is: the segmenter's fields, its loss, and which prompts are simulated.

Knowledge mining, Sec. 2.2, for the stand-in. No torch here.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cutis.recipes.config import LossSettings, Settings, SupervisedConfig

__all__ = ["PromptSettings", "PromptingConfig", "PromptingLossSettings"]


class PromptingLossSettings(LossSettings):
    """Of the best of the three masks, with a little of all of them, so that none is forgotten."""

    all_masks: float = Field(ge=0, le=1, description="share of the three masks' mean beside the best one's")
    score: float = Field(ge=0, description="squared error of the network's own estimate of the IoU")


class PromptSettings(Settings):
    """What is asked of a training image. Every image is asked `rounds` times; after each time a point is added where
    the answer was wrong."""

    box: float = Field(ge=0, le=1, description="share of images with a box; the others have points")
    jitter: float = Field(ge=0, le=0.5, description="a box's sides are off by so much of its extent (SD)")
    points: int = Field(ge=1, description="at most so many points on the lesion at first, at random")
    points_in_box: float = Field(ge=0, le=1, description="share of images with a box that have points too")
    outside: float = Field(ge=0, le=1, description="share of images with one point beside the lesion")
    mask: float = Field(ge=0, le=1, description="share of images shown their last answer as a mask in later rounds")
    rounds: int = Field(ge=1)


class PromptingConfig(SupervisedConfig):
    """A run of the promptable stand-in."""

    recipe: Literal["prompting"]
    loss: PromptingLossSettings
    prompts: PromptSettings

    @model_validator(mode="after")
    def _is_of_each_mask(self) -> PromptingConfig:
        if self.loss.hybrid is not None:
            raise ValueError("loss.hybrid is not there for promptable networks: leave it out")
        if not (self.loss.dice or self.loss.cross_entropy or self.loss.boundary):
            raise ValueError("loss.dice, cross_entropy and boundary are all 0: no mask would be learned")
        return self
