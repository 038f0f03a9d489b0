"""The Pareto front of a search for accuracy and latency: the networks that no other beats in both.

A trial is on it if every other is slower or less accurate, or its equal; one above the limit is not. Written down as a
table, as a picture, and as configurations that `cutis train` takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.table import Table

from cutis.files import atomic_path
from cutis.terminal import printer
from cutis.tuning.kinds import Kind
from cutis.tuning.latency import Latency, Ratio, ratio_of
from cutis.tuning.results import cell, write_configuration

if TYPE_CHECKING:
    from cutis.tuning.search import Search

__all__ = ["GIVEN", "draw_front", "front", "print_front", "write_front"]

GIVEN = "given"
"""Attribute of the trial that tries the configuration as it was given."""


def front(study: optuna.Study) -> list[FrozenTrial]:
    """The trials on the front, the fastest first.

    >>> study = optuna.create_study(directions=["maximize", "minimize"])
    >>> for dice, time in ((0.80, 0.5), (0.90, 1.0), (0.79, 0.6), (0.90, 1.1)):
    ...     study.add_trial(optuna.trial.create_trial(values=(dice, time)))
    >>> [trial.values for trial in front(study)]
    [[0.8, 0.5], [0.9, 1.0]]
    """
    return sorted(study.best_trials, key=lambda trial: (trial.values[1], trial.number))


def print_front(study: optuna.Study, kind: Kind, latency: Latency) -> None:
    """A line a trial on the front: its time with quartiles, its value, what it tried."""
    found = front(study)
    if not found:
        return
    fields = sorted({name for trial in found for name in trial.params})
    title = f"Pareto front: {len(found)} of {len(study.get_trials(states=(TrialState.COMPLETE,)))} trained networks"
    table = Table("trial", f"of {latency.reference}'s time", f"validation {kind.measure}", *fields, title=title)
    for trial in found:
        values = [_quartiles(trial), cell(trial.values[0]), *(cell(trial.params.get(name)) for name in fields)]
        table.add_row(f"{trial.number}{' (given)' * trial.user_attrs.get(GIVEN, False)}", *values)
    printer().print(table)


def write_front(study: optuna.Study, asked: Search, kind: Kind) -> None:
    """front/0007.yaml for trial 7 if it is on the front; what is no longer on it goes."""
    folder = asked.output / "front"
    written = set()
    for trial in front(study):
        reached = f"validation {kind.measure} {trial.values[0]:.4f}, {trial.values[1]:.3f} of the reference's time"
        written.add(folder / f"{trial.number:04d}.yaml")
        write_configuration(folder / f"{trial.number:04d}.yaml", trial, reached, study, asked, kind)
    for path in set(folder.glob("[0-9]*.yaml")) - written:
        path.unlink(missing_ok=True)


def draw_front(study: optuna.Study, asked: Search, kind: Kind, latency: Latency, say: Callable[[str], None]) -> None:
    """pareto.png: each trained network's value against its time, the front as what can be had for a time at most."""
    from matplotlib.figure import Figure

    trained = study.get_trials(states=(TrialState.COMPLETE,))
    if not trained:
        say("no trial has come to its end yet: there is nothing to draw")
        return
    figure = Figure(figsize=(7.2, 4.5), layout="constrained")
    axes = figure.subplots()
    for trial in trained:
        ratio = ratio_of(trial) or Ratio(*[trial.values[1]] * 3)
        given = trial.user_attrs.get(GIVEN, False)
        ends = [[max(0.0, ratio.median - ratio.low)], [max(0.0, ratio.high - ratio.median)]]
        look = {"color": "C1", "marker": "*", "markersize": 12} if given else {"color": "0.6", "marker": "o"}
        label = "the configuration as given" if given else None
        axes.errorbar(ratio.median, trial.values[0], xerr=ends, linestyle="", label=label, **look)
    best = front(study)
    if best:
        values, times = zip(*(trial.values for trial in best), strict=True)
        axes.step(times, values, where="post", color="C0", marker=".", label="Pareto front")
    for trial in best:
        axes.annotate(str(trial.number), (trial.values[1], trial.values[0]), (4, 4), textcoords="offset points")
    axes.axvline(1.0, color="0.3", linestyle=":", label=f"{latency.reference}'s time")
    if latency.limit is not None:
        axes.axvline(latency.limit, color="C3", linestyle="--", label="the limit")
    axes.set_xlabel(f"INT8 on one thread, of {latency.reference}'s time (median and quartiles)")
    axes.set_ylabel(f"validation {kind.measure}")
    axes.legend(fontsize=8)
    with atomic_path(asked.output / "pareto.png") as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    say(f"in {asked.output}: pareto.png, front; next: the command in the first line of one of front/*.yaml")


def _quartiles(trial: FrozenTrial) -> str:
    ratio = ratio_of(trial)
    return cell(trial.values[1]) if ratio is None else f"{ratio.median:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
