"""What a run of a classifier is, the symmetry network's or the lesion network's: validated, kept in the run folder.

SE-LCN, Sec. 4.1.2, 4.1.3 and 5.2. No torch here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from cutis.data.augment import Augmentation
from cutis.data.labels import CLASSES_OF, Task
from cutis.imaging.lesion_area import Masking
from cutis.imaging.preprocessing import Preprocessing
from cutis.recipes.config import NetworkSettings, Settings, SplitSettings

__all__ = ["ClassificationConfig", "Folds"]


class Folds(Settings):
    """K-fold cross-validation of what is left when the test share is set aside; stratified by class.

    SE-LCN, Sec. 5.2: test 0.2; 3 folds for the symmetry network, 4 for the cascade; `grouping: image` as the paper did
    it, which puts images of one lesion on both sides.
    """

    count: int = Field(ge=2)
    fold: int = Field(ge=0, description="the part held out for validation, from 0")
    test: float = Field(ge=0, lt=1, description="share of the images in the test part, the same for all folds")
    grouping: Literal["lesion", "image"]
    seed: int

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Folds:
        if self.fold >= self.count:
            raise ValueError(f"fold {self.fold} of {self.count}: they are counted from 0")
        return self


def _which_split(value: Any) -> str:
    return "folds" if isinstance(value, Folds) or (isinstance(value, dict) and "count" in value) else "fractions"


class ClassificationConfig(Settings):
    """A run of the symmetry network or of the lesion network."""

    task: Task
    name: str
    network: NetworkSettings
    weights: str | None = Field(
        default=None, description="where the weights to begin from are: 'imagenet' or a file; random unless given"
    )
    preprocessing: Preprocessing
    masking: Masking = Field(description="what the network sees: none (everything), segmentation, lae")
    datasets: dict[str, float] = Field(
        min_length=1, description="data set -> how often its images are drawn, 1 = once an epoch"
    )
    leave_out: tuple[str, ...] = Field(default=(), description="classes whose images are not used")
    split: Annotated[
        Annotated[SplitSettings, Tag("fractions")] | Annotated[Folds, Tag("folds")], Discriminator(_which_split)
    ] = Field(description="fractions and seed, or folds: count, fold, test, grouping, seed")
    epochs: Annotated[int, Field(ge=1)]
    epoch_images: int | None = Field(default=None, ge=1, description="images an epoch; all there are if not given")
    batch_size: int = Field(ge=1, description="over all processes together")
    accumulate: int = Field(ge=1)
    optimiser: Literal["adam", "adamw"]
    learning_rate: float = Field(gt=0)
    momentum: float = Field(ge=0, lt=1, description="Adam's first beta")
    weight_decay: float = Field(ge=0)
    schedule: Literal["cosine", "constant"]
    warmup_epochs: float = Field(ge=0)
    clip_norm: float | None = Field(default=None, gt=0)
    average: float | None = Field(
        default=None, gt=0, lt=1, description="decay of the exponential moving average of the weights"
    )
    class_weights: float = Field(
        ge=0, le=1, description="power of the classes' weights in the loss, SE-LCN's Eq. 5: 1 as there, 0 none"
    )
    weigh: Literal["all", "symmetric"] = Field(
        default="all", description="which classes' loss is weighted: all (Eq. 7), or 'symmetric' alone (Eq. 6)"
    )
    balance: int | None = Field(
        default=None, ge=1, description="training images a class, by flips and 90-degree turns (SE-LCN: 2000)"
    )
    even: float = Field(
        ge=0, le=1, description="how evenly classes are drawn: 0 as frequent as they are, 1 each as often"
    )
    augmentation: Augmentation | None
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    patience: int = Field(ge=1, description="validations without a better value before stopping")
    select: Literal["balanced_accuracy", "accuracy", "loss"] = Field(description="what chooses the best checkpoint")
    validation_images: int | None = Field(default=None, ge=1, description="at most so many validation images")
    seed: int
    workers: int = Field(ge=0)

    @model_validator(mode="after")
    def _goes_together(self) -> ClassificationConfig:
        if (self.task, self.network.options.get("classes")) not in CLASSES_OF:
            known = ", ".join(str(count) for task, count in CLASSES_OF if task == self.task)
            raise ValueError(f"network.options.classes: a network of the task {self.task} has {known} classes")
        if "backbone" not in self.network.options:
            raise ValueError("network.options.backbone: name the network's trunk, e.g. squeezenet1_1")
        if self.weigh == "symmetric" and self.classes != ("asymmetric", "symmetric"):
            raise ValueError("weigh: Eq. 6 is of the two classes asymmetric and symmetric; take 'all'")
        if min(self.datasets.values()) <= 0:
            raise ValueError("a data set is drawn more than 0 times an epoch: leave it out instead")
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        return CLASSES_OF[self.task, self.network.options["classes"]]

    @property
    def takes_map(self) -> bool:
        """Whether the network fuses the symmetry network's map (its E-Layer)."""
        return self.task == "lesion_class" and bool(self.network.options.get("activation", True))

    def changed(self, **fields: Any) -> ClassificationConfig:
        """The same with other values, checked again."""
        return ClassificationConfig.model_validate({**self.model_dump(), **fields})
