"""A segmentation network in onnxruntime: found by name or file, checked before it runs, resident afterwards.

The model file says itself how it wants its images and where its probability is cut: the ONNX metadata `cutis.*`,
written by the export. Nothing else is believed: a file that is cut short, altered, from a newer cutis or from
somewhere else is refused by name.

One thread a request is the default: below 10 ms a network gains little from a second one, and a folder keeps the other
cores busy with other images. Idle threads do not spin, which would take the cores from those other images.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cutis.errors import CutisError
from cutis.imaging.preprocessing import Preprocessing
from cutis.records import ModelInfo

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["DEFAULT_MODEL", "FORMAT", "Segmenter", "list_models", "load_model"]

DEFAULT_MODEL = "segmenter-int8"
FORMAT = 1


class _Listed(BaseModel):
    """One entry of weights/models.json."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    file: str
    sha256: str
    version: str


class _Metadata(BaseModel):
    """The `cutis.*` metadata of an ONNX file, format 1."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    precision: str = Field(pattern="^(fp32|int8)$")
    threshold: float = Field(gt=0, lt=1)
    preprocessing: Preprocessing


class Segmenter:
    """A loaded network: `info` names it, `preprocessing` and `threshold` are what it was trained and tuned with."""

    def __init__(self, content: bytes, source: str, threads: int) -> None:
        self.info, self.preprocessing, self.threshold, self._session = _open(content, source, threads)
        self.threads = threads

    def probability(self, square: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(S, S, 3) or (N, S, S, 3) uint8 RGB, preprocessed -> (N, S, S) float32, the probability of 'lesion'.

        Safe to call from several threads at once: each call runs in the thread that makes it.
        """
        size = self.preprocessing.size
        batch = square[None] if square.ndim == 3 else square
        if batch.shape[1:] != (size, size, 3) or batch.dtype != np.uint8:
            raise ValueError(f"expected (N, {size}, {size}, 3) uint8, got {square.shape} {square.dtype}")
        (out,) = self._session.run(["probability"], {"image": np.ascontiguousarray(batch)})
        return out[:, 0]

    def __repr__(self) -> str:
        return f"Segmenter({self.info.name} {self.info.version}, {self.info.precision}, {self.preprocessing.size} px)"


def list_models() -> list[str]:
    """Names of the models that come with cutis; each can be given to `load_model`, `analyze` and `--model`."""
    return sorted(_bundled())


def load_model(model: str | os.PathLike[str] | None = None, *, threads: int = 1) -> Segmenter:
    """Open a model that comes with cutis (by name; None is the default one) or an ONNX file that cutis exported.

    A model stays resident: asked for again, the same one is returned. `threads` is what one request may use.

    >>> load_model("no-such-model")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    cutis.errors.CutisError: no model 'no-such-model': give an ONNX file that cutis exported, or one of: ...
    """
    wanted = os.fspath(model) if model is not None else DEFAULT_MODEL
    bundled = _bundled()
    if wanted in bundled:
        entry = bundled[wanted]
        path = Path(str(resources.files("cutis") / "weights" / entry.file))
        return _resident(path, _stamp(path, wanted), threads, entry.sha256)
    path = Path(wanted)
    if not path.is_file():
        names = ", ".join(sorted(bundled)) or "none (this installation came without weights)"
        raise CutisError(f"no model '{wanted}': give an ONNX file that cutis exported, or one of: {names}")
    return _resident(path.resolve(), _stamp(path, wanted), threads, None)


def _bundled() -> dict[str, _Listed]:
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


@lru_cache(maxsize=4)
def _resident(path: Path, stamp: tuple[int, int], threads: int, sha256: str | None) -> Segmenter:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CutisError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise CutisError(f"{path} is not the file that came with cutis (its SHA-256 differs): install cutis again")
    return Segmenter(content, str(path), threads)


def _open(
    content: bytes, source: str, threads: int
) -> tuple[ModelInfo, Preprocessing, float, onnxruntime.InferenceSession]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong comes back as an exception
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise CutisError(
            f"{source} is not a model that onnxruntime can open ({_line(error)}): copy or export it again"
        ) from error
    found = _metadata(session.get_modelmeta().custom_metadata_map, source)
    _check_signature(session, found.preprocessing.size, source)
    sha256 = hashlib.sha256(content).hexdigest()
    info = ModelInfo(name=found.name, version=found.version, precision=found.precision, sha256=sha256)
    return info, found.preprocessing, found.threshold, session


def _metadata(written: dict[str, str], source: str) -> _Metadata:
    declared = written.get("cutis.format")
    if declared is None:
        raise CutisError(f"{source} was not exported by cutis (no cutis.format in its metadata): run `cutis export`")
    if declared != str(FORMAT):
        raise CutisError(
            f"{source} has model format {declared}, this cutis reads {FORMAT}: update cutis or export again"
        )
    task = written.get("cutis.task")
    if task != "segmentation":
        raise CutisError(f"{source} is a model for {task!r}, not for 'segmentation': give another model")
    fields: dict[str, Any] = {k.removeprefix("cutis."): v for k, v in written.items() if k.startswith("cutis.")}
    try:
        fields["preprocessing"] = Preprocessing.model_validate_json(fields.get("preprocessing", ""))
        return _Metadata.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "preprocessing"
        raise CutisError(
            f"{source} has a wrong 'cutis.{where}' in its metadata ({first['msg']}): export it again"
        ) from error


def _check_signature(session: onnxruntime.InferenceSession, size: int, source: str) -> None:
    found = [(v.name, v.type, list(v.shape[1:])) for v in (*session.get_inputs(), *session.get_outputs())]
    expected = [("image", "tensor(uint8)", [size, size, 3]), ("probability", "tensor(float)", [1, size, size])]
    if found != expected:
        raise CutisError(f"{source} takes and gives {found}, not {expected}: export it again")


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else text[:157] + "..."
