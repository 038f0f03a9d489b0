"""Knowledge mining's experiment, run: pretrains, trains the supervised phases, mines from each, and evaluates.

Knowledge mining, Sec. 2.8. A job is finished when `done.json` lies in its folder; stopping at any moment loses at most
the epoch that was running.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

from cutis.data.catalogue import recognise
from cutis.evaluation.tables import write_json
from cutis.experiments.mining_plan import (
    MiningGrid,
    MiningJob,
    contrastive_config,
    job_config,
    jobs_of,
    supervised_config,
)
from cutis.experiments.remembered import read_remembered, remember
from cutis.experiments.segmenter_run import Place, evaluate_run
from cutis.recipes.contrastive_run import train_contrastive
from cutis.recipes.folder import stage
from cutis.recipes.knowledge_mining_run import train_knowledge_mining

__all__ = ["GRID_FILE", "finished", "holds_mining", "possible", "read_mining_grid", "run_mining_grid"]

GRID_FILE = "knowledge-mining.yaml"
DONE = "done.json"
MAY_GROW = {"name", "labelled", "rows", "seeds", "medsam"}
"""Fields that may be others when a grid is gone on with: they add runs and change none."""


def run_mining_grid(config: MiningGrid, place: Place) -> None:
    """Make every run of the plan and evaluate it; what is finished is left as it is."""
    _remember(config, place.results)
    jobs = possible(config, place)
    for number, job in enumerate(jobs, 1):
        if not finished(job, place.results):
            place.say(f"[{number} of {len(jobs)}] {job.dataset}, {job.share:g}% labelled: {job.row}, seed {job.seed}")
            _make(config, job, place)


def finished(job: MiningJob, results: Path) -> bool:
    """Whether the job was trained and evaluated."""
    return (job.folder(results) / DONE).exists()


def possible(config: MiningGrid, place: Place) -> list[MiningJob]:
    """The jobs whose data set and promptable are there; why another is not is said once."""
    known, lacking = recognise(place.data), {}
    for job in jobs_of(config):
        if job.dataset not in known:
            lacking[job] = f"{job.dataset}: {place.data} does not hold it"
        elif job.words.schedule != "supervised" and _teacher(config, job) is None:
            lacking[job] = (
                f"{job.row}: no promptable is given; set the field {'medsam' if job.words.teacher else 'teacher'}"
            )
    for why in dict.fromkeys(lacking.values()):
        place.say(f"left out: {why}")
    return [job for job in jobs_of(config) if job not in lacking]


def holds_mining(results: Path) -> bool:
    """Whether `results` was filled by `cutis experiment knowledge-mining`."""
    return (results / GRID_FILE).exists()


def read_mining_grid(results: Path) -> MiningGrid:
    """The configuration that the runs in `results` were made with."""
    return read_remembered(results / GRID_FILE, MiningGrid, "grid of knowledge mining")


def _remember(config: MiningGrid, results: Path) -> None:
    before = read_mining_grid(results) if holds_mining(results) else None
    unset = {name for name in ("teacher", "contrastive") if before is not None and getattr(before, name) is None}
    remember(results / GRID_FILE, config, before, may_grow=MAY_GROW | unset)


def _teacher(config: MiningGrid, job: MiningJob) -> str | None:
    return config.medsam if job.words.teacher == "medsam" else config.teacher


def _make(config: MiningGrid, job: MiningJob, place: Place) -> None:
    folder, begun = job.folder(place.results), time.monotonic()
    common: dict[str, Any] = {"cache": place.cache, "accelerator": place.accelerator, "say": place.say}
    first = job.first(place.results)
    pretrained = None
    if job.words.start:
        pretrained = job.pretrained(place.results)
        stage(train_contrastive, contrastive_config(config, job), place.data, pretrained, place.say, common)
    stage(
        train_knowledge_mining, supervised_config(config, job), place.data, first, place.say,
        common | {"start": pretrained},
    )  # fmt: skip
    prepared = time.monotonic()
    if not (folder / "checkpoints" / "last.ckpt").exists():  # cut off before its first epoch was over: it begins again
        (folder / "config.yaml").unlink(missing_ok=True)
    train_knowledge_mining(
        job_config(config, job), place.data, folder, resume=(folder / "mining.json").exists(),
        teacher=_teacher(config, job), start=first, **common,
    )  # fmt: skip
    trained = time.monotonic()
    # a network of few labels is less sure of itself than the bundled one, with which "no lesion" was measured
    evaluate_run(folder, place.data, partial(place.segment, least_confidence=0), place.say)
    seconds = {"first": prepared - begun, "second": trained - prepared, "evaluation": time.monotonic() - trained}
    write_json(folder / DONE, {"seconds": seconds})
