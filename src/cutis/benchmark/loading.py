"""`cutis benchmark data`: does the loader give images faster than the network eats them?

Both run as in training, one after the other: the loader alone in steady state (what it had prepared beforehand is
drained first), and the bare training step (forward, losses, backward, update) on one batch again and again. The engine
around the step only makes it slower, so the comparison is hard on the loader.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cutis.benchmark.latency import spread
from cutis.benchmark.machine import watching
from cutis.benchmark.result import Result, Row, publish
from cutis.errors import CutisError, missing

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from cutis.data.batches import Batch
    from cutis.recipes.config import SupervisedConfig

__all__ = ["measure_data"]


def measure_data(config_file: Path, data: Path, *, batches: int, cache: Path, output: Path | None) -> int:
    """Images a second of the loader and of the training step, for each image side that the configuration trains at."""
    try:
        from cutis.recipes.run import parts_of, training_batches
    except ModuleNotFoundError as error:
        raise missing("this benchmark trains and needs", error.name) from error
    from cutis.data.cache import open_cache
    from cutis.recipes.config import SupervisedConfig, load_config

    config = load_config(config_file, {}, SupervisedConfig)
    samples = parts_of(config, data)["train"]
    if not samples:
        raise CutisError(f"{data} holds no training images of {', '.join(config.datasets)}")
    loader = training_batches(config, open_cache(samples, config.preprocessing.size, cache))
    drained = 2 + config.workers * (loader.prefetch_factor or 0)
    available = len(loader) - drained
    if available < batches:
        raise CutisError(
            f"the training part gives {max(0, available)} batches to time: give --batches at most that many"
        )
    rows = []
    with watching() as watch:
        for phase in config.phases:
            _begin_at(loader, phase.start, drained + batches)
            given, batch = _loading(loader, drained, batches)
            rows.append(_row(phase.size, config.batch_size, given, _stepping(config, batch, batches)))
    result = Result.of(
        "data",
        rows,
        watch,
        one_thread=False,
        protocol={"batches": batches, "drained first": drained, "batch": config.batch_size, "workers": config.workers},
        facts={"config": config_file.name, "training images": len(samples), "torch threads": _threads()},
    )
    publish(result, output)
    return 0


def _begin_at(loader: DataLoader, epoch: int, steps: int) -> None:
    sampler: Any = loader.batch_sampler
    sampler.epoch, sampler.steps = lambda: epoch, steps


def _loading(loader: DataLoader, drained: int, batches: int) -> tuple[list[float], Batch]:
    """Seconds a batch of `batches`, after the first ones; and one of them. The workers have nothing left to do then."""
    iterator = iter(loader)
    batch = next(iterator)
    for _ in range(drained - 1):
        next(iterator)
    seconds = []
    for _ in range(batches):
        start = time.perf_counter()
        batch = next(iterator)
        seconds.append(time.perf_counter() - start)
    return seconds, batch


def _stepping(config: SupervisedConfig, batch: Batch, steps: int) -> list[float]:
    from cutis.recipes.run import build_network
    from cutis.recipes.supervised import Supervised

    recipe = Supervised(
        build_network(config), config.loss, config.learning_rate, config.weight_decay,
        warmup=0.0, threshold=config.threshold,
    )  # fmt: skip
    optimisers = recipe.optimisers(steps + 2)
    seconds = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        for name, loss, _terms in recipe.losses(batch):
            loss.backward()
            optimisers[name][0].step()
            optimisers[name][0].zero_grad()
        seconds.append(time.perf_counter() - start)
    return seconds[2:]


def _row(side: int, batch_size: int, loading: list[float], stepping: list[float]) -> Row:
    """The loader's rate comes from the total: with workers, batches arrive in bursts."""
    given, eaten = batch_size / float(np.mean(loading)), batch_size / spread(np.array(stepping)).median
    values = {"loader images/s": given, "step images/s": eaten, "loader / step": given / eaten}
    return Row(f"{side}x{side}", values, ("loader / step", ">=", 1.0))


def _threads() -> int:
    import torch

    return torch.get_num_threads()
