"""SLSNet's experiment, run: trains what is not there yet, goes on with what was cut off, and evaluates each.

A job is finished when `done.json` lies in its folder; stopping at any moment loses at most the epoch that was running.
A run whose discriminator collapsed is a finding and not the end: it is written down, and the next one begins.
"""

from __future__ import annotations

import time
from pathlib import Path

from cutis.evaluation.tables import write_json
from cutis.experiments.remembered import read_remembered, remember
from cutis.experiments.segmenter_run import Place, evaluate_run
from cutis.experiments.slsnet_plan import SLSNetGrid, SLSNetJob, job_config, jobs_of
from cutis.recipes.adversarial_run import train_adversarial
from cutis.recipes.recipe import Diverged

__all__ = ["GRID_FILE", "finished", "holds_slsnet", "read_slsnet_grid", "run_slsnet_grid"]

GRID_FILE = "slsnet.yaml"
DONE, STOPPED = "done.json", "stopped.json"
MAY_GROW = {"variants", "seeds", "name", "larger_l1"}
"""Fields that may be others when a grid is gone on with: they add runs and change none."""


def run_slsnet_grid(config: SLSNetGrid, place: Place) -> None:
    """Make every run of the plan and evaluate it; what is finished is left as it is."""
    _remember(config, place.results)
    jobs = jobs_of(config)
    for number, job in enumerate(jobs, 1):
        if not finished(job, place.results):
            place.say(f"[{number} of {len(jobs)}] {job.variant}, seed {job.seed}")
            _make(config, job, place)


def finished(job: SLSNetJob, results: Path) -> bool:
    """Whether the job was trained and evaluated, or stopped for good."""
    return any((job.folder(results) / name).exists() for name in (DONE, STOPPED))


def holds_slsnet(results: Path) -> bool:
    """Whether `results` was filled by `cutis experiment slsnet`."""
    return (results / GRID_FILE).exists()


def read_slsnet_grid(results: Path) -> SLSNetGrid:
    """The configuration that the runs in `results` were made with."""
    return read_remembered(results / GRID_FILE, SLSNetGrid, "grid of SLSNet")


def _remember(config: SLSNetGrid, results: Path) -> None:
    before = read_slsnet_grid(results) if holds_slsnet(results) else None
    trained = (results / "larger-l1").exists()
    remember(results / GRID_FILE, config, before, may_grow=MAY_GROW - {"larger_l1"} if trained else MAY_GROW)


def _make(config: SLSNetGrid, job: SLSNetJob, place: Place) -> None:
    folder, begun = job.folder(place.results), time.monotonic()
    resume = (folder / "checkpoints" / "last.ckpt").exists()
    if not resume:  # cut off before its first epoch was over: it begins again
        (folder / "config.yaml").unlink(missing_ok=True)
    try:
        train_adversarial(
            job_config(config, job), place.data, folder, cache=place.cache, resume=resume,
            accelerator=place.accelerator, say=place.say,
        )  # fmt: skip
    except Diverged as error:
        place.say(f"stopped: {error}")
        write_json(folder / STOPPED, {"reason": str(error)})
        return
    trained = time.monotonic()
    evaluate_run(folder, place.data, place.segment, place.say)
    seconds = {"training_seconds": trained - begun, "evaluation_seconds": time.monotonic() - trained}
    write_json(folder / DONE, seconds)
