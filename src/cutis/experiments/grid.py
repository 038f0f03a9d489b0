"""SE-LCN's experiment, run: trains what is not there yet, goes on with what was cut off, and evaluates each.

SE-LCN, Sec. 5.2. A job is finished when `done.json` lies in its folder; stopping at any moment loses at most the epoch
that was running. The fold whose maps are transferred, and measured, is the one with the best validation value.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cutis.data.catalogue import open_dataset, recognise
from cutis.data.samples import Sample
from cutis.evaluation.selection import thin_out
from cutis.evaluation.tables import write_json
from cutis.experiments.answer import answer, answers_of, pointing
from cutis.experiments.answers import read_answers, write_answers, write_pointing
from cutis.experiments.beside import SELECTED_BY, fold_folder
from cutis.experiments.external import external_samples
from cutis.experiments.grid_config import GridConfig, job_config, jobs_of
from cutis.experiments.measures import measures_of
from cutis.experiments.plan import Job, symmetry_model
from cutis.experiments.remembered import read_remembered, remember
from cutis.experiments.segmenter_run import Place, evaluate_run
from cutis.recipes.classification import class_parts, load_classifier_run, train_classifier
from cutis.recipes.classification_config import ClassificationConfig
from cutis.recipes.config import SupervisedConfig
from cutis.recipes.run import train_supervised

__all__ = ["Grid", "best_fold", "finished", "read_grid", "run_grid"]

GRID_FILE = "grid.yaml"
DONE = "done.json"
MAY_GROW = {"stages", "models", "seeds", "external", "name"}
"""Fields that may be others when a grid is gone on with: they add runs and change none."""


@dataclass(frozen=True)
class Grid(Place):
    """Where everything is, and what is to be made."""

    config: GridConfig


def run_grid(grid: Grid) -> None:
    """Make every run of the plan and evaluate it; what is finished is left as it is."""
    _remember(grid)
    jobs = jobs_of(grid.config)
    for number, job in enumerate(jobs, 1):
        if not finished(job, grid.results):
            grid.say(f"[{number} of {len(jobs)}] {job.name}, fold {job.fold}, seed {job.seed}")
            _segmentation(grid, job) if job.stage == "segmentation" else _classifier(grid, job)
        last = number == len(jobs) or jobs[number][:4] != job[:4]
        if last and job.stage != "segmentation":
            _measure_maps(grid, job)


def finished(job: Job, results: Path) -> bool:
    """Whether the job was trained and evaluated."""
    return (job.folder(results) / DONE).exists()


def read_grid(results: Path) -> GridConfig:
    """The configuration that the runs in `results` were made with."""
    return read_remembered(results / GRID_FILE, GridConfig, "grid of SE-LCN")


def best_fold(config: GridConfig, results: Path, job: Job) -> Path:
    """The run folder of the fold of `job`'s model and seed that validates best."""
    folders = [fold_folder(results, job.stage, job.seed, job.model, fold) for fold in range(config.folds(job.stage))]
    measure = SELECTED_BY[job.stage]
    values = [measures_of(read_answers(f / "evaluation" / "validation.csv"), [measure])[measure] for f in folders]
    return folders[int(np.argmax(values))]


def _remember(grid: Grid) -> None:
    path = grid.results / GRID_FILE
    remember(path, grid.config, read_grid(grid.results) if path.exists() else None, may_grow=MAY_GROW)


def _classifier(grid: Grid, job: Job) -> None:
    folder, config = job.folder(grid.results), job_config(grid.config, job)
    assert isinstance(config, ClassificationConfig)
    source = _map_source(grid, job)
    begun = time.monotonic()
    run = train_classifier(
        config, grid.data, folder, cache=grid.cache, resume=_may_resume(folder), symmetry=source,
        accelerator=grid.accelerator, say=grid.say,
    )  # fmt: skip
    trained = time.monotonic()
    symmetry = load_classifier_run(source) if source else None
    parts: dict[str, tuple[Sample, ...]] = {k: v for k, v in class_parts(config, grid.data).items() if k != "train"}
    if job.stage == "lesion":
        known = recognise(grid.data)
        for name in grid.config.external:
            if name in known:
                parts[name] = external_samples(grid.data, name, grid.results / "masks" / name, grid.segment, grid.say)
    for part, samples in parts.items():
        found = answer(run, samples, grid.cache, symmetry, masks=_masked(samples))
        write_answers(folder / "evaluation" / f"{part}.csv", answers_of(run, found))
    write_json(folder / DONE, {"training_seconds": trained - begun, "evaluation_seconds": time.monotonic() - trained})


def _segmentation(grid: Grid, job: Job) -> None:
    folder, config = job.folder(grid.results), job_config(grid.config, job)
    assert isinstance(config, SupervisedConfig)
    begun = time.monotonic()
    train_supervised(
        config, grid.data, folder, cache=grid.cache, resume=_may_resume(folder),
        accelerator=grid.accelerator, say=grid.say,
    )  # fmt: skip
    trained = time.monotonic()
    evaluate_run(folder, grid.data, grid.segment, grid.say)
    write_json(folder / DONE, {"training_seconds": trained - begun, "evaluation_seconds": time.monotonic() - trained})


def _measure_maps(grid: Grid, job: Job) -> None:
    """Localisation of the best fold's maps on HAM10000 (tables 7, 9 and 15)."""
    folder = best_fold(grid.config, grid.results, job)
    path = folder / "evaluation" / "maps.csv"
    if path.exists():
        return
    run, source = load_classifier_run(folder), _map_source(grid, job)
    samples = _map_samples(grid)
    found = answer(run, samples, grid.cache, load_classifier_run(source) if source else None, masks=True)
    write_pointing(path, pointing(found, grid.config.maps.gaussian))


def _map_samples(grid: Grid) -> tuple[Sample, ...]:
    """HAM10000's images with masks, all or of the test part, whatever stage's networks look at them."""
    if grid.config.maps.part == "all":
        samples = tuple(open_dataset(grid.data, "ham10000"))
    else:
        samples = class_parts(grid.config.lesion, grid.data)["test"]
    return tuple(thin_out([sample for sample in samples if sample.mask], grid.config.maps.images))


def _map_source(grid: Grid, job: Job) -> Path | None:
    """The symmetry run whose maps `job` takes."""
    if job.maps is None:
        return None
    wanted = job._replace(stage="symmetry", model=symmetry_model(job.maps))
    return best_fold(grid.config, grid.results, wanted)


def _may_resume(folder: Path) -> bool:
    """Whether a run was cut off after its first epoch; one that was cut off before begins again."""
    if (folder / "checkpoints" / "last.ckpt").exists():
        return True
    (folder / "config.yaml").unlink(missing_ok=True)
    return False


def _masked(samples: tuple[Sample, ...]) -> bool:
    return all(sample.mask is not None for sample in samples)
