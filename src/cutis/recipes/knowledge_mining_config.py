"""What a knowledge mining run is: which images keep their labels, both phases, the prompts, the promptable, the gates.

Knowledge mining, Sec. 2.2-2.5, 2.8, A.1 and Table 4. No torch here.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cutis.data.augment import Augmentation
from cutis.data.turns import Turns
from cutis.mining.settings import Gates, PromptSettings
from cutis.recipes.config import LossSettings, SegmentationConfig, Settings

__all__ = ["KnowledgeMiningConfig", "LabelledSettings", "MiningSettings", "PlateauSettings"]


class LabelledSettings(Settings):
    """Which of the training images keep their labels: so many, dealt by lesion and class with the seed. The others'
    labels are dropped to mimic unlabelled images, and only tell how good the pseudo-labels are."""

    fraction: float = Field(gt=0, le=1)
    seed: int


class PlateauSettings(Settings):
    """The learning rate falls when the validation's value stops getting better (Table 4: 0.5, 3, 1e-7)."""

    factor: float = Field(gt=0, lt=1)
    patience: int = Field(ge=0, description="validations")
    least: float = Field(ge=0)


class MiningSettings(Settings):
    """The second phase. The schedule supervised trains on the labelled images alone, as many steps as the others would:
    what they are compared with."""

    schedule: Literal["supervised", "one-time", "continuous"]
    epochs: int = Field(ge=1)
    epoch_images: int | None = Field(
        default=None, ge=1, description="images an epoch, labelled or not; as many as there are of both if not given"
    )
    learning_rate: float = Field(gt=0)
    unlabelled_batch: int | None = Field(
        default=None, ge=1, description="of a batch's images, how many have no label; their share of all if not given"
    )
    pseudo_weight: float = Field(ge=0, description="lambda of Sec. 2.5; the paper: 0.25")
    prompts: PromptSettings
    gates: Gates


class KnowledgeMiningConfig(SegmentationConfig):
    """A run of knowledge mining; without the field `mining` the supervised phase alone, which a mining run begins from.

    `epochs`, `epoch_images` and `learning_rate` are those of the supervised phase.
    """

    recipe: Literal["knowledge_mining"]
    labelled: LabelledSettings
    unlabelled: tuple[str, ...] = Field(
        default=(), description="data sets of whose training part no label is looked at, beside those in 'datasets'"
    )
    loss: LossSettings = Field(description="Sec. 2.5: dice 1 and cross_entropy (k) 0.2")
    weight_decay: float = Field(ge=0, description="Adam's; the paper leaves it open")
    plateau: PlateauSettings | None = Field(description="null: half a cosine to 0 over the phase")
    monitor: Literal["loss", "dice"] = Field(
        description="the validation value that chooses the best weights and ends a phase; the paper: loss"
    )
    augmentation: Turns | Augmentation | None
    teacher: str | None = Field(default=None, description="the promptable; --teacher wins over it")
    mining: MiningSettings | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> KnowledgeMiningConfig:
        twice = sorted(set(self.unlabelled) & set(self.datasets))
        if twice:
            raise ValueError(
                f"{twice[0]} is in both 'datasets' and 'unlabelled': the same images would be in both sets"
            )
        if self.mining and self.mining.schedule != "supervised":
            few = self.mining.unlabelled_batch
            if self.batch_size < 2 or (few is not None and few >= self.batch_size):
                raise ValueError(
                    "mining.unlabelled_batch must be smaller than batch_size, which must be at least 2: a batch has "
                    "labelled images too"
                )
            if self.labelled.fraction == 1 and not self.unlabelled:
                raise ValueError(
                    "labelled.fraction is 1 and 'unlabelled' names no data set: there would be no unlabelled images to "
                    "mine; give a smaller fraction, or the schedule supervised"
                )
        return self
