"""Times of several programs on a machine that other work shares: A B A B in turns, medians, spreads, ratios a round.

Ours; the habit is kornia's (benchmarks/README.md). A machine's speed drifts by a third within a minute, so times of two
programs are compared only within one round, in which both have had their turn, and a claim is a ratio and not a time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutis.errors import CutisError

__all__ = ["OWN_TIME", "Protocol", "Spread", "interleave", "ratio_to", "spread"]


OWN_TIME: Callable[[], float] = time.perf_counter if sys.platform == "win32" else time.thread_time
"""The thread's own seconds, which other work on the machine does not stretch; Windows counts them too coarsely."""


LONG = 1.0
"""Seconds: what takes as long has no use for warm caches, and its first call in a round is measured."""


class Protocol(NamedTuple):
    """`warmup` rounds that are thrown away, then `rounds`.

    In each round every program is called once unmeasured, so that its own data is in the caches again, and then `calls`
    times measured; what takes `LONG` is measured at once.
    """

    warmup: int
    rounds: int
    calls: int


class Spread(NamedTuple):
    """Median and the quartiles around it."""

    median: float
    low: float
    high: float


def interleave(
    programs: Mapping[str, Callable[[], object]],
    protocol: Protocol,
    *,
    clock: Callable[[], float] = time.perf_counter,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, NDArray[np.float64]]:
    """Name -> (rounds, calls) seconds, each round in the order of `programs`."""
    if protocol.rounds < 1:
        raise CutisError(f"--rounds is {protocol.rounds}: give 1 or more")
    times: dict[str, list[list[float]]] = {name: [] for name in programs}
    total = protocol.warmup + protocol.rounds
    for turn in range(total):
        for name, program in programs.items():
            start = clock()
            program()
            measured = [clock() - start]
            if measured[0] < LONG:
                measured.clear()
            while len(measured) < protocol.calls:
                start = clock()
                program()
                measured.append(clock() - start)
            if turn >= protocol.warmup:
                times[name].append(measured)
        tell(turn + 1, total)
    return {name: np.array(rounds) for name, rounds in times.items()}


def spread(values: NDArray[np.float64]) -> Spread:
    """Of all values, whatever their shape.

    >>> spread(np.array([[1.0, 2.0], [3.0, 10.0]]))
    Spread(median=2.5, low=1.75, high=4.75)
    """
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return Spread(float(median), float(low), float(high))


def ratio_to(reference: NDArray[np.float64], times: NDArray[np.float64]) -> Spread:
    """(rounds, calls) seconds, twice -> how long `times` is in units of `reference`, taken round by round.

    >>> reference = np.array([[10.0, 10.0], [20.0, 20.0], [10.0, 10.0]])  # the machine was slow in the second round
    >>> ratio_to(reference, reference / 5)
    Spread(median=0.2, low=0.2, high=0.2)
    """
    if len(reference) != len(times):
        raise ValueError(f"ratios need the same rounds on both sides, got {len(reference)} and {len(times)}")
    return spread(np.median(times, axis=1) / np.median(reference, axis=1))
