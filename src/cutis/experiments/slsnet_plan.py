"""The runs that SLSNet's tables need: one configuration, and what each row of a table changes in it.

SLSNet, Sec. 4.4-4.5. Every run has the same steps, images, split and losses but for what it is of. Beside the paper's
rows there are two of ours: the generator without its adversary ("alone"), and a larger weight of L1, which code of the
same group uses. No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, field_validator

from cutis.experiments.paper import slsnet_tables
from cutis.recipes.adversarial_config import AdversarialConfig
from cutis.recipes.config import Settings

__all__ = ["COMPARED", "GENERATORS", "OURS", "SLSNetGrid", "SLSNetJob", "job_config", "jobs_of", "variant_of"]

PARTS = ("multiscale", "position", "channel")
GENERATORS: Mapping[str, frozenset[str]] = {
    "baseline": frozenset(),
    "position": frozenset({"position"}),
    "channel": frozenset({"channel"}),
    "both": frozenset({"position", "channel"}),
    "full": frozenset(PARTS),
}
"""Rows of table 6 -> the parts that generator and discriminator have. The printed multiply-adds tell that the baseline
has no multiscale block."""
LOSSES: Mapping[str, tuple[str, ...]] = {
    "alone": ("adversarial",), "bce": ("l1", "jaccard"), "bce-l1": ("jaccard",), "bce-jaccard": ("l1",),
}  # fmt: skip
"""Rows of table 8, and ours without the adversary -> the weights that are 0."""
COMPARED: Mapping[str, dict[str, Any]] = {
    "fcn": {"name": "fcn"}, "unet": {"name": "unet"}, "segnet": {"name": "segnet"}, "enet": {"name": "enet"},
    "deeplabv3plus": {"name": "deeplabv3plus"}, "fpn": {"name": "fpn"}, "linknet": {"name": "linknet"},
}  # fmt: skip
"""Networks of public packages, and ENet and SegNet, in the generator's place (tables 3 and 4)."""
OURS: Mapping[str, str] = {"alone": "without the adversary (ours)", "larger-l1": "larger L1 weight (ours)"}
SIZES = (64, 128, 256)
VARIANTS = (*GENERATORS, *LOSSES, "larger-l1", *COMPARED, *(f"size-{size}" for size in SIZES))


class SLSNetGrid(Settings):
    """The whole experiment: `run` is the full SLSNet's; the variants say what else is made."""

    name: str
    variants: tuple[str, ...] = Field(min_length=1, description=f"of {', '.join(VARIANTS)}")
    seeds: tuple[int, ...] = Field(min_length=1)
    larger_l1: float = Field(gt=0, description="the weight of L1 in the variant larger-l1")
    run: AdversarialConfig

    @field_validator("variants")
    @classmethod
    def _are_known(cls, variants: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in variants if name not in VARIANTS]
        if unknown or len(set(variants)) < len(variants):
            raise ValueError(f"give names of {', '.join(VARIANTS)}, each once")
        return variants


class SLSNetJob(NamedTuple):
    """One network to train and evaluate."""

    variant: str
    seed: int

    def folder(self, results: Path) -> Path:
        """Where its run lies."""
        return results / self.variant / f"seed-{self.seed}"


def jobs_of(config: SLSNetGrid) -> list[SLSNetJob]:
    """Every run, all variants of a seed before the next seed."""
    known = dict.fromkeys(variant_of(config, name) for name in config.variants)
    return [SLSNetJob(name, seed) for seed in config.seeds for name in known]


def variant_of(config: SLSNetGrid, name: str) -> str:
    """The run that a row is of: the size that all runs have is the full network's own."""
    return "full" if name == f"size-{config.run.preprocessing.size}" else name


def job_config(config: SLSNetGrid, job: SLSNetJob) -> AdversarialConfig:
    """The configuration of one run: the grid's, with what its variant and seed change."""
    values = config.run.model_dump()
    values |= {"name": f"{job.variant}, seed {job.seed}", "seed": job.seed}
    name = job.variant
    if name in GENERATORS:
        own = {part: part in GENERATORS[name] for part in PARTS}
        values["network"]["options"] |= own
        values["discriminator"]["options"] |= {part: own[part] for part in ("position", "channel")}
    elif name in LOSSES:
        values["loss"] |= dict.fromkeys(LOSSES[name], 0.0)
    elif name == "larger-l1":
        values["loss"]["l1"] = config.larger_l1
    elif name in COMPARED:
        values["network"] = COMPARED[name]
    else:
        values["preprocessing"]["size"] = int(name.removeprefix("size-"))
    return AdversarialConfig.model_validate(values)


def tables_with_runs() -> list[str]:
    """Tables whose rows are trained networks: all but the inference times.

    >>> tables_with_runs()
    ['3', '4', '6', '7', '8']
    """
    return [name for name in slsnet_tables() if name != "5"]
