"""A data check shown to people (tables) and to programs (JSON), and the exit code that says which it was."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from cutis import __version__
from cutis.data.catalogue import open_all
from cutis.data.check import KINDS, Finding, Report, check
from cutis.data.samples import Dataset
from cutis.errors import CutisError
from cutis.files import atomic_write
from cutis.terminal import printer

__all__ = ["as_record", "check_folder", "show"]

_EXAMPLES = 5


def check_folder(root: Path, *, json_file: Path | None, workers: int | None) -> int:
    """Check every data set in `root`, print the report, write it to `json_file`; 0 if clean, 1 if not."""
    data_sets = open_all(root)
    with _progress_bar() as progress:
        report = check(data_sets, workers=workers, progress=progress)
    show(report, printer())
    if json_file is not None:
        try:
            atomic_write(json_file, json.dumps(as_record(report, root), indent=2, ensure_ascii=False) + "\n")
        except OSError as error:
            raise CutisError(f"{json_file} cannot be written ({error.strerror}): choose another place") from error
    return 1 if report.problems else 0


def show(report: Report, console: Console) -> None:
    """Print what is there and what was found, five examples of each kind."""
    name = Column("data set", no_wrap=True)
    counts = Table(name, "images", "masks", "lesions", "classes", "splits", "absent", title="What is there")
    for data_set in report.data_sets:
        row = _summary(data_set)
        counts.add_row(
            row["name"], str(row["images"]), str(row["masks"]), str(row["lesions"]), _listed(row["classes"]),
            _listed(row["splits"]), str(row["absent"] or ""),
        )  # fmt: skip
    console.print(counts)
    if report.findings:
        console.print(_found(report))
    problems, notes = report.problems, len(report.findings) - report.problems
    said = f"{problems} problem{'s' * (problems != 1)}, {notes} note{'s' * (notes != 1)}"
    console.print(f"{report.images} images looked at in {report.seconds:.1f} s: {said}.")


def as_record(report: Report, root: Path) -> dict[str, Any]:
    """The report as plain values, for JSON; a finding has kind, severity, data_set, ids, detail, file."""
    return {
        "cutis": __version__,
        "root": str(root),
        "seconds": round(report.seconds, 2),
        "images": report.images,
        "problems": report.problems,
        "notes": len(report.findings) - report.problems,
        "data_sets": [_summary(data_set) for data_set in report.data_sets],
        "findings": [
            {
                "kind": finding.kind,
                "severity": KINDS[finding.kind][0],
                "data_set": finding.data_set,
                "ids": list(finding.ids),
                "detail": finding.detail,
                "file": None if finding.file is None else str(finding.file),
            }
            for finding in report.findings
        ],
    }


def _summary(data_set: Dataset) -> dict[str, Any]:
    labels = Counter(sample.label for sample in data_set if sample.label is not None)
    return {
        "name": data_set.name,
        "root": str(data_set.root),
        "images": len(data_set),
        "masks": sum(sample.mask is not None for sample in data_set),
        "lesions": len({sample.group for sample in data_set}),
        "classes": {name: labels[name] for name in data_set.classes if labels[name]},
        "splits": dict(sorted(Counter(sample.split for sample in data_set if sample.split is not None).items())),
        "absent": len(data_set.absent),
    }


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{escape(name)} {count}" for name, count in counts.items())


def _found(report: Report) -> Table:
    name = Column("data set", no_wrap=True)
    table = Table("", "found", "count", name, "for example", title="What was found", show_lines=True)
    for kind, (severity, title) in KINDS.items():
        for data_set in sorted({finding.data_set for finding in report.findings if finding.kind == kind}):
            found = [finding for finding in report.findings if (finding.kind, finding.data_set) == (kind, data_set)]
            count = sum(len(finding.ids) for finding in found) if kind in {"absent", "shared"} else len(found)
            colour = "red" if severity == "problem" else "dim"
            table.add_row(f"[{colour}]{severity}[/]", title, str(count), data_set, escape(_examples(found)))
    return table


def _examples(found: list[Finding]) -> str:
    lines = [": ".join(filter(None, (_ids(finding), finding.detail))) for finding in found[:_EXAMPLES]]
    more = len(found) - len(lines)
    return "\n".join([*lines, f"... {more} more (--json FILE lists them all)"] if more else lines)


def _ids(finding: Finding) -> str:
    ids = [name.removeprefix(f"{finding.data_set}/") for name in finding.ids]
    return ", ".join([*ids[:3], "..."] if len(ids) > 3 else ids)


@contextmanager
def _progress_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar on the error stream, so that what is printed can be piped; nothing where it is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("looking at images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
