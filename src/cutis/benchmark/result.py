"""A benchmark's answer: rows with targets, what they were measured on and how; as JSON and as a table."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cutis import __version__
from cutis.benchmark import machine
from cutis.benchmark.machine import Watch
from cutis.files import atomic_write
from cutis.terminal import printer

__all__ = ["Result", "Row", "progress", "publish", "shown", "verdict"]

ENDS = (" low", " high")
"""What the names of quartiles end with: 'ms low' and 'ratio low' beside 'ms' and 'ratio to U'."""


@dataclass(frozen=True)
class Row:
    """One thing measured. `values`: name with unit -> number. `target`: (name of a value, '<=' or '>=', limit)."""

    name: str
    values: dict[str, float]
    target: tuple[str, str, float] | None = None


@dataclass(frozen=True)
class Result:
    """All of one benchmark. `protocol` says how it was measured; `facts` what was measured (models, hashes, sizes)."""

    benchmark: str
    rows: tuple[Row, ...]
    protocol: dict[str, Any]
    facts: dict[str, Any]
    complaints: tuple[str, ...]
    machine: dict[str, Any] = field(default_factory=machine.describe)
    date: str = field(default_factory=lambda: datetime.now(timezone.utc).date().isoformat())
    command: str = field(default_factory=lambda: shlex.join(["cutis", *sys.argv[1:]]))
    cutis: str = __version__

    @classmethod
    def of(cls, benchmark: str, rows: Sequence[Row], watch: Watch, *, one_thread: bool, **rest: Any) -> Result:
        return cls(benchmark, tuple(rows), complaints=tuple(watch.complaints(one_thread=one_thread)), **rest)


def verdict(row: Row) -> bool | None:
    """Whether the target is met; None where there is none.

    >>> verdict(Row("int8", {"ratio": 0.05}, ("ratio", "<=", 1 / 15))), verdict(Row("U", {"ratio": 1}))
    (True, None)
    """
    if row.target is None:
        return None
    name, relation, limit = row.target
    return row.values[name] <= limit if relation == "<=" else row.values[name] >= limit


def shown(values: Mapping[str, float], name: str) -> str:
    """A value with its quartiles, where it has some.

    >>> shown({"ratio to U": 0.05, "ratio low": 0.04, "ratio high": 0.06, "n": 3}, "ratio to U"), shown({"n": 3}, "n")
    ('0.05 [0.04, 0.06]', '3')
    """
    if name not in values:
        return ""
    stem = name.removesuffix(" to U")
    ends = [f"{values[stem + end]:.3g}" for end in ENDS if stem + end in values]
    return f"{values[name]:.3g}" + (f" [{', '.join(ends)}]" if ends else "")


def publish(result: Result, folder: Path | None) -> None:
    """Print the table and what speaks against it; write `folder`/<benchmark>.json where a folder is given."""
    from rich.table import Table

    console = printer()
    columns = list(dict.fromkeys(name for row in result.rows for name in row.values if not name.endswith(ENDS)))
    table = Table(f"cutis benchmark {result.benchmark}", *columns, "goal", "met")
    for row in result.rows:
        met = {True: "yes", False: "NO", None: ""}[verdict(row)]
        goal = f"{row.target[0]} {row.target[1]} {row.target[2]:.3g}" if row.target else ""
        table.add_row(row.name, *(shown(row.values, name) for name in columns), goal, met)
    console.print(table)
    for complaint in result.complaints:
        console.print(f"[bold red]DO NOT PUBLISH THESE NUMBERS:[/] {complaint}; measure again on an idle machine")
    if folder:
        path = folder / f"{result.benchmark}.json"
        rows = [{**asdict(row), "met": verdict(row)} for row in result.rows]
        atomic_write(path, json.dumps({**asdict(result), "rows": rows}, indent=1) + "\n")
        console.print(f"written: {path}")


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, drawn between rounds only: no thread that draws while times are taken."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, auto_refresh=False, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, refresh=True)

        yield tell
