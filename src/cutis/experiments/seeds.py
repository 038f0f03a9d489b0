"""Runs of the same kind that differ in their seed, from the rows that they left on disk: means, and paired tests.

A kind's runs lie in one folder, `seed-1/`, `seed-2/`, ..., each with `evaluation/rows.csv`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cutis.evaluation.evaluate import Row
from cutis.evaluation.statistics import Paired, paired
from cutis.evaluation.summary import BOOTSTRAP
from cutis.evaluation.tables import read_rows
from cutis.experiments.measures import Spread, spread
from cutis.experiments.segmenter_run import ROWS

__all__ = ["compare_runs", "runs_of", "values_of"]


def runs_of(results: Path, variant: str) -> dict[int, list[Row]]:
    """Seed -> measures of the test images, of every run of a variant that was evaluated."""
    paths = (results / variant).glob(f"seed-*/{ROWS.as_posix()}")
    found = {int(path.parents[1].name.removeprefix("seed-")): read_rows(path) for path in paths}
    return dict(sorted(found.items()))


def values_of(results: Path, variant: str, measure: str, *, scale: float) -> Spread | None:
    """The measure times `scale` (100 for percent): the mean over images of each seed, and their spread; None where no
    run is there."""
    means = [
        scale * float(np.nanmean([row.measures[measure] for row in rows]))
        for rows in runs_of(results, variant).values()
    ]
    return spread(means) if means else None


def compare_runs(
    results: Path, first: str, second: str, measure: str, *, scale: float
) -> tuple[list[float], Paired] | None:
    """Differences (first minus second, times `scale`) of each seed that both have, and the paired tests over test
    images, an image's value being its mean over those seeds; None where they share none, or have a single image."""
    here, there = runs_of(results, first), runs_of(results, second)
    seeds = [seed for seed in here if seed in there]
    if not seeds or len(here[seeds[0]]) < 2:
        return None
    groups = _names(here[seeds[0]])
    if any(_names(side[seed]) != groups for seed in seeds for side in (here, there)):
        raise ValueError(f"{first} and {second} were evaluated on other images: run the experiment again")
    one, two = (np.array([[row.measures[measure] for row in side[seed]] for seed in seeds]) for side in (here, there))
    by_seed = scale * (np.nanmean(one, axis=1) - np.nanmean(two, axis=1))
    lesions = [row.group for row in here[seeds[0]]]
    return by_seed.tolist(), paired(_mean(one), _mean(two), lesions, **BOOTSTRAP._asdict())


def _names(rows: list[Row]) -> list[tuple[str, str]]:
    return [(row.dataset, row.id) for row in rows]


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values.mean(axis=0), np.float64)
