"""What a cascade is: the runs of its three networks, in one file. No torch here.

SE-LCN, Sec. 4.1. All three divide the images: a lesion that one is tested on must be no other's training image.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from cutis.recipes.classification_config import ClassificationConfig
from cutis.recipes.config import Settings, SupervisedConfig

__all__ = ["CascadeConfig"]


class CascadeConfig(Settings):
    """The three runs. Flags name the stage first: --lesion.epochs 3, --symmetry.weights imagenet."""

    name: str
    segmenter: SupervisedConfig | None = Field(
        default=None, description="run of the first stage; left out, a trained segmenter is given with --segmenter"
    )
    symmetry: ClassificationConfig
    lesion: ClassificationConfig

    @model_validator(mode="after")
    def _goes_together(self) -> CascadeConfig:
        if self.symmetry.task != "symmetry" or self.lesion.task != "lesion_class":
            raise ValueError("the field symmetry holds a run of the task symmetry, lesion one of lesion_class")
        return self
