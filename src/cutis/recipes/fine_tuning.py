"""The configuration of a run that goes on from another one: its fields, a few of them changed. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from cutis.errors import CutisError
from cutis.recipes.config import LossSettings, SegmentationConfig, SupervisedConfig

__all__ = ["fine_tuned"]

Config = TypeVar("Config", bound=SupervisedConfig)


def fine_tuned(
    config: SegmentationConfig, changes: Mapping[str, Any], model: type[Config], added: Mapping[str, Any]
) -> Config:
    """`config`, of any segmenter's recipe, as a `model`: what it shares with a supervised run, then `changes` (the
    field 'fine_tune' of what was asked), then `added`. CutisError where a field is missing, unknown or out of range.
    """
    values = config.model_dump(mode="json", include=set(SupervisedConfig.model_fields))
    losses = values.get("loss", {})
    values["loss"] = {name: losses[name] for name in LossSettings.model_fields if name in losses}
    try:
        return model.model_validate({**values, **changes, **added})
    except ValueError as error:
        raise CutisError(f"the field 'fine_tune' does not fit the run: {' '.join(str(error).split())[:300]}") from error
