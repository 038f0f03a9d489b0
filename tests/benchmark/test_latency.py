"""Statistics of times, on a clock that does as it is told."""

from __future__ import annotations

import numpy as np
import pytest

from cutis.benchmark.latency import Protocol, interleave, ratio_to, spread


class Clock:
    """Moves only when a program says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def program(self, name: str, seconds: float, log: list[str]):
        def run() -> None:
            log.append(name)
            self.now += seconds

        return run


def test_programs_take_turns_and_warm_up_is_thrown_away():
    clock, log, told = Clock(), [], []
    programs = {"a": clock.program("a", 0.5, log), "b": clock.program("b", 0.25, log)}
    times = interleave(programs, Protocol(1, 2, 2), clock=clock, tell=lambda *at: told.append(at))
    assert "".join(log) == "aaabbb" * 3  # one unmeasured and two measured calls a turn
    assert times["a"].tolist() == [[0.5, 0.5]] * 2 and times["b"].tolist() == [[0.25, 0.25]] * 2
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_what_takes_seconds_is_measured_at_once():
    clock, log = Clock(), []
    times = interleave({"a": clock.program("a", 2.0, log)}, Protocol(0, 2, 2), clock=clock)
    assert "".join(log) == "aaaa" and times["a"].tolist() == [[2.0, 2.0]] * 2


def test_a_ratio_is_taken_round_by_round():
    """The machine is ten times slower in half of the rounds: the ratio of all medians would not see it."""
    reference = np.array([[1.0], [10.0], [1.0], [10.0], [1.0]])
    found = ratio_to(reference, reference * 0.3)
    assert (found.median, found.low, found.high) == pytest.approx((0.3, 0.3, 0.3))
    assert spread(reference * 0.3).high == pytest.approx(3.0)


def test_one_slow_call_in_a_round_changes_nothing():
    reference = np.ones((3, 3))
    times = np.full((3, 3), 0.1)
    times[:, 0] = 50
    assert ratio_to(reference, times).median == pytest.approx(0.1)


def test_rounds_must_be_the_same():
    with pytest.raises(ValueError, match="rounds"):
        ratio_to(np.ones((3, 1)), np.ones((2, 1)))
