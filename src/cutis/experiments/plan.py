"""The runs that SE-LCN's tables need, in the order in which they can be made.

SE-LCN, Sec. 5.2. Which models there are is read from the printed tables themselves: table 6a names the four symmetry
networks, table 8a the twelve lesion networks. A lesion network that takes maps takes those of the pretrained symmetry
network with that masking, of the fold that validates best.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from cutis.experiments.beside import fold_folder
from cutis.experiments.paper import selcn_tables

__all__ = ["STAGES", "Job", "Stage", "plan", "symmetry_model"]

Stage = Literal["segmentation", "symmetry", "lesion", "isic2016"]
STAGES: tuple[Stage, ...] = ("segmentation", "symmetry", "lesion", "isic2016")


class Job(NamedTuple):
    """One network to train and evaluate.

    `model` is the paper's number (of table 6 or 8), `masking` masks its own input. `maps`: the masking of the symmetry
    network whose maps it takes, None for a network without an E-Layer. For the segmentation `name` is the network's.
    """

    stage: Stage
    name: str
    seed: int
    model: int
    fold: int
    masking: str
    maps: str | None
    pretrained: bool

    def folder(self, results: Path) -> Path:
        """Where its run lies."""
        if self.stage == "segmentation":
            return results / self.stage / self.name
        return fold_folder(results, self.stage, self.seed, self.model, self.fold)


def plan(
    stages: Sequence[Stage], seeds: Sequence[int], models: Sequence[int], symmetry_folds: int, lesion_folds: int
) -> list[Job]:
    """Every job, each after those it needs; symmetry networks only where a table or a wanted model asks for them.

    >>> whole = plan(STAGES, [1], range(1, 13), symmetry_folds=3, lesion_folds=4)
    >>> [sum(job.stage == stage for job in whole) for stage in STAGES]
    [2, 12, 48, 48]
    >>> [(job.name, job.fold) for job in plan(["lesion"], [1], [1, 4], symmetry_folds=3, lesion_folds=1)]
    [('symmetry 4', 0), ('symmetry 4', 1), ('symmetry 4', 2), ('lesion 1', 0), ('lesion 4', 0)]
    """
    tables = selcn_tables()
    grid = [row.what for row in tables["8a"].rows if row.what["model"] in models]
    jobs: list[Job] = []
    if "segmentation" in stages:
        networks = [str(row.what["network"]) for row in tables["5"].rows]
        jobs += [Job("segmentation", name, seeds[0], 0, 0, "none", None, False) for name in networks]
    classifiers: list[Stage] = [stage for stage in ("lesion", "isic2016") if stage in stages]
    taken = {what["symmetry"] for what in grid} - {"absent"} if classifiers else set()
    for row in tables["6a"].rows:
        model, masking, pretrained = row.what["model"], row.what["symmetry"], row.what["pretrained"]
        if "symmetry" in stages or (pretrained and masking in taken):
            jobs += [
                Job("symmetry", f"symmetry {model}", seed, model, fold, masking, None, pretrained)
                for seed in seeds
                for fold in range(symmetry_folds)
            ]
    for stage in classifiers:
        jobs += [
            Job(
                stage, f"{stage} {what['model']}", seed, what["model"], fold, what["lesion"],
                None if what["symmetry"] == "absent" else what["symmetry"], True,
            )
            for seed in seeds
            for what in grid
            for fold in range(lesion_folds)
        ]  # fmt: skip
    return jobs


def symmetry_model(masking: str) -> int:
    """The number in table 6 of the pretrained symmetry network with this masking.

    >>> [symmetry_model(masking) for masking in ("none", "segmentation", "lae")]
    [2, 3, 4]
    """
    row = selcn_tables()["6a"].row(symmetry=masking, pretrained=True)
    if row is None:
        raise ValueError(f"table 6 has no pretrained symmetry network with the masking {masking!r}")
    return int(row.what["model"])
