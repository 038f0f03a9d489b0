"""What a search gave: a table of its trials, its history and what mattered as pictures, the best configuration.

With two objectives there is no best one: what there is instead is in `front`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState
from rich.table import Table

from cutis.files import atomic_path, atomic_write
from cutis.terminal import printer
from cutis.tuning.database import shown
from cutis.tuning.kinds import Kind
from cutis.tuning.latency import Latency, ratio_of
from cutis.tuning.space import as_flags

if TYPE_CHECKING:
    from cutis.tuning.search import Search

__all__ = ["cell", "print_table", "write_best", "write_configuration", "write_plots"]


def print_table(study: optuna.Study, fields: Sequence[str], kind: Kind, latency: Latency | None) -> None:
    """A line a trial: its value, with `latency` its time too, how it ended, what it tried; the best ones marked."""
    best = {trial.number for trial in study.best_trials}
    times = [f"of {latency.reference}'s time"] if latency else []
    table = Table("trial", f"validation {kind.measure}", *times, "ended", *fields)
    for trial in study.trials:
        number = f"{trial.number} *" if trial.number in best else str(trial.number)
        ratio = ratio_of(trial)
        time = [cell(ratio.median if ratio else None)] if latency else []
        value = trial.values[0] if trial.values else None
        table.add_row(number, cell(value), *time, _ended(trial), *(cell(trial.params.get(name)) for name in fields))
    printer().print(table)


def write_best(study: optuna.Study, asked: Search, kind: Kind) -> None:
    """best.yaml: the configuration of the best trial so far, as `cutis train` takes it."""
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return
    best = study.best_trial
    write_configuration(
        asked.output / "best.yaml", best, f"validation {kind.measure} {best.value:.4f}", study, asked, kind
    )


def write_configuration(
    path: Path, trial: FrozenTrial, reached: str, study: optuna.Study, asked: Search, kind: Kind
) -> None:
    """What the trial trained, as `cutis train` takes it; above it that command, and the trial's origin."""
    config = kind.load(as_flags(trial.params))
    words = ["cutis", "train", kind.verb, "--config", str(path), "--data", str(asked.data)]
    command = shlex.join(words + (["--symmetry", str(asked.symmetry)] if asked.symmetry else []))
    origin = f"Trial {trial.number} of study {study.study_name!r}: {reached}; found by"
    found_by = asked.command.replace(asked.storage, shown(asked.storage)) if asked.storage else asked.command
    fields = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    atomic_write(path, f"# {command}\n#\n# {origin}\n# {found_by}\n{fields}")


def write_plots(study: optuna.Study, folder: Path, seed: int, kind: Kind, say: Callable[[str], None]) -> None:
    """history.png: each trial's value and the best so far; importances.png: the share of the values' variance that each
    field explains (fANOVA; Hutter, Hoos and Leyton-Brown, 2014)."""
    import matplotlib

    matplotlib.use("Agg")  # no window, also where there is a display
    from optuna.importance import FanovaImportanceEvaluator
    from optuna.visualization import matplotlib as plots

    values = [trial.value for trial in study.get_trials(states=(TrialState.COMPLETE,))]
    if not values:
        say("no trial has come to its end yet: there is nothing to draw")
        return
    name = f"validation {kind.measure}"
    _save(plots.plot_optimization_history(study, target_name=name), folder / "history.png")
    written = ["best.yaml", "history.png"]
    if len(set(values)) > 1:
        evaluator = FanovaImportanceEvaluator(seed=seed)
        axes = plots.plot_param_importances(study, evaluator=evaluator, target_name=name)
        _save(axes, folder / "importances.png")
        written.append("importances.png")
    else:
        say("what mattered is drawn once two trials have come to different values")
    say(f"in {folder}: {', '.join(written)}; next: the command in the first line of best.yaml")


def _save(axes: Any, path: Path) -> None:
    from matplotlib import pyplot

    with atomic_path(path) as temporary:
        axes.figure.savefig(temporary, dpi=120, bbox_inches="tight", format="png")
    pyplot.close(axes.figure)


def _ended(trial: FrozenTrial) -> str:
    if trial.state == TrialState.FAIL:
        return "cut off"
    return str(trial.user_attrs.get("why", trial.state.name.lower()))


def cell(value: Any) -> str:
    """A value as a table shows it."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
