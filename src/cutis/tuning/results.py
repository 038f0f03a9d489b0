"""What a search gave: a table of its trials, its history and what mattered as pictures, the best configuration."""

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
from cutis.tuning.space import as_flags

if TYPE_CHECKING:
    from cutis.tuning.search import Search

__all__ = ["print_table", "write_best", "write_plots"]


def print_table(study: optuna.Study, fields: Sequence[str], kind: Kind) -> None:
    """A line a trial: its value, how it ended, what it tried; the best one marked."""
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    best = study.best_trial.number if complete else None
    table = Table("trial", f"validation {kind.measure}", "ended", *fields)
    for trial in study.trials:
        number = f"{trial.number} *" if trial.number == best else str(trial.number)
        table.add_row(number, _cell(trial.value), _ended(trial), *(_cell(trial.params.get(name)) for name in fields))
    printer().print(table)


def write_best(study: optuna.Study, asked: Search, kind: Kind) -> None:
    """best.yaml: the configuration of the best trial so far, as `cutis train` takes it."""
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return
    best = study.best_trial
    path = asked.output / "best.yaml"
    config = kind.load(as_flags(best.params))
    words = ["cutis", "train", kind.verb, "--config", str(path), "--data", str(asked.data)]
    command = shlex.join(words + (["--symmetry", str(asked.symmetry)] if asked.symmetry else []))
    origin = f"Trial {best.number} of study {study.study_name!r}: validation {kind.measure} {best.value:.4f}; found by"
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


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
