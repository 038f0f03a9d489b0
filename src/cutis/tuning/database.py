"""The study and the database it lives in: SQLite beside the runs, or any URL that SQLAlchemy knows, for many machines.

A worker's trial has a heartbeat; when it stops, the next worker to look marks the trial failed and queues it again.
A study remembers what it is a search for, and is refused to another one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from cutis.errors import CutisError

__all__ = ["GRACE", "one_line", "open_study", "retry", "shown", "sqlite_url"]

GRACE = 4
"""Heartbeats that are missing before a trial counts as cut off."""
_KEY = "cutis"
_TABLES = {"studies", "version_info", "alembic_version"}


def retry() -> RetryHeartbeatStaleTrialCallback:
    """Queues a cut-off trial again, with what its epochs had given; three times, then it stays failed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return RetryHeartbeatStaleTrialCallback(max_retry=3, inherit_intermediate_values=True)


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def open_study(url: str, name: str, better: Sequence[str], facts: Mapping[str, Any], heartbeat: int) -> optuna.Study:
    """Open the study, or make it. `facts`: what it searches on, as JSON; `heartbeat` in seconds.

    `better`: 'maximize' or 'minimize' for each objective. CutisError if the database cannot be opened or is not
    Optuna's, or the study was made with other objectives or facts.
    """
    try:
        with one_line(url):
            study = _connect(url, name, better, heartbeat)
            before = study.user_attrs.get(_KEY)
            same_space = before is None or before["space"] == facts["space"]
            same = same_space and len(study.directions) == len(better)
            if same and all(trial.state == TrialState.FAIL for trial in study.trials):  # nothing found on others
                study.set_user_attr(_KEY, dict(facts))
                before = facts
    except ModuleNotFoundError as error:  # the driver of a database server
        raise CutisError(f"{shown(url)} needs {error.name}: pip install it, or leave --storage out") from error
    except RuntimeError as error:  # another version's tables
        raise CutisError(f"{shown(url)} cannot be used: {' '.join(str(error).split())[:200]}") from error
    if before is None:
        raise CutisError(f"study {name!r} in {shown(url)} was not made by 'cutis tune': give another --study")
    if len(study.directions) != len(better):
        made = {1: "one objective", 2: "two objectives, accuracy and latency"}
        raise CutisError(
            f"study {name!r} in {shown(url)} was made for {made[len(study.directions)]}, and not for "
            f"{made[len(better)]}: {'leave --latency out' if len(better) == 2 else 'give --latency'} to go on with it, "
            "or give another --study and --output"
        )
    for what, now in facts.items():
        if before.get(what) != now:
            raise CutisError(
                f"study {name!r} in {shown(url)} was made with another {what}{_difference(before.get(what), now)}: "
                "go on with the same, or give another --study and --output"
            )
    return study


@contextmanager
def one_line(url: str) -> Iterator[None]:
    """What goes wrong with the database, as one line."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        reason = " ".join(str(getattr(cause, "orig", None) or cause).split())[:200]
        what = "another program holds it; try again later" if "locked" in reason else "check --storage and --output"
        raise CutisError(f"{shown(url)} cannot be used ({reason}): {what}") from error


def _connect(url: str, name: str, better: Sequence[str], heartbeat: int) -> optuna.Study:
    waiting = {"connect_args": {"timeout": GRACE * heartbeat}} if url.startswith("sqlite") else {}
    _refuse_foreign(url, waiting)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        storage = RDBStorage(
            url,
            waiting,
            heartbeat_interval=heartbeat,
            grace_period=GRACE * heartbeat,
            heartbeat_stale_trial_callback=retry(),
        )
    return optuna.create_study(storage=storage, study_name=name, directions=list(better), load_if_exists=True)


def _refuse_foreign(url: str, waiting: Mapping[str, Any]) -> None:
    """Optuna would put its tables beside those of any other program."""
    engine = sqlalchemy.create_engine(url, **waiting)
    tables = set(sqlalchemy.inspect(engine).get_table_names())
    engine.dispose()
    if tables and not tables & _TABLES:
        raise CutisError(f"{shown(url)} is another program's database: give one of its own to --storage or --output")


def _difference(before: Any, now: Any) -> str:
    """Where two facts differ: the first field, if they have fields."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        return ""
    return f" (field {next(key for key in sorted(before | now) if before.get(key) != now.get(key))!r})"


def shown(url: str) -> str:
    """A URL without its password; of SQLite, the file."""
    try:
        parsed = sqlalchemy.make_url(url)
    except SQLAlchemyError:
        return "the database of --storage"
    return str(parsed.database) if parsed.drivername == "sqlite" else parsed.render_as_string(hide_password=True)
