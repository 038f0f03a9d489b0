"""`cutis benchmark network`: exported networks against U, one thread, a batch of one.

Target (SparseSegNet is meant for devices): INT8 takes at most a fifteenth of U.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cutis.analysis.runtime import load_model
from cutis.benchmark.forward import forward, titled
from cutis.benchmark.latency import Protocol, interleave, ratio_to, spread
from cutis.benchmark.machine import watching
from cutis.benchmark.reference import reference
from cutis.benchmark.result import Result, Row, progress, publish

__all__ = ["TARGET", "measure_network", "timed_rows"]

TARGET = 1 / 15


def measure_network(models: Sequence[str], *, rounds: int, cache: Path, output: Path | None) -> int:
    """Time `models` (names or files) against U, print and write network.json."""
    segmenters = titled([load_model(model) for model in models])
    programs: dict[str, Callable[[], object]] = {"U": reference(cache)}
    programs |= {title: forward(segmenter) for title, segmenter in segmenters.items()}
    targets = {title: TARGET for title, segmenter in segmenters.items() if segmenter.info.precision == "int8"}
    protocol = Protocol(warmup=2, rounds=rounds, calls=3)
    with watching() as watch, progress("network against U") as tell:
        times = interleave(programs, protocol, tell=tell)
    result = Result.of(
        "network",
        timed_rows(times, targets),
        watch,
        one_thread=True,
        protocol={**protocol._asdict(), "threads": 1, "batch": 1, "order": list(programs)},
        facts={title: {**s.info.model_dump(), "size": s.preprocessing.size} for title, s in segmenters.items()},
    )
    publish(result, output)
    return 0


def timed_rows(times: dict[str, np.ndarray], targets: dict[str, float]) -> list[Row]:
    """Seconds a program -> rows in milliseconds and in units of the first program, which is U."""
    yardstick = times[next(iter(times))]
    rows = []
    for name, measured in times.items():
        ms, ratio = spread(1000 * measured), ratio_to(yardstick, measured)
        values = {"ms": ms.median, "ms low": ms.low, "ms high": ms.high}
        values |= {"ratio to U": ratio.median, "ratio low": ratio.low, "ratio high": ratio.high}
        limit = targets.get(name)
        rows.append(Row(name, values, ("ratio to U", "<=", limit) if limit else None))
    return rows
