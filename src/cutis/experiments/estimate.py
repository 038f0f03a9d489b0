"""How long a grid would take here: each network's step and forward pass timed, times what the plan asks of them.

An upper bound in that every run is counted to its last epoch, though patience may end it sooner; a lower one in that
decoding, loading and writing are left out. Runs that are finished count nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from cutis.data.catalogue import recognise
from cutis.data.labels import label_indices
from cutis.experiments.external import unseen
from cutis.experiments.grid import finished
from cutis.experiments.grid_config import GridConfig, job_config, jobs_of
from cutis.experiments.plan import Job, Stage
from cutis.recipes.classification import class_parts
from cutis.recipes.classification_config import ClassificationConfig
from cutis.recipes.config import SupervisedConfig
from cutis.recipes.folder import build, thin
from cutis.recipes.run import parts_of

__all__ = ["Estimate", "Speed", "estimate", "time_network"]


class Speed(NamedTuple):
    """Seconds an image: a training step, a forward pass; `cores`: core seconds that were had in each second."""

    training: float
    forward: float
    cores: float


class Estimate(NamedTuple):
    """Of one stage: runs still to make, images an epoch, epochs at most, images answered a run, `speed`, and seconds as
    things go now, whatever else runs on the machine."""

    stage: Stage
    runs: int
    epoch_images: int
    epochs: int
    answered: int
    speed: Speed
    seconds: float


def estimate(config: GridConfig, data: Path, results: Path) -> list[Estimate]:
    """One `Estimate` a stage, on this machine; the data sets below `data` are counted, not decoded."""
    jobs = [job for job in jobs_of(config) if not finished(job, results)]
    found = []
    for stage in ("segmentation", "symmetry", "lesion", "isic2016"):
        own = [job for job in jobs if job.stage == stage]
        if own:
            found.append(_of_stage(config, stage, own, data))
    return found


def time_network(network: nn.Module, size: int, batch: int, takes_map: bool, device: str) -> Speed:
    """Of random pixels: the median of three steps after one to warm up; Adam, no mixed precision."""
    network = network.to(device)
    image = torch.rand(batch, 3, size, size, device=device)
    inputs = (image, torch.rand(batch, 1, 13, 13, device=device)) if takes_map else (image,)
    optimiser = torch.optim.Adam(network.parameters())

    def step() -> None:
        optimiser.zero_grad()
        network(*inputs).float().square().mean().backward()
        optimiser.step()

    def forward() -> None:
        with torch.inference_mode():
            network(*inputs)

    begun, used = time.perf_counter(), time.process_time()
    training = _median(step, device)
    network.eval()
    answering = _median(forward, device)
    cores = (time.process_time() - used) / (time.perf_counter() - begun)
    return Speed(training / batch, answering / batch, cores)


def _median(call: Callable[[], None], device: str) -> float:
    times = []
    for _ in range(4):
        begun = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return float(np.median(times[1:]))


def _of_stage(config: GridConfig, stage: Stage, jobs: Sequence[Job], data: Path) -> Estimate:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    first = job_config(config, jobs[0])
    size = first.preprocessing.size
    batch = min(first.batch_size, 32 if device == "cuda" or size <= 128 else 4)
    if isinstance(first, SupervisedConfig):
        parts = {name: len(part) for name, part in parts_of(first, data).items()}
        images, checked = (
            first.epoch_images or parts["train"],
            min(parts["validation"], first.validation_images or 10**9),
        )
        speeds = {
            job: time_network(build(job_config(config, job).network, 0), size, batch, False, device) for job in jobs
        }
        answered = parts["test"]
    else:
        known = class_parts(first, data)
        images, checked = _epoch(first, known), len(thin(known["validation"], first.validation_images))
        with_map, without = (_speed(config, jobs, takes, size, batch, device) for takes in (True, False))
        speeds = {job: with_map if job.maps is not None else without for job in jobs}
        outside = [name for name in config.external if stage == "lesion" and name in recognise(data)]
        answered = (
            len(known["validation"]) + len(known.get("test", ())) + sum(len(unseen(data, name)) for name in outside)
        )
    seconds = sum(
        first.epochs * (images * speed.training + checked * speed.forward) + answered * speed.forward
        for speed in speeds.values()
    )
    mean = Speed(*(float(np.mean(values)) for values in zip(*speeds.values(), strict=True)))
    return Estimate(stage, len(jobs), images, first.epochs, answered, mean, seconds)


def _speed(config: GridConfig, jobs: Sequence[Job], takes: bool, size: int, batch: int, device: str) -> Speed:
    job = next((job for job in jobs if (job.maps is not None) == takes), None)
    if job is None:
        return Speed(0.0, 0.0, 0.0)
    return time_network(build(job_config(config, job).network, 0), size, batch, takes, device)


def _epoch(config: ClassificationConfig, parts: Mapping[str, tuple]) -> int:
    """Images an epoch: as configured, or all of the training part, balanced if it is."""
    if config.epoch_images:
        return config.epoch_images
    counts = np.bincount(label_indices(parts["train"], config.task, config.classes))
    return int(np.minimum(4 * counts, config.balance).sum() if config.balance else counts.sum())
