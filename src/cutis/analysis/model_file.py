"""An ONNX file of cutis's contract: found by name or path, checked before it runs, resident afterwards.

The file says itself what it is for and how it wants its images: the ONNX metadata `cutis.*`, written by the export.
Nothing else is believed: a file that is cut short, altered, from a newer cutis, for another task or from somewhere else
is refused by name.

One thread a request is the default: below 10 ms a network gains little from a second one, and a folder keeps the other
cores busy with other images. What runs the file is `runtimes`' matter.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Json, ValidationError

from cutis.analysis.runtimes import DEFAULT_RUNTIME, Session, Tensor, open_session
from cutis.errors import CutisError
from cutis.files import seal_is_whole
from cutis.imaging.preprocessing import Preprocessing
from cutis.records import ModelInfo

__all__ = [
    "FORMAT",
    "Metadata",
    "ModelFile",
    "Tensor",
    "bundled",
    "check_tensors",
    "open_model",
    "resident",
    "shape_of",
    "task_of",
]

FORMAT = 1

Loaded = TypeVar("Loaded")
Described = TypeVar("Described", bound="Metadata")


class Metadata(BaseModel):
    """The `cutis.*` metadata that every ONNX file has, format 1; a task adds its own."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    precision: str = Field(pattern="^(fp32|int8)$")
    preprocessing: Json[Preprocessing]


class ModelFile(NamedTuple):
    """The bytes of a model, and where they came from, for messages."""

    content: bytes
    source: str
    threads: int
    runtime: str = DEFAULT_RUNTIME


class _Listed(BaseModel):
    """One entry of weights/models.json."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    file: str
    sha256: str
    version: str
    task: str = "segmentation"


def bundled(task: str) -> list[str]:
    """Names of the models for `task` that come with cutis."""
    return sorted(name for name, entry in _listing().items() if entry.task == task)


def resident(
    model: str | os.PathLike[str],
    threads: int,
    task: str,
    make: Callable[[ModelFile], Loaded],
    runtime: str = DEFAULT_RUNTIME,
) -> Loaded:
    """Open a bundled model (by name) or a file, with `make`; asked for again, the same object is returned.

    A file that changed is loaded afresh. `task` chooses the names that a message offers.
    """
    wanted = os.fspath(model)
    entry = _listing().get(wanted)
    if entry is not None:
        path = Path(str(resources.files("cutis") / "weights" / entry.file))
        return _resident(path, _stamp(path, wanted), (threads, runtime), entry.sha256, make)
    path = Path(wanted)
    if not path.is_file():
        names = ", ".join(bundled(task)) or "none (this installation came without such weights)"
        raise CutisError(f"no model '{wanted}': give an ONNX file that cutis exported, or one of: {names}")
    return _resident(path.resolve(), _stamp(path, wanted), (threads, runtime), None, make)


def task_of(model: str | os.PathLike[str]) -> str:
    """What a bundled model (by name) or a file is for; 'segmentation' where neither says so (opening it then says why).

    >>> task_of("no-such-model")
    'segmentation'
    """
    wanted = os.fspath(model)
    entry = _listing().get(wanted)
    if entry is not None:
        return entry.task
    try:
        facts = open_session(Path(wanted).read_bytes(), DEFAULT_RUNTIME, 1).metadata
    except Exception:  # onnxruntime's exceptions share no base class; who opens the file says what is wrong with it
        return "segmentation"
    return facts.get("cutis.task", "segmentation")


def open_model(file: ModelFile, task: str, kind: type[Described]) -> tuple[ModelInfo, Described, Session]:
    """A session, what its metadata says (checked against `kind`), and what a record says about it."""
    if not seal_is_whole(file.content):
        raise CutisError(f"{file.source} was altered after its export (its seal is broken): copy or export it again")
    try:
        session = open_session(file.content, file.runtime, file.threads, file.source)
    except CutisError:
        raise
    except Exception as error:  # the runtimes' exceptions share no base class
        raise CutisError(
            f"{file.source} is not a model that {file.runtime} can open ({_line(error)}): copy or export it again"
        ) from error
    found = _metadata(session.metadata, file.source, task, kind)
    info = ModelInfo(
        name=found.name,
        version=found.version,
        precision=found.precision,
        sha256=hashlib.sha256(file.content).hexdigest(),
    )
    return info, found, session


def shape_of(session: Session, name: str) -> list[int | str | None]:
    """Shape (without the batch) of an input or output; [] where there is none of that name."""
    values = (*session.inputs, *session.outputs)
    return next((list(shape) for found, _, shape in values if found == name), [])


def check_tensors(session: Session, expected: Sequence[Tensor], source: str) -> None:
    """Inputs and outputs, in this order, are those of the contract; for a size that it leaves free, `shape_of`."""
    found = [*session.inputs, *session.outputs]
    if found != list(expected):
        raise CutisError(f"{source} takes and gives {found}, not {list(expected)}: export it again")


def _listing() -> dict[str, _Listed]:
    listing = resources.files("cutis") / "weights" / "models.json"
    try:
        return {name: _Listed.model_validate(entry) for name, entry in json.loads(listing.read_text("utf-8")).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError) as error:
        raise CutisError(
            f"weights/models.json inside cutis is damaged ({_line(error)}): install cutis again"
        ) from error


def _stamp(path: Path, name: str) -> tuple[int, int]:
    """A file that changed is loaded afresh."""
    try:
        status = path.stat()
    except OSError as error:
        raise CutisError(f"model {name}: {path.name} cannot be read ({error.strerror}): install cutis again") from error
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=12)
def _resident(
    path: Path,
    stamp: tuple[int, int],
    how: tuple[int, str],
    sha256: str | None,
    make: Callable[[ModelFile], Loaded],
) -> Loaded:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CutisError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise CutisError(f"{path} is not the file that came with cutis (its SHA-256 differs): install cutis again")
    return make(ModelFile(content, str(path), *how))


def _metadata(written: Mapping[str, str], source: str, task: str, kind: type[Described]) -> Described:
    declared = written.get("cutis.format")
    if declared is None:
        raise CutisError(f"{source} was not exported by cutis (no cutis.format in its metadata): run `cutis export`")
    if declared != str(FORMAT):
        raise CutisError(
            f"{source} has model format {declared}, this cutis reads {FORMAT}: update cutis or export again"
        )
    stated = written.get("cutis.task")
    if stated != task:
        raise CutisError(f"{source} is a model for {stated!r}, not for {task!r}: give another model")
    fields: dict[str, Any] = {k.removeprefix("cutis."): v for k, v in written.items() if k.startswith("cutis.")}
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CutisError(
            f"{source} has a wrong 'cutis.{where}' in its metadata ({_line(first['msg'])}): export it again"
        ) from error


def _line(error: object) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else text[:157] + "..."
