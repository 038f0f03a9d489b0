"""What the grid is: its stages, models and seeds, and the one configuration of each network that its models share.

SE-LCN, Sec. 5.2: hyperparameters were sought once, for the baseline, and are the same for every model of a stage; so
here. What a model changes (masking, map, fold, seed, whether its weights are ImageNet's) is the plan's, not the file's.
No torch here.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from cutis.experiments.plan import STAGES, Job, Stage, plan
from cutis.recipes.classification_config import ClassificationConfig, Folds
from cutis.recipes.config import Settings, SupervisedConfig

__all__ = ["GridConfig", "MapSettings", "job_config", "jobs_of"]


class MapSettings(Settings):
    """On which images the maps' localisation is measured (tables 7, 9 and 15)."""

    part: Literal["test", "all"] = Field(description="the paper: all of HAM10000, also what was trained on")
    images: int | None = Field(default=None, ge=1, description="at most so many, evenly spread")
    gaussian: float = Field(gt=0, description="standard deviation of the centred Gaussian, as a share of each side")


class GridConfig(Settings):
    """The whole experiment (SE-LCN, Sec. 5)."""

    name: str
    stages: tuple[Stage, ...] = Field(min_length=1, description="of segmentation, symmetry, lesion, isic2016")
    models: tuple[int, ...] = Field(min_length=1, description="of the twelve lesion networks of table 8")
    seeds: tuple[int, ...] = Field(min_length=1, description="each trains every model again, on the same folds")
    segmentation: SupervisedConfig | None = Field(
        default=None, description="of both networks of table 5; needed by the stage segmentation only"
    )
    symmetry: ClassificationConfig
    lesion: ClassificationConfig
    external: tuple[Literal["isic2019"], ...] = Field(description="data sets that the lesion networks only answer")
    maps: MapSettings

    @field_validator("models")
    @classmethod
    def _are_the_papers(cls, models: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(models)) < len(models) or not set(models) <= set(range(1, 13)):
            raise ValueError("give numbers of table 8, 1 to 12, each once")
        return models

    @model_validator(mode="after")
    def _goes_together(self) -> GridConfig:
        symmetry, lesion = self.symmetry, self.lesion
        if symmetry.task != "symmetry" or lesion.task != "lesion_class":
            raise ValueError("the field symmetry holds a run of the task symmetry, lesion one of lesion_class")
        if not isinstance(symmetry.split, Folds) or not isinstance(lesion.split, Folds):
            raise ValueError(
                "symmetry.split and lesion.split: the grid needs folds (count, fold, test, grouping, seed)"
            )
        one, other = ((s.test, s.grouping, s.seed) for s in (symmetry.split, lesion.split))
        if one != other:
            raise ValueError(
                "test, grouping and seed of both splits must be equal, or a test lesion could be trained on"
            )
        if "segmentation" in self.stages and self.segmentation is None:
            raise ValueError("the stage segmentation needs the field segmentation")
        return self

    def folds(self, stage: Stage) -> int:
        """How many folds the stage's networks have; 1 for the segmentation."""
        split = {"symmetry": self.symmetry.split, "lesion": self.lesion.split, "isic2016": self.lesion.split}.get(stage)
        return split.count if isinstance(split, Folds) else 1


def jobs_of(config: GridConfig) -> list[Job]:
    """Every run of the experiment, in order."""
    stages = tuple(stage for stage in STAGES if stage in config.stages)
    return plan(stages, config.seeds, config.models, config.folds("symmetry"), config.folds("lesion"))


def job_config(config: GridConfig, job: Job) -> ClassificationConfig | SupervisedConfig:
    """The configuration of one run: its stage's, with what its model, fold and seed change."""
    if job.stage == "segmentation":
        assert config.segmentation is not None  # checked with the stages
        network = config.segmentation.network.model_copy(update={"name": job.name})
        return config.segmentation.model_copy(update={"network": network, "name": job.name, "seed": job.seed})
    base = config.symmetry if job.stage == "symmetry" else config.lesion
    options = dict(base.network.options)
    if job.stage != "symmetry":
        options["activation"] = job.maps is not None
    changes = {
        "name": f"{job.name}, fold {job.fold}, seed {job.seed}",
        "masking": job.masking,
        "seed": job.seed,
        "split": base.split.model_dump() | {"fold": job.fold},
        "weights": base.weights if job.pretrained else None,
        "network": {"name": base.network.name, "options": options},
    }
    if job.stage == "isic2016":
        options["classes"] = 2
        changes |= {"datasets": {"isic2016": 1.0}}
    return base.changed(**changes)
