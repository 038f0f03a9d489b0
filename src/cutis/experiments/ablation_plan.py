"""The runs that SparseSegNet's tables need: one base configuration, and what each row takes out of it.

SparseSegNet, Sec. 5.1-5.2 and 6. Stages: `ablation` (table 4), `datasets` (tables 2 and 3: the full network on each
data set), `weights` (table 1). Every row has the same images, split, input size and number of updates: a pruning step
that a row lacks is replaced by as much further training as its fine-tuning. No torch here.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, field_validator, model_validator

from cutis.experiments.paper import sparsesegnet_tables
from cutis.recipes.config import LossSettings, Settings, SupervisedConfig
from cutis.recipes.distillation_config import DistillationConfig, TeacherChoice
from cutis.recipes.pruning_config import DiceStep, PruningConfig, Step

__all__ = [
    "OWN_ROWS",
    "PARTS",
    "RESCORED",
    "ROWS",
    "UNPRUNED",
    "WEIGHTS",
    "AblationConfig",
    "AblationJob",
    "continued",
    "home_of",
    "job_config",
    "jobs_of",
    "pruning_of",
    "removed",
    "tuples_of",
]

Stage = Literal["weights", "ablation", "datasets"]
ROWS: tuple[str, ...] = tuple(str(row.what["row"]) for row in sparsesegnet_tables()["4"].rows)
"""Of table 4, in its order."""
UNPRUNED = "-pruning"
"""A row of ours: the full network, trained on instead of being pruned. Beside it stands what the cuts alone cost."""
RESCORED = "eq2-decoder"
"""A row of ours: the full network whose decoder is pruned by Eq. 2, `AblationConfig.instead`, and not by Eq. 5-6."""
OWN_ROWS = (UNPRUNED, RESCORED)
PARTS = ("ag_op", "effu", "semantic", "boundary", "padd", "r_effu")
WEIGHTS = ("boundary", "ag_op", "padd", "effu")
"""Alpha, beta, gamma and delta of Eq. 11, as fields of the loss."""
VANILLA_CROSS_ENTROPY = 1.0
"""Table 4's vanilla row: "Dice+CE loss only", both of weight 1."""


class TeachersSpec(Settings):
    """Both teachers, and what is kept of their answers; a cache is made for every set of training images."""

    first: TeacherChoice
    second: TeacherChoice
    channels: int = Field(ge=1)
    side: int = Field(ge=1, description="cells a side, e.g. the frame's side over 16")
    fitted_on: int = Field(ge=1, description="images that the projections are fitted on")
    align: bool = Field(description="turn the second teacher's components towards the first one's")
    batch: int = Field(ge=1)


class WeightSearch(Settings):
    """Table 1: the grid of (alpha, beta, gamma, delta), of which `budget` tuples are tried; the four printed first."""

    values: tuple[float, ...] = Field(min_length=1, description="of each weight; the paper: 0.001, 0.01, 0.1, 1")
    folds: int = Field(ge=2)
    epochs: int = Field(ge=1, description="the paper: 40")
    budget: int = Field(ge=1, description="tuples, the printed ones among them; 259 are all")
    seed: int = Field(description="which of the grid's tuples, if not all")


class AblationConfig(Settings):
    """The whole experiment."""

    experiment: Literal["sparsesegnet"]
    name: str
    stages: tuple[Stage, ...] = Field(min_length=1)
    rows: tuple[str, ...] = Field(min_length=1, description="of table 4, and ours: -pruning, eq2-decoder")
    seeds: tuple[int, ...] = Field(min_length=1)
    datasets: tuple[str, ...] = Field(description="of table 2: each trains the full network anew")
    base: DistillationConfig = Field(description="of the row full")
    teachers: TeachersSpec
    pruning: PruningConfig
    instead: DiceStep | None = Field(default=None, description="in the semantic step's place in the row eq2-decoder")
    search: WeightSearch

    @field_validator("rows")
    @classmethod
    def _are_the_papers(cls, rows: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [row for row in rows if row not in (*ROWS, *OWN_ROWS)]
        if unknown or len(set(rows)) < len(rows):
            raise ValueError(f"give rows of table 4, each once, or ours: {', '.join((*ROWS, *OWN_ROWS))}")
        return rows

    @model_validator(mode="after")
    def _goes_together(self) -> AblationConfig:
        loss = self.base.loss
        off = [name for name in (*WEIGHTS, "reinforce") if not getattr(loss, name)]
        if off or not self.base.gated:
            raise ValueError(f"base is the full network: {', '.join(off) or 'network.options.gates'} is off in it")
        if "semantic" not in [step.kind for step in self.pruning.steps]:
            raise ValueError("pruning.steps has no semantic step, which a row takes out")
        if RESCORED in self.rows and self.instead is None:
            raise ValueError(f"the row {RESCORED} needs the field 'instead'")
        return self


class AblationJob(NamedTuple):
    """One network to train, prune and evaluate. `name`: a row of table 4, a data set, or a tuple's number; `weights`:
    that tuple; `fold` only there."""

    stage: Stage
    name: str
    seed: int
    fold: int | None
    weights: tuple[float, ...]

    def folder(self, results: Path) -> Path:
        """Where everything of it lies."""
        last = f"seed-{self.seed}" if self.fold is None else f"fold-{self.fold}"
        return home_of(results, self.stage, self.name) / last

    @property
    def row(self) -> str:
        """The row of table 4 whose parts it has."""
        return self.name if self.stage == "ablation" else "full"

    @property
    def training(self) -> AblationJob:
        """The job whose training it shares: rows that differ in pruning alone are one before the first cut."""
        if self.stage != "ablation":
            return self
        rest = [part for part in self.name.split() if part not in ("-semantic", *OWN_ROWS)]
        return self._replace(name=" ".join(rest) or "full")

    @property
    def images(self) -> str:
        """Names the set of training images: teachers' caches are made once for each."""
        return {"ablation": "ablation", "datasets": self.name, "weights": f"fold-{self.fold}"}[self.stage]


def home_of(results: Path, stage: str, name: str) -> Path:
    """Where the runs of a row, data set or tuple lie, one folder a seed or fold.

    >>> home_of(Path("r"), "ablation", "-ag_op -effu").as_posix()
    'r/ablation/without-ag_op-effu'
    """
    return results / stage / (f"without{name.replace(' ', '')}" if name.startswith("-") else name)


def removed(row: str) -> tuple[str, ...]:
    """What a row of table 4 lacks.

    >>> removed("full"), removed("-ag_op -effu"), removed("vanilla") == PARTS
    ((), ('ag_op', 'effu'), True)
    """
    if row == "vanilla":
        return PARTS
    return () if row in ("full", RESCORED) else tuple(part.removeprefix("-") for part in row.split())


def jobs_of(config: AblationConfig) -> list[AblationJob]:
    """Every run, all rows of a seed before the next seed."""
    jobs: list[AblationJob] = []
    if "weights" in config.stages:
        jobs += [
            AblationJob("weights", _numbered(weights), config.search.seed, fold, weights)
            for weights in tuples_of(config.search)
            for fold in range(config.search.folds)
        ]
    for stage, names in (("ablation", config.rows), ("datasets", config.datasets)):
        if stage in config.stages:
            jobs += [AblationJob(stage, name, seed, None, ()) for seed in config.seeds for name in names]
    return jobs


def tuples_of(search: WeightSearch) -> list[tuple[float, ...]]:
    """The tuples that are tried: the printed ones, then the grid's in a seeded order, `budget` in all."""
    printed = [tuple(float(row.what[name]) for name in WEIGHTS) for row in sparsesegnet_tables()["1"].rows]
    grid = [point for point in itertools.product(search.values, repeat=len(WEIGHTS)) if point not in printed]
    order = np.random.default_rng(search.seed).permutation(len(grid))
    return (printed + [grid[index] for index in order])[: search.budget]


def job_config(config: AblationConfig, job: AblationJob) -> DistillationConfig:
    """The configuration of one run: the base, without what its row lacks, on its data, with its weights."""
    values: dict[str, Any] = config.base.model_dump()
    values |= {"name": f"{job.stage} {job.name}, seed {job.seed}", "seed": job.seed}
    loss, options = values["loss"], values["network"]["options"]
    gone = removed(job.row)
    loss |= {name: 0.0 for name in ("ag_op", "boundary", "padd") if name in gone}
    if "effu" in gone:
        options.pop("gates")
        loss["reinforce"] = 0.0
    if "effu" in gone or "r_effu" in gone:
        loss["effu"] = 0.0
    if job.row == "vanilla":
        loss["cross_entropy"] = VANILLA_CROSS_ENTROPY
    if job.stage == "datasets":
        values["datasets"] = {job.name: 1.0}
    if job.stage == "weights":
        loss |= dict(zip(WEIGHTS, job.weights, strict=True))
        values["epochs"] = config.search.epochs
        values["warmup_epochs"] = min(values["warmup_epochs"], config.search.epochs / 4)
        values["split"]["held_out"] = {"folds": config.search.folds, "fold": job.fold}
    return DistillationConfig.model_validate(values)


def pruning_of(config: AblationConfig, row: str) -> PruningConfig | None:
    """The steps that a row has; the vanilla network has none."""
    steps: tuple[Step, ...] = config.pruning.steps
    if row == RESCORED and config.instead:
        steps = tuple(config.instead if step.kind == "semantic" else step for step in steps)
    if "semantic" in removed(row):
        steps = tuple(step for step in steps if step.kind != "semantic")
    return None if row in ("vanilla", UNPRUNED) or not steps else config.pruning.model_copy(update={"steps": steps})


def continued(config: AblationConfig, run: SupervisedConfig, seed: int) -> SupervisedConfig:
    """The training that stands for a pruning step that a row lacks: what `cutis prune` would fine-tune it with."""
    values = run.model_dump(include=set(SupervisedConfig.model_fields))
    values["loss"] = {name: values["loss"][name] for name in LossSettings.model_fields}
    return SupervisedConfig.model_validate(values | config.pruning.fine_tune | {"seed": seed})


def _numbered(weights: tuple[float, ...]) -> str:
    return "_".join(f"{weight:g}" for weight in weights)
