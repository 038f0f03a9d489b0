"""The search: trial after trial, each a run of the configuration's recipe in a folder of its own.

SE-LCN, Sec. 5.2. Any number of processes may search for one study at the same time. A trial that was cut off goes on
from its last whole epoch, where its run folder is there, else from the beginning.

With a latency there are two objectives, and a shape's time is measured before it is trained. Optuna prunes nothing
then: an epoch's value alone does not say that a trial will be beaten in both.
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
from typing import Any, NamedTuple, NoReturn

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
from cutis.tuning.front import GIVEN, draw_front, print_front, write_front
from cutis.tuning.kinds import SEGMENTERS, Kind, kind_of
from cutis.tuning.latency import Latency, measured
from cutis.tuning.results import print_table, write_best, write_plots
from cutis.tuning.sampling import SeededTPE, pruner
from cutis.tuning.space import Space, as_flags, check_space, read_space

__all__ = ["Search", "search"]

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class Search(NamedTuple):
    """What is asked for. `flags`: fields of the configuration, as `cutis train` takes them; `symmetry`: the run whose
    maps a lesion network takes; `trials`: finished ones of the study in all; `minutes`: after them no trial begins.

    `storage`: database URL, SQLite in `output` if None; `study`: its name, the configuration's if None; `heartbeat`:
    seconds between two signs of life of a trial. `latency`: the second objective, if there is one.
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
    latency: Latency | None = None


def search(asked: Search, say: Callable[[str], None] = print) -> optuna.Study:
    """Search, or go on with the search; print the trials. Write best.yaml, history.png and importances.png, or with two
    objectives the configurations on the Pareto front, and pareto.png."""
    if asked.trials < 1:
        raise CutisError(f"--trials {asked.trials}: give at least 1")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kind = kind_of(asked.config, asked.flags, symmetry=asked.symmetry)
    if asked.latency and kind.verb not in SEGMENTERS:
        raise CutisError(f"{asked.config} is of a classifier: --latency is for segmenters, leave it out")
    base = kind.load({})
    space = read_space(asked.space)
    check_space(space, asked.space, kind.load)
    facts = {
        "space": {name: values.model_dump(mode="json") for name, values in space.items()},
        "configuration": _fixed(base, space),
        "data": _data_key(base, asked.data),
        "symmetry run": digest(best_checkpoint(asked.symmetry)) if asked.symmetry else None,
        "latency": asked.latency.described() if asked.latency else None,
    }
    better = (kind.better, "minimize") if asked.latency else (kind.better,)
    url = asked.storage or sqlite_url(asked.output / "study.db")
    study = open_study(url, asked.study or base.name, better, json.loads(json.dumps(facts)), asked.heartbeat)
    study.sampler, study.pruner = SeededTPE(asked.seed), pruner(base.epochs)
    with one_line(url), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if asked.latency:
            say("two objectives, accuracy and latency: no trial is pruned while it trains")
            _queue_given(study, base, space, say)
        _run_trials(study, _Trials(asked, kind, space, say), asked, say)
        print_table(study, list(space), kind, asked.latency)
        if asked.latency:
            print_front(study, kind, asked.latency)
            draw_front(study, asked, kind, asked.latency, say)
        else:
            write_plots(study, asked.output, asked.seed, kind, say)
    return study


def _queue_given(study: optuna.Study, base: BaseModel, space: Space, say: Callable[[str], None]) -> None:
    """The first trial of all is the configuration as it was given, so that the others have it to compare with."""
    if any(trial.state != TrialState.FAIL for trial in study.get_trials(deepcopy=False)):
        return
    flat = _flat(base, space)
    outside = [name for name, field in space.items() if not field.holds(flat.get(name))]
    if outside:
        value = f"{outside[0]} is {flat.get(outside[0])!r}"
        say(f"the configuration as given is not among the trials: its {value}, which the space does not hold")
    else:
        study.enqueue_trial({name: flat[name] for name in space}, user_attrs={GIVEN: True})


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
        (write_front if asked.latency else write_best)(study, asked, trials.kind)


class _Trials:
    """The objective: train what a trial draws, tell it every epoch's value, give the best, and the time with it."""

    def __init__(self, asked: Search, kind: Kind, space: Space, say: Callable[[str], None]) -> None:
        self.asked, self.kind, self.space, self.say = asked, kind, space, say
        self.number, self.lost = -1, False

    def __call__(self, trial: optuna.Trial) -> float | tuple[float, float]:
        self.number, self.lost = trial.number, False
        try:
            return self._try(trial)
        except UpdateFinishedTrialError:
            self.lost = True
            raise
        except SystemExit as stopped:  # what Lightning makes of Ctrl-C and SIGTERM
            raise KeyboardInterrupt from stopped

    def _try(self, trial: optuna.Trial) -> float | tuple[float, float]:
        values = {name: field.suggest(name, trial) for name, field in self.space.items()}
        epochs = _Epochs(trial, pruned=self.asked.latency is None)
        folder = self._folder(trial)
        resume = (folder / "checkpoints" / "last.ckpt").exists()
        self.say(f"trial {trial.number}{' goes on' if resume else ''}: {', '.join(_shown(values))}")
        trial.set_user_attr("folder", str(folder))
        ratio = self._ratio(trial, values)
        try:
            self._train(values, folder, resume, epochs.after)
        except Diverged:
            self._prune(trial, "diverged")
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            self._prune(trial, "out of memory")
        except optuna.TrialPruned:
            self._prune(trial, f"pruned after epoch {max(epochs.values)}")
        best = (max if self.kind.better == "maximize" else min)(epochs.values.values())
        self.say(f"trial {trial.number}: validation {self.kind.measure} {best:.4f}")
        return best if ratio is None else (best, ratio)

    def _ratio(self, trial: optuna.Trial, values: dict[str, Any]) -> float | None:
        """Of the reference's time, if it is searched for; the trial ends here if that is above the limit."""
        latency = self.asked.latency
        if latency is None:
            return None
        config = self.kind.load(as_flags(values))
        ratio = measured(trial, latency, config.network, config.preprocessing.size).median
        self.say(f"trial {trial.number}: {ratio:.3f} of {latency.reference}'s time")
        if latency.limit is not None and ratio > latency.limit:
            self._prune(trial, "over the limit")
        return ratio

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

    def _prune(self, trial: optuna.Trial, why: str) -> NoReturn:
        trial.set_user_attr("why", why)
        self.say(f"trial {trial.number}: {why}")
        raise optuna.TrialPruned(why) from None


class _Epochs:
    """The values of a trial's epochs, those before it was cut off among them, kept in the study.

    With two objectives Optuna takes none and prunes nothing: they are an attribute of the trial.
    """

    def __init__(self, trial: optuna.Trial, pruned: bool) -> None:
        self.trial, self.pruned = trial, pruned
        known = _recorded(trial)
        kept = known.intermediate_values if pruned else known.user_attrs.get("epochs", {})
        self.values: dict[int, float] = {int(epoch): value for epoch, value in kept.items()}

    def after(self, epoch: int, value: float) -> None:
        """Keep it; TrialPruned if the trial is not worth going on with."""
        new = epoch not in self.values
        self.values[epoch] = value
        if not self.pruned:
            self.trial.set_user_attr("epochs", {str(epoch): value for epoch, value in self.values.items()})
            return
        if new:
            self.trial.report(value, epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def _recorded(trial: optuna.Trial) -> optuna.trial.FrozenTrial:
    """The trial as the database has it."""
    return trial.study.trials[trial.number]


def _shown(values: dict[str, Any]) -> list[str]:
    return [f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()]


def _fixed(base: BaseModel, space: Space) -> dict[str, Any]:
    """What the trials have in common, flat; without what changes no number."""
    return {name: value for name, value in _flat(base, space).items() if name not in {*space, "name", "workers"}}


def _flat(base: BaseModel, space: Space) -> dict[str, Any]:
    """Dotted field -> value; a list is one value, unless its entries are searched one by one."""
    flat: dict[str, Any] = {}

    def walk(value: Any, name: str) -> None:
        if isinstance(value, list) and any(field.startswith(f"{name}.") for field in space):
            value = dict(enumerate(value))
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                walk(inner, f"{name}.{key}" if name else str(key))
        else:
            flat[name] = value

    walk(base.model_dump(mode="json"), "")
    return flat


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
