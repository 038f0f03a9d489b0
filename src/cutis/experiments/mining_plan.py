"""The runs that knowledge mining's tables need: one configuration, and what each row of a table changes in it.

Knowledge mining, Sec. 2.8 and Tables 1-3. A row is named by its words: what the encoder began with (nothing, or
simclr), whose answers are learned from (`MiningGrid.teacher`, or medsam), the schedule, the prompts (points and box, or
those named), and what of ours is changed. Within a data set, a share of labels and a seed all rows have the same
labelled images, the same supervised phase to begin from and as many steps after it. No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from cutis.experiments.paper import mining_tables
from cutis.recipes.config import Settings
from cutis.recipes.contrastive_config import ContrastiveConfig
from cutis.recipes.knowledge_mining_config import KnowledgeMiningConfig

__all__ = [
    "OWN_ROWS",
    "ROWS",
    "MiningGrid",
    "MiningJob",
    "Words",
    "contrastive_config",
    "job_config",
    "jobs_of",
    "shares_of",
    "supervised_config",
    "words_of",
]

ROWS: tuple[str, ...] = tuple(dict.fromkeys(str(row.what["run"]) for t in mining_tables().values() for row in t.rows))
"""Of all tables, in their order."""
PROMPTS: Mapping[str, dict[str, Any]] = {
    "": {},
    "box": {"points": 0, "box": True, "mask": False},
    "points": {"box": False, "mask": False},
    "points-box-mask": {"box": True, "mask": True},
}
"""What a row's word changes in the prompts of the base."""
OWN: Mapping[str, str] = {
    "full-weight": "a pseudo-label weighs as much as a label: lambda is 1",
    "three-quarters": "three quarters of a batch have pseudo-labels, a quarter labels",
    "averaged": "a pseudo-label is the mean of the promptable's and the network's own probability",
}
"""What is ours to change, and not the paper's: words at a row's end."""
OWN_ROWS: tuple[str, ...] = tuple(
    f"{schedule} {words}"
    for schedule in ("one-time", "continuous")
    for words in ("full-weight", "full-weight three-quarters", "points averaged full-weight three-quarters")
)
"""Rows of ours, in no table of the paper."""


class Words(NamedTuple):
    """What a row is: `start` "" or simclr, `teacher` "" or medsam, `schedule`, `prompts` a key of `PROMPTS`, `own` of
    those of `OWN`."""

    start: str
    teacher: str
    schedule: str
    prompts: str
    own: tuple[str, ...]


class MiningGrid(Settings):
    """The whole experiment: `base` is the continuous run with points and box; the rows say what else is made."""

    experiment: Literal["knowledge-mining"]
    name: str
    labelled: dict[str, tuple[float, ...]] = Field(
        min_length=1, description="data set -> percent of its training images that keep their labels; 100: supervised"
    )
    rows: tuple[str, ...] = Field(min_length=1, description=f"of {', '.join((*ROWS, *OWN_ROWS))}")
    seeds: tuple[int, ...] = Field(min_length=1, description="of weights, batches, ties, and which images are labelled")
    teacher: str | None = Field(description="the promptable of the rows that name none (the paper: SAM ViT-B)")
    medsam: str | None = Field(default=None, description="MedSAM's weights, for the rows that name it")
    base: KnowledgeMiningConfig
    contrastive: ContrastiveConfig | None = Field(default=None, description="for the rows that begin with simclr")

    @model_validator(mode="after")
    def _goes_together(self) -> MiningGrid:
        unknown = [row for row in self.rows if row not in (*ROWS, *OWN_ROWS)]
        if unknown or len(set(self.rows)) < len(self.rows):
            raise ValueError(f"rows: give names of {', '.join((*ROWS, *OWN_ROWS))}, each once")
        if self.base.mining is None:
            raise ValueError("base has no field 'mining': every row has a second phase")
        if self.contrastive is None and any(words_of(row).start for row in self.rows):
            raise ValueError("rows that begin with simclr need the field 'contrastive'")
        wrong = [share for shares in self.labelled.values() for share in shares if not 0 < share <= 100]
        if wrong or not all(self.labelled.values()):
            raise ValueError(f"labelled: give percents above 0 and up to 100 for every data set (got {wrong})")
        return self


class MiningJob(NamedTuple):
    """One network to train by a row's schedule and evaluate; `share` is the percent of labels."""

    dataset: str
    share: float
    row: str
    seed: int

    def folder(self, results: Path) -> Path:
        """Where its run lies."""
        return results / self.variant / f"seed-{self.seed}"

    @property
    def variant(self) -> str:
        """Where the runs of all its seeds lie.

        >>> MiningJob("kvasir_seg", 75.0, "one-time points", 1).variant
        'kvasir_seg/labelled-75/one-time-points'
        """
        return f"{self.dataset}/labelled-{self.share:g}/{self.row.replace(' ', '-')}"

    def first(self, results: Path) -> Path:
        """Where the supervised phase lies that it begins from, shared by rows of the same start."""
        begun = f"first-phase{'-' * bool(self.words.start)}{self.words.start}"
        return self.folder(results).parents[1] / begun / f"seed-{self.seed}"

    def pretrained(self, results: Path) -> Path:
        """Where the pretraining lies, which sees all images and no label: shared by all shares of labels."""
        return results / self.dataset / "simclr" / f"seed-{self.seed}"

    @property
    def words(self) -> Words:
        return words_of(self.row)


def words_of(row: str) -> Words:
    """The parts of a row's name.

    >>> words_of("simclr one-time"), words_of("continuous points-box-mask").prompts
    (Words(start='simclr', teacher='', schedule='one-time', prompts='', own=()), 'points-box-mask')
    """
    words = row.split()
    start = words.pop(0) if words[0] == "simclr" else ""
    teacher = words.pop(0) if words[0] == "medsam" else ""
    schedule = words.pop(0)
    prompts = words.pop(0) if words and words[0] in PROMPTS else ""
    return Words(start, teacher, schedule, prompts, tuple(words))


def shares_of(config: MiningGrid, dataset: str) -> tuple[float, ...]:
    """Percents of labels of a data set, the most first, as the tables print them."""
    return tuple(sorted(config.labelled[dataset], reverse=True))


def jobs_of(config: MiningGrid) -> list[MiningJob]:
    """Every run, all of a seed before the next seed. Where all images have labels there is nothing to mine."""
    return [
        MiningJob(dataset, share, row, seed)
        for seed in config.seeds
        for dataset in config.labelled
        for share in shares_of(config, dataset)
        for row in config.rows
        if share < 100 or row == "supervised"
    ]


def job_config(config: MiningGrid, job: MiningJob) -> KnowledgeMiningConfig:
    """The configuration of one run: the base, with its data, its labels, its schedule and its prompts."""
    values: dict[str, Any] = config.base.model_dump()
    values |= {"name": f"{job.row}, {job.share:g}% of {job.dataset}, seed {job.seed}", "seed": job.seed}
    values |= {"datasets": {job.dataset: 1.0}, "labelled": {"fraction": job.share / 100, "seed": job.seed}}
    values["mining"]["schedule"] = job.words.schedule
    values["mining"]["prompts"] |= PROMPTS[job.words.prompts]
    if "full-weight" in job.words.own:
        values["mining"]["pseudo_weight"] = 1.0
    if "averaged" in job.words.own:
        values["mining"]["prompts"]["averaged"] = True
    if "three-quarters" in job.words.own:
        values["mining"]["unlabelled_batch"] = config.base.batch_size * 3 // 4
    return KnowledgeMiningConfig.model_validate(values)


def supervised_config(config: MiningGrid, job: MiningJob) -> KnowledgeMiningConfig:
    """The phase that it begins from: the same, without the mining."""
    name = f"{job.words.start} first phase, {job.share:g}% of {job.dataset}, seed {job.seed}".strip()
    return job_config(config, job).model_copy(update={"name": name, "mining": None})


def contrastive_config(config: MiningGrid, job: MiningJob) -> ContrastiveConfig:
    """The pretraining that it begins from, on all training images of its data set, labels unseen."""
    assert config.contrastive is not None  # checked with the rows
    values: dict[str, Any] = config.contrastive.model_dump()
    values |= {"name": f"simclr, {job.dataset}, seed {job.seed}", "seed": job.seed, "datasets": {job.dataset: 1.0}}
    return ContrastiveConfig.model_validate(values)
