"""Ours beside each row of SLSNet's tables, from the rows that runs left on disk; and paired tests of its parts.

SLSNet, tables 3, 4, 6, 7 and 8. Ours are means over the test images of ISIC 2018 (the paper: ISBI 2017's test set, and
ISIC 2018's leaderboard), in percent, then mean and deviation over seeds. Parameters and multiply-adds are counted on
the network itself, those of attention products apart.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutis.evaluation.evaluate import Row
from cutis.evaluation.statistics import Paired, paired
from cutis.evaluation.summary import BOOTSTRAP
from cutis.evaluation.tables import read_rows
from cutis.experiments.measures import Spread, spread
from cutis.experiments.segmenter_run import ROWS
from cutis.experiments.slsnet_plan import SLSNetGrid, SLSNetJob, job_config, variant_of

__all__ = ["PAIRS", "Balance", "balance_of", "compare_runs", "costs_of", "runs_of", "values_of"]

PAIRS = (
    ("position", "baseline"), ("channel", "baseline"), ("both", "baseline"), ("full", "both"), ("full", "baseline"),
    ("full", "alone"), ("full", "larger-l1"), ("full", "bce"), ("full", "bce-l1"), ("full", "bce-jaccard"),
)  # fmt: skip
"""What is compared: each part with what it is added to, the adversary with none, the losses with less."""


class Balance(NamedTuple):
    """Over the last third of what was logged: the share of patches that the discriminator got right, and its loss."""

    real: float
    generated: float
    loss: float


def runs_of(results: Path, variant: str) -> dict[int, list[Row]]:
    """Seed -> measures of the test images, of every run of a variant that was evaluated."""
    paths = (results / variant).glob(f"seed-*/{ROWS.as_posix()}")
    found = {int(path.parents[1].name.removeprefix("seed-")): read_rows(path) for path in paths}
    return dict(sorted(found.items()))


def values_of(results: Path, variant: str, measure: str) -> Spread | None:
    """The measure in percent: the mean over images of each seed, and their spread; None where no run is there."""
    means = [
        100 * float(np.nanmean([row.measures[measure] for row in rows])) for rows in runs_of(results, variant).values()
    ]
    return spread(means) if means else None


def costs_of(config: SLSNetGrid, variant: str) -> Mapping[str, float]:
    """Of the network of a variant: `parameters` in millions, `macs` of its convolutions and `attention_macs` in G."""
    from cutis.models.budget import budget
    from cutis.recipes.folder import build

    settings = job_config(config, SLSNetJob(variant_of(config, variant), 0))
    found = budget(build(settings.network, 0), settings.preprocessing.size)
    return {
        "parameters": found.parameters / 1e6,
        "macs": found.convolutions / 1e9,
        "attention_macs": found.attention / 1e9,
    }


def compare_runs(results: Path, first: str, second: str, measure: str) -> tuple[list[float], Paired] | None:
    """Differences (first minus second, percent) of each seed that both have, and the paired tests over test images, an
    image's value being its mean over those seeds; None where they share none, or have a single image."""
    here, there = runs_of(results, first), runs_of(results, second)
    seeds = [seed for seed in here if seed in there]
    if not seeds or len(here[seeds[0]]) < 2:
        return None
    groups = _names(here[seeds[0]])
    if any(_names(side[seed]) != groups for seed in seeds for side in (here, there)):
        raise ValueError(f"{first} and {second} were evaluated on other images: run the experiment again")
    one, two = (np.array([[row.measures[measure] for row in side[seed]] for seed in seeds]) for side in (here, there))
    by_seed = 100 * (np.nanmean(one, axis=1) - np.nanmean(two, axis=1))
    lesions = [row.group for row in here[seeds[0]]]
    return by_seed.tolist(), paired(_mean(one), _mean(two), lesions, **BOOTSTRAP._asdict())


def balance_of(run: Path) -> Balance | None:
    """What the log of a run says of its discriminator; None where it has none."""
    seen = []
    for path in sorted((run / "logs").glob("start_*/metrics.csv"), key=lambda path: int(path.parent.name[6:])):
        with path.open(encoding="utf-8", newline="") as stream:
            for line in csv.DictReader(stream):
                names = ("train/real_accuracy", "train/generated_accuracy", "train/discriminator_loss")
                if all(line.get(name) for name in names):
                    seen.append([float(line[name]) for name in names])
    if not seen:
        return None
    return Balance(*np.mean(seen[-(-2 * len(seen) // 3) :] or seen, axis=0).tolist())


def _names(rows: list[Row]) -> list[tuple[str, str]]:
    return [(row.dataset, row.id) for row in rows]


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values.mean(axis=0), np.float64)
