"""SparseSegNet's experiment, run: teachers are asked, networks trained, pruned, trained on, evaluated and timed.

SparseSegNet, Sec. 5.1-5.3 and 6. A job is finished when `result.json` lies in its folder; stopping at any moment loses
at most the epoch that was running. What a job ends with is its last run folder, and `evaluation/rows.csv` of it.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from cutis.data.catalogue import open_dataset, recognise
from cutis.evaluation.tables import write_json
from cutis.experiments.ablation_plan import (
    AblationConfig,
    AblationJob,
    continued,
    job_config,
    jobs_of,
    pruning_of,
)
from cutis.experiments.remembered import read_remembered, remember
from cutis.experiments.segmenter_run import ROWS as EVALUATION
from cutis.experiments.segmenter_run import Place, evaluate_run
from cutis.files import atomic_path, atomic_write
from cutis.models.budget import budget
from cutis.models.sparsesegnet import SparseSegNet
from cutis.recipes.config import SupervisedConfig
from cutis.recipes.distillation_config import DistillationConfig, TeacherSettings
from cutis.recipes.distillation_run import train_distillation
from cutis.recipes.folder import stage
from cutis.recipes.pruning import prune
from cutis.recipes.run import load_run, parts_of, train_supervised
from cutis.recipes.teaching import Kept, teach

if TYPE_CHECKING:
    from cutis.recipes.pruning import Instruments

__all__ = [
    "EXPERIMENT_FILE",
    "AblationPlace",
    "finished",
    "holds_ablation",
    "possible",
    "read_ablation",
    "run_ablation",
]

EXPERIMENT_FILE = "sparsesegnet.yaml"
RESULT, INT8, LATENCY = "result.json", "int8.onnx", "latency.json"
MAY_GROW = {"name", "stages", "rows", "seeds", "datasets"}
"""Fields that may be others when an experiment is gone on with: they add runs and change none."""


@dataclass(frozen=True)
class AblationPlace(Place):
    """And what measures a pruning."""

    instruments: Instruments


def run_ablation(config: AblationConfig, place: AblationPlace) -> None:
    """Make every run of the plan and measure it; what is finished is left as it is."""
    _remember(config, place.results)
    jobs = possible(jobs_of(config), place.data, place.say)
    for number, job in enumerate(jobs, 1):
        if not finished(job, place.results):
            place.say(f"[{number} of {len(jobs)}] {job.stage} {job.name}, {job.folder(place.results).name}")
            _make(config, job, place)
    _time(config, jobs, place)


def finished(job: AblationJob, results: Path) -> bool:
    """Whether the job was trained and measured."""
    return (job.folder(results) / RESULT).exists()


def possible(jobs: Sequence[AblationJob], data: Path, say: Callable[[str], None]) -> list[AblationJob]:
    """The jobs whose data set is there with masks; why another is not is said once."""
    known = recognise(data)
    lacking = {}
    for name in {job.name for job in jobs if job.stage == "datasets"}:
        if name not in known:
            lacking[name] = f"{data} holds no {name}"
        elif not any(sample.mask for sample in open_dataset(data, name)):
            lacking[name] = f"{name} below {data} has no masks"
    for name, why in sorted(lacking.items()):
        say(f"left out: table 2's {name}: {why}")
    return [job for job in jobs if job.stage != "datasets" or job.name not in lacking]


def holds_ablation(results: Path) -> bool:
    """Whether `results` was filled by `cutis experiment sparsesegnet`."""
    return (results / EXPERIMENT_FILE).exists()


def read_ablation(results: Path) -> AblationConfig:
    """The configuration that the runs in `results` were made with."""
    return read_remembered(results / EXPERIMENT_FILE, AblationConfig, "experiment of SparseSegNet")


def _remember(config: AblationConfig, results: Path) -> None:
    before = read_ablation(results) if holds_ablation(results) else None
    if before is not None:  # a larger budget adds tuples
        search = before.search.model_copy(update={"budget": config.search.budget})
        before = before.model_copy(update={"search": search})
    remember(results / EXPERIMENT_FILE, config, before, may_grow=MAY_GROW)


def _make(config: AblationConfig, job: AblationJob, place: AblationPlace) -> None:
    folder, begun = job.folder(place.results), time.monotonic()
    settings, trained = job_config(config, job.training), job.training.folder(place.results) / "trained"
    teachers = _teachers(config, job, settings, place)
    settings = settings.model_copy(update={"teachers": teachers})
    stage(train_distillation, settings, place.data, trained, place.say, _arguments(place))
    if job.stage == "weights":
        run = load_run(trained)
        accuracy = place.instruments.judge(run, parts_of(run.config, place.data)["validation"])
        write_json(folder / RESULT, {**accuracy._asdict(), "seconds": time.monotonic() - begun})
        return
    final = _continued(config, job, _pruned(config, job, teachers, place), place)
    evaluate_run(final, place.data, place.segment, place.say)
    with atomic_path(folder / EVALUATION) as temporary:
        shutil.copyfile(final / EVALUATION, temporary)
    run = load_run(final)
    place.instruments.quantise(run, parts_of(run.config, place.data)["train"], folder / INT8)
    network = run.network.deployed() if isinstance(run.network, SparseSegNet) else run.network
    found = budget(network, run.preprocessing.size)
    seconds = time.monotonic() - begun
    write_json(
        folder / RESULT, {"parameters": found.parameters, "macs": found.macs, "run": final.name, "seconds": seconds}
    )


def _pruned(
    config: AblationConfig, job: AblationJob, teachers: TeacherSettings, place: AblationPlace
) -> tuple[Path, int]:
    """The run folder after the row's pruning, and how many fine-tunings it went through."""
    trained, steps = job.training.folder(place.results) / "trained", pruning_of(config, job.row)
    if steps is None:
        return trained, 0
    home = job.folder(place.results) / "pruned"
    rows = prune(
        steps, trained, place.data, home, instruments=place.instruments, teacher=teachers.second,
        cache=place.cache, resume=(home / "pruning.yaml").exists(), accelerator=place.accelerator, say=place.say,
    )  # fmt: skip
    return home, sum(row.kept and bool(row.channels) for row in rows)


def _continued(config: AblationConfig, job: AblationJob, reached: tuple[Path, int], place: AblationPlace) -> Path:
    """Train on for every fine-tuning that the row did without, so that all rows have as many updates."""
    current, done = reached
    for step in range(done, len(config.pruning.steps)):
        run = load_run(current)
        home = job.folder(place.results) / f"continued-{step + 1}"
        assert isinstance(run.config, SupervisedConfig)  # what distillation and pruning leave
        settings = continued(config, run.config, job.seed)
        stage(train_supervised, settings, place.data, home, place.say, {**_arguments(place), "start": current})
        current = home
    return current


def _teachers(
    config: AblationConfig, job: AblationJob, settings: DistillationConfig, place: AblationPlace
) -> TeacherSettings:
    """The caches of both teachers over the job's training images, made where they are not there yet."""
    if job.row == "vanilla":
        return TeacherSettings()
    home = place.results / "teachers" / job.images
    spec, device = config.teachers, "cuda" if torch.cuda.is_available() else "cpu"
    for name, one in (("first", spec.first), ("second", spec.second)):
        if (home / f"{name}.done").exists():
            continue
        align = home / "first" if spec.align and name == "second" else None
        teach(
            one, settings, place.data, Kept(spec.side, spec.channels, spec.fitted_on, align),
            output=home / name, cache=place.cache, batch=spec.batch, device=device, say=place.say,
        )  # fmt: skip
        atomic_write(home / f"{name}.done", "")
    return TeacherSettings(first=home / "first", second=home / "second")


def _arguments(place: AblationPlace) -> dict[str, Any]:
    return {"cache": place.cache, "accelerator": place.accelerator, "say": place.say}


def _time(config: AblationConfig, jobs: Sequence[AblationJob], place: AblationPlace) -> None:
    """Latency of the first seed's INT8 files, all in turns with each other; anew when there are others."""
    files = {
        f"{job.stage}/{job.name}": job.folder(place.results) / INT8
        for job in jobs
        if job.stage != "weights" and job.seed == config.seeds[0] and finished(job, place.results)
    }
    path = place.results / LATENCY
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if files and list(known) != list(files):
        place.say(f"timing {len(files)} INT8 files in turns")
        found = place.instruments.time(files, config.pruning.rounds)
        write_json(path, {name: value.milliseconds for name, value in found.items()})
