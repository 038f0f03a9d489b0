"""What a quantisation-aware fine-tuning is: the fields of the run it begins from, a few of them changed, and how its
values are rounded meanwhile. No torch here."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from cutis.recipes.config import Settings, SupervisedConfig

__all__ = ["QuantizationConfig", "QuantizationFineTuning", "QuantizationSettings"]


class QuantizationSettings(Settings):
    """What is rounded, and to what; as `cutis export` says that it chose."""

    calibration: int = Field(ge=1, description="training images that the ranges are observed on, chosen by the seed")
    seed: int = Field(description="chooses them")
    ranges: Literal["extreme", "mean"] = Field(description="over all those images, or the mean of each one's extremes")
    float_head: bool = Field(description="the last convolution keeps its weights in float")


class QuantizationFineTuning(Settings):
    """What `cutis train quantization` is asked for, whatever the run."""

    quantization: QuantizationSettings
    fine_tune: dict[str, Any] = Field(
        description="fields of the run's configuration that are others while it is fine-tuned"
    )


class QuantizationConfig(SupervisedConfig):
    """A quantisation-aware run: what `QuantizationFineTuning` makes of the configuration of another run."""

    recipe: Literal["quantization"]
    quantization: QuantizationSettings

    @model_validator(mode="after")
    def _rounds_once(self) -> QuantizationConfig:
        if self.precision != "32-true":
            raise ValueError("precision: give 32-true: numbers of 16 bits would be rounded twice")
        if {phase.size for phase in self.phases} != {self.preprocessing.size}:
            raise ValueError("phases: give one, at preprocessing.size, which the ranges are observed at")
        return self
