"""The segmentation network: pixels in, probability of 'lesion' out.

The file says itself how it wants its images and where its probability is cut; `model_file` has found, checked and
opened it.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cutis.analysis.model_file import FORMAT, Metadata, ModelFile, bundled, check_tensors, open_model, resident
from cutis.analysis.runtimes import DEFAULT_RUNTIME

__all__ = ["DEFAULT_MODEL", "FORMAT", "Segmenter", "list_models", "load_model"]

DEFAULT_MODEL = "segmenter-int8"
TASK = "segmentation"


class _Metadata(Metadata):
    threshold: float = Field(gt=0, lt=1)


class Segmenter:
    """A loaded network: `info` names it, `preprocessing` and `threshold` are what it was trained and tuned with,
    `runtime` is what runs it."""

    def __init__(self, file: ModelFile) -> None:
        self.info, found, self._session = open_model(file, TASK, _Metadata)
        self.preprocessing, self.threshold, self.threads = found.preprocessing, found.threshold, file.threads
        self.runtime = self._session.runtime
        size = found.preprocessing.size
        expected = [("image", "tensor(uint8)", [size, size, 3]), ("probability", "tensor(float)", [1, size, size])]
        check_tensors(self._session, expected, file.source)

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
    """Names of the segmenters that come with cutis; each can be given to `load_model`, `analyze` and `--model`."""
    return bundled(TASK)


def load_model(
    model: str | os.PathLike[str] | None = None, *, threads: int = 1, runtime: str = DEFAULT_RUNTIME
) -> Segmenter:
    """Open a segmenter that comes with cutis (by name; None is the default one) or an ONNX file that cutis exported.

    A model stays resident: asked for again, the same one is returned. `threads` is what one request may use, `runtime`
    one of `runtimes.RUNTIMES` or 'fastest'.

    >>> load_model("no-such-model")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    cutis.errors.CutisError: no model 'no-such-model': give an ONNX file that cutis exported, or one of: ...
    """
    return resident(DEFAULT_MODEL if model is None else model, threads, TASK, Segmenter, runtime)
