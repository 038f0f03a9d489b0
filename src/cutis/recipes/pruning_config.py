"""What a pruning is: its steps, how scores are made, how each step is fine-tuned, what it may cost. No torch here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from cutis.recipes.config import Settings

__all__ = ["DiceStep", "FisherStep", "PruningConfig", "SemanticStep", "Step"]


class FisherStep(Settings):
    """SparseSegNet, Eq. 1: the channels of greatest Fisher information stay."""

    kind: Literal["fisher"]
    blocks: tuple[str, ...] = Field(min_length=1, description="modules; their last convolutions' outputs are pruned")
    keep: float = Field(gt=0, le=1, description="share of the channels that stays")


class DiceStep(Settings):
    """SparseSegNet, Eq. 2: the channels go to which the Dice loss is least sensitive."""

    kind: Literal["dice_sensitivity"]
    blocks: tuple[str, ...] = Field(min_length=1)
    keep: float = Field(gt=0, le=1)


class SemanticStep(Settings):
    """SparseSegNet, Eq. 5-6: the channels stay whose maps look like the teacher's."""

    kind: Literal["semantic"]
    blocks: tuple[str, ...] = Field(min_length=1)
    threshold: float = Field(ge=-1, le=1, description="tau: channels of a lesser mean cosine go")


Step = Annotated[FisherStep | DiceStep | SemanticStep, Field(discriminator="kind")]


class PruningConfig(Settings):
    """SparseSegNet, Sec. 3.1-3.2: step by step, each fine-tuned and measured."""

    steps: tuple[Step, ...] = Field(min_length=1)
    multiple: int = Field(ge=1, description="what stays of a block is rounded up to a multiple of it")
    images: int = Field(ge=1, description="training images that scores are means over")
    hd95_allowance: float = Field(
        ge=0, description="pixels at 256 x 256: a step that costs more on validation images is taken back"
    )
    fine_tune: dict[str, Any] = Field(
        description="fields of the run's configuration that are others while a step is fine-tuned"
    )
    judging_images: int | None = Field(default=None, ge=1, description="at most so many validation images")
    calibration: int = Field(ge=1, description="training images that INT8 is calibrated on")
    rounds: int = Field(ge=1, description="how often each file has its turn when latency is measured")
