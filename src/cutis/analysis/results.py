"""results.jsonl: one `Analysis` a line, in input order, whole lines only, however often the run was interrupted.

Images finish in any order, so each is noted in a journal when it is finished and goes to results.jsonl when all
before it are there. A killed run loses the images in hand and no other: `--resume` reads both files. It then writes
results.jsonl afresh, old records and new ones in input order, while the journal holds what is done; killed again, it
loses nothing. Images that failed are tried again."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import ValidationError

from cutis.errors import CutisError
from cutis.files import atomic_write
from cutis.records import Analysis

__all__ = ["Results", "same_settings"]


class Results:
    """The open results of a run over the images called `names`. `kept`: what an earlier run finished, name -> record.

    Workers `note` what they finished; the reader `add`s in input order. Leaving the block puts what was noted or kept
    but not reached behind the others: then results.jsonl is all there is, and the journal goes."""

    def __init__(self, folder: Path, names: Sequence[str], *, resume: bool) -> None:
        self.path = folder / "results.jsonl"
        self._journal_path = folder / "results.journal.jsonl"
        self._place = {name: place for place, name in enumerate(names)}
        self._lock = threading.Lock()
        self.kept: dict[str, Analysis] = {}
        if resume:
            for path in (self._journal_path, self.path):
                self.kept.update(_finished(path))
        self._waiting = dict(self.kept)
        atomic_write(self._journal_path, b"".join(_line(record) for record in self.kept.values()))
        self._journal = self._journal_path.open("ab", buffering=0)
        self._stream = self.path.open("wb", buffering=0)

    def note(self, record: Analysis) -> None:
        """Keep a finished record safe until its turn; from any thread."""
        with self._lock:
            self._journal.write(_line(record))
            self._waiting[record.file] = record

    def add(self, record: Analysis) -> None:
        """Append one record; if the disk is full the file keeps its whole lines and the `OSError` goes on."""
        start = self._stream.tell()
        line = _line(record)
        try:
            written = self._stream.write(line)
            if written < len(line):  # a disk that fills up takes a part
                self._stream.write(line[written:])
        except OSError:
            with contextlib.suppress(OSError):
                self._stream.truncate(start)
                self._stream.seek(start)
            raise
        with self._lock:
            self._waiting.pop(record.file, None)

    def __enter__(self) -> Results:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        last = len(self._place)
        try:
            for record in sorted(self._waiting.values(), key=lambda record: self._place.get(record.file, last)):
                self.add(record)
        except OSError:
            if kind is None:
                raise  # else the first failure is the one to tell of; the journal has what is missing here
        else:
            self._journal.close()
            self._journal_path.unlink(missing_ok=True)
        finally:
            self._journal.close()
            self._stream.close()


def same_settings(folder: Path, settings: dict[str, Any], *, resume: bool) -> None:
    """Write run.json; a resumed run with other settings than the first is refused: its results would not compare."""
    path = folder / "run.json"
    if resume and path.exists():
        try:
            before = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise CutisError(f"{path} cannot be read ({error}): leave out --resume to start again") from error
        for name, value in settings.items():
            if before.get(name) != value:
                was = json.dumps(before.get(name))
                raise CutisError(
                    f"{folder} was begun with {name} {was}, not {json.dumps(value)}: "
                    "resume with the same settings or choose another --output"
                )
    atomic_write(path, json.dumps(settings, indent=2) + "\n")


def _line(record: Analysis) -> bytes:
    return record.model_dump_json().encode() + b"\n"


def _finished(path: Path) -> dict[str, Analysis]:
    """What a results file holds of finished images. A cut last line is an image not done; so is one that failed."""
    found = {}
    try:
        with path.open("rb") as stream:
            for line in stream:
                with contextlib.suppress(ValidationError):
                    record = Analysis.model_validate_json(line)
                    if record.status != "failed":
                        found[record.file] = record
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CutisError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    return found
