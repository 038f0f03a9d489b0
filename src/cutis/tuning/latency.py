"""The second objective: how long a trial's network takes in INT8, measured before it is trained.

Ours, for SparseSegNet, whose shape was chosen by measured latency. What a forward pass takes does not depend on what
was learned, so that a shape which is too slow costs seconds instead of hours. What measures is handed in
(`cutis.benchmark.shape`): the files that it makes and times belong further down the flow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial

from cutis.recipes.config import NetworkSettings

__all__ = ["Latency", "Ratio", "measured", "ratio_of"]

_NAME = "latency"  # of the trial's attribute, and of its constraint


class Ratio(NamedTuple):
    """A time in units of the reference's, taken round by round: the median and the quartiles around it."""

    median: float
    low: float
    high: float


class Latency(NamedTuple):
    """`measure`: a network and the side of its images in pixels -> what its INT8 file takes, of the reference's time.

    `reference`: its name. `facts`: what was measured with, JSON-ready: a study goes on with the same only. `limit`: a
    network that takes longer is not trained.
    """

    measure: Callable[[NetworkSettings, int], Ratio]
    reference: str
    facts: Mapping[str, Any]
    limit: float | None

    def described(self) -> dict[str, Any]:
        """What the study remembers of it."""
        return {**self.facts, "reference": self.reference, "limit": self.limit}


def measured(trial: optuna.Trial, latency: Latency, network: NetworkSettings, side: int) -> Ratio:
    """The ratio of the trial's network; once measured, a trial that was cut off keeps it.

    Above the limit the trial is told that it is infeasible, and by how much: the sampler learns from that.
    """
    ratio = ratio_of(trial)
    if ratio is None:
        ratio = latency.measure(network, side)
        trial.set_user_attr(_NAME, list(ratio))
    if latency.limit is not None and _NAME not in trial.constraints:
        trial.set_constraint(_NAME, ratio.median - latency.limit)
    return ratio


def ratio_of(trial: optuna.Trial | FrozenTrial) -> Ratio | None:
    """What was measured of the trial's network, if anything was."""
    known = trial.user_attrs.get(_NAME)
    return None if known is None else Ratio(*known)
