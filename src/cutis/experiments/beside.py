"""Ours for each row of a printed table, from the answers that runs left on disk.

SE-LCN, tables 5 to 10 and 13 to 15. A run lies in `<stage>/seed-<s>/model-<m>/fold-<k>` of the results; stage is
symmetry (tables 6 and 7), lesion (8 to 10) or isic2016 (13 to 15), the segmentation of table 5 lies in
`segmentation/<network>`. Means and deviations are over all runs that are there, every fold of every seed; their number
stands beside them where it is not what was planned. Localisation is of the fold with the best validation value, as in
the paper, but never chosen by test images; a centred Gaussian stands below it, since lesions lie in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cutis.evaluation.tables import read_rows
from cutis.experiments.answers import Answers, Pointing, read_answers, read_pointing
from cutis.experiments.measures import Comparison, Spread, compare, measures_of, spread
from cutis.experiments.paper import PaperRow, PaperTable, selcn_tables

__all__ = ["BASELINES", "SOURCES", "Beside", "beside", "comparisons", "fold_folder", "runs_of"]

POINTING = ("iou", "overlap", "pointing_game")
BASELINES: Mapping[int, tuple[int, ...]] = {1: (2, 3, 4), 5: (6, 7, 8), 9: (10, 11, 12)}
"""The model without a map -> those that take one, with the same masking of the lesion network's input."""
SOURCES: Mapping[str, tuple[str, str]] = {
    "6a": ("symmetry", "validation"), "6b": ("symmetry", "test"), "7": ("symmetry", "maps"),
    "8a": ("lesion", "validation"), "8b": ("lesion", "test"), "9": ("lesion", "maps"), "10": ("lesion", "isic2019"),
    "13": ("isic2016", "validation"), "14": ("isic2016", "test"), "15": ("isic2016", "maps"),
}  # fmt: skip
"""Table -> the stage whose runs it is of, and which of their files."""
SELECTED_BY: Mapping[str, str] = {"symmetry": "balanced_accuracy", "lesion": "accuracy", "isic2016": "accuracy"}
"""Stage -> the validation measure by which the fold whose maps are measured is chosen."""


class Beside(NamedTuple):
    """One printed table and ours: for each of its rows our values by measure (empty where no run is there)."""

    paper: PaperTable
    ours: tuple[dict[str, Spread], ...]
    gaussian: dict[str, Spread]
    planned: int
    """How many runs a row was to have; 0 where the spread is not over runs."""


def fold_folder(results: Path, stage: str, seed: int, model: int, fold: int) -> Path:
    """Where the run of one seed, model (the paper's number) and fold (from 0) lies."""
    return results / stage / f"seed-{seed}" / f"model-{model:02}" / f"fold-{fold}"


def runs_of(results: Path, stage: str, model: int, part: str) -> dict[tuple[int, int], Answers]:
    """(seed, fold) -> answers of every run of one model that was evaluated on `part`."""
    found = {}
    for path in sorted((results / stage).glob(f"seed-*/model-{model:02}/fold-*/evaluation/{part}.csv")):
        fold = path.parents[1]
        key = (int(fold.parents[1].name.removeprefix("seed-")), int(fold.name.removeprefix("fold-")))
        found[key] = read_answers(path)
    return dict(sorted(found.items()))


def beside(results: Path, name: str, planned: int = 0) -> Beside:
    """Table `name` of the paper with what `results` holds; `planned` runs (seeds times folds) a row."""
    table = selcn_tables()[name]
    if name == "5":
        return Beside(table, tuple(_segmentation(results, row, table.measures) for row in table.rows), {}, 0)
    stage, part = SOURCES[name]
    if part == "maps":
        chosen = [_best_maps(results, stage, row.what["model"]) for row in table.rows]
        gaussian = next((_pointing(rows, lambda row: row.gaussian) for rows in chosen if rows), {})
        return Beside(table, tuple(_pointing(rows, lambda row: row.found) for rows in chosen), gaussian, 0)
    ours = []
    for row in table.rows:
        found = [measures_of(run, table.measures) for run in runs_of(results, stage, row.what["model"], part).values()]
        ours.append({m: spread([values[m] for values in found]) for m in table.measures} if found else {})
    return Beside(table, tuple(ours), {}, planned)


def comparisons(results: Path, stage: str) -> dict[tuple[int, int], Comparison]:
    """(model with a map, its baseline) -> their comparison on test images, for every pair whose runs are there."""
    found = {}
    for baseline, others in BASELINES.items():
        there = runs_of(results, stage, baseline, "test")
        for model in others:
            here = runs_of(results, stage, model, "test")
            if here.keys() & there.keys():
                found[model, baseline] = compare(here, there)
    return found


def _segmentation(results: Path, row: PaperRow, measures: Sequence[str]) -> dict[str, Spread]:
    path = results / "segmentation" / str(row.what["network"]) / "evaluation" / "rows.csv"
    if not path.exists():
        return {}
    rows = read_rows(path)
    values = {m: np.array([r.measures[m] for r in rows]) for m in measures}
    return {m: spread(list(column[~np.isnan(column)])) for m, column in values.items()}


def _best_maps(results: Path, stage: str, model: int) -> list[Pointing]:
    """The localisation of the fold whose validation value is best, of the first seed that has one."""
    measure = SELECTED_BY[stage]
    ranked = [
        (-measures_of(answers, [measure])[measure], seed, fold)
        for (seed, fold), answers in runs_of(results, stage, model, "validation").items()
        if (fold_folder(results, stage, seed, model, fold) / "evaluation" / "maps.csv").exists()
    ]
    if not ranked:
        return []
    first = min(seed for _, seed, _ in ranked)
    _, seed, fold = min(entry for entry in ranked if entry[1] == first)
    return read_pointing(fold_folder(results, stage, seed, model, fold) / "evaluation" / "maps.csv")


def _pointing(rows: Sequence[Pointing], which: Callable[[Pointing], tuple[float, float, float]]) -> dict[str, Spread]:
    if not rows:
        return {}
    columns = zip(*(which(row) for row in rows), strict=True)
    return {
        name: spread([v for v in column if not np.isnan(v)]) for name, column in zip(POINTING, columns, strict=True)
    }
