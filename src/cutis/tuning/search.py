"""The search: trial after trial, each a run of the configuration's recipe in a folder of its own.

SE-LCN, Sec. 5.2. Any number of processes may search for one study at the same time. A trial that was cut off goes on
from its last whole epoch, where its run folder is there, else from the beginning.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import torch
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.trial import TrialState
from pydantic import BaseModel

from cutis.data.catalogue import open_dataset
from cutis.errors import CutisError
from cutis.recipes.engine import Diverged
from cutis.recipes.folder import best_checkpoint, digest
from cutis.tuning.database import GRACE, one_line, open_study, retry, sqlite_url
from cutis.tuning.kinds import Kind, kind_of
from cutis.tuning.results import print_table, write_best, write_plots
from cutis.tuning.sampling import SeededTPE, pruner
from cutis.tuning.space import Space, as_flags, check_space, read_space

__all__ = ["Search", "search"]

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class Search(NamedTuple):
    """What is asked for. `flags`: fields of the configuration, as `cutis train` takes them; `symmetry`: the run whose
    maps a lesion network takes; `trials`: finished ones of the study in all; `minutes`: after them no trial begins.

    `storage`: database URL, SQLite in `output` if None; `study`: its name, the configuration's if None; `heartbeat`:
    seconds between two signs of life of a trial.
    """

    config: Path
    flags: tuple[str, ...]
    space: Path
    data: Path
    output: Path
    symmetry: Path | None
    trials: int
    storage: str | None
    study: str | None
    minutes: float | None
    seed: int
    cache: Path
    accelerator: str
    command: str
    heartbeat: int = 15


def search(asked: Search, say: Callable[[str], None] = print) -> optuna.Study:
    """Search, or go on with the search; write best.yaml, history.png and importances.png, print the trials."""
    if asked.trials < 1:
        raise CutisError(f"--trials {asked.trials}: give at least 1")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kind = kind_of(asked.config, asked.flags, symmetry=asked.symmetry)
    base = kind.load({})
    space = read_space(asked.space)
    check_space(space, asked.space, kind.load)
    facts = {
        "space": {name: values.model_dump(mode="json") for name, values in space.items()},
        "configuration": _fixed(base, space),
        "data": _data_key(base, asked.data),
        "symmetry run": digest(best_checkpoint(asked.symmetry)) if asked.symmetry else None,
    }
    url = asked.storage or sqlite_url(asked.output / "study.db")
    study = open_study(url, asked.study or base.name, kind.better, json.loads(json.dumps(facts)), asked.heartbeat)
    study.sampler, study.pruner = SeededTPE(asked.seed), pruner(base.epochs)
    with one_line(url), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        _run_trials(study, _Trials(asked, kind, space, say), asked, say)
        print_table(study, list(space), kind)
        write_plots(study, asked.output, asked.seed, kind, say)
    return study


def _run_trials(study: optuna.Study, trials: _Trials, asked: Search, say: Callable[[str], None]) -> None:
    ends = time.monotonic() + (asked.minutes * 60 if asked.minutes is not None else math.inf)
    waited_from = None
    while time.monotonic() < ends:
        optuna.storages.fail_stale_trials(study)
        states = [trial.state for trial in study.get_trials(deepcopy=False)]
        done, running = sum(state in _FINISHED for state in states), states.count(TrialState.RUNNING)
        if done >= asked.trials:
            return
        if done + running >= asked.trials:  # perhaps cut off; their hearts tell after a while
            waited_from = waited_from or time.monotonic()
            if time.monotonic() - waited_from > (GRACE + 2) * asked.heartbeat:
                say(f"{running} trials are running in other processes, which will finish the study")
                return
            time.sleep(min(1, asked.heartbeat))
            continue
        waited_from = None
        try:
            study.optimize(trials, n_trials=1)
        except KeyboardInterrupt:
            retry()(study, study.trials[trials.number])
            say(f"trial {trials.number} was stopped; the same command goes on with it")
            raise
        except (UpdateFinishedTrialError, ValueError):  # the second: Optuna, told the end of a trial that has ended
            if not trials.lost:
                raise
            say(f"trial {trials.number} stood still so long that it was taken for cut off: another process has it now")
        write_best(study, asked, trials.kind)


class _Trials:
    """The objective: train what a trial draws, tell it every epoch's value, give the best."""

    def __init__(self, asked: Search, kind: Kind, space: Space, say: Callable[[str], None]) -> None:
        self.asked, self.kind, self.space, self.say = asked, kind, space, say
        self.number, self.lost = -1, False

    def __call__(self, trial: optuna.Trial) -> float:
        self.number, self.lost = trial.number, False
        values = {name: field.suggest(name, trial) for name, field in self.space.items()}
        epochs = dict(_recorded(trial).intermediate_values)  # of the process that was cut off
        folder = self._folder(trial)
        resume = (folder / "checkpoints" / "last.ckpt").exists()
        self.say(f"trial {trial.number}{' goes on' if resume else ''}: {', '.join(_shown(values))}")
        trial.set_user_attr("folder", str(folder))

        def after_epoch(epoch: int, value: float) -> None:
            if epoch not in epochs:
                trial.report(value, epoch)
            epochs[epoch] = value
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            self._train(values, folder, resume, after_epoch)
        except Diverged:
            self._prune(trial, "diverged")
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            self._prune(trial, "out of memory")
        except optuna.TrialPruned:
            self._prune(trial, f"pruned after epoch {max(epochs)}")
        except UpdateFinishedTrialError:
            self.lost = True
            raise
        except SystemExit as stopped:  # what Lightning makes of Ctrl-C and SIGTERM
            raise KeyboardInterrupt from stopped
        best = (max if self.kind.better == "maximize" else min)(epochs.values())
        self.say(f"trial {trial.number}: validation {self.kind.measure} {best:.4f}")
        return best

    def _folder(self, trial: optuna.Trial) -> Path:
        """Its run folder: that of the trial it goes on with, if it is one that was cut off."""
        first = optuna.storages.RetryHeartbeatStaleTrialCallback.retried_trial_number(_recorded(trial))
        number = trial.number if first is None else first
        folder = self.asked.output / "trials" / f"{number:04d}"
        if folder.exists() and first is None:
            raise CutisError(f"{folder} is of another study: give another --output")
        if folder.exists() and not (folder / "checkpoints" / "last.ckpt").exists():
            shutil.rmtree(folder)  # cut off in its first epoch
        return folder

    def _train(
        self, values: dict[str, Any], folder: Path, resume: bool, after_epoch: Callable[[int, float], None]
    ) -> None:
        self.kind.train(
            self.kind.load(as_flags(values)),
            self.asked.data,
            folder,
            cache=self.asked.cache,
            resume=resume,
            accelerator=self.asked.accelerator,
            say=lambda text: None,
            after_epoch=after_epoch,
        )

    def _prune(self, trial: optuna.Trial, why: str) -> None:
        trial.set_user_attr("why", why)
        self.say(f"trial {trial.number}: {why}")
        raise optuna.TrialPruned(why) from None


def _recorded(trial: optuna.Trial) -> optuna.trial.FrozenTrial:
    """The trial as the database has it."""
    return trial.study.trials[trial.number]


def _shown(values: dict[str, Any]) -> list[str]:
    return [f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()]


def _fixed(base: BaseModel, space: Space) -> dict[str, Any]:
    """What the trials have in common, flat: dotted field -> value; without what changes no number."""
    flat: dict[str, Any] = {}

    def walk(value: Any, name: str) -> None:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                walk(inner, f"{name}.{key}" if name else str(key))
        else:
            flat[name] = value

    walk(base.model_dump(mode="json"), "")
    return {name: value for name, value in flat.items() if name not in {*space, "name", "workers"}}


def _data_key(base: Any, data: Path) -> str:
    """Hash of the ids, labels and file sizes of the data sets of the run; no image is read."""
    whole = hashlib.sha256()
    for name in sorted(base.datasets):
        dataset = open_dataset(data, name)
        if not len(dataset):
            raise CutisError(f"{data} holds no images of {name}: give the folder that holds the data sets of the run")
        for sample in dataset:
            size = sample.image.stat().st_size
            mask = sample.mask.stat().st_size if sample.mask else None
            whole.update(f"{name} {sample.id} {sample.group} {sample.label} {sample.symmetry} {size} {mask}\n".encode())
    return whole.hexdigest()
