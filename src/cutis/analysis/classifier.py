"""The two classifiers of the SE-LCN cascade: the symmetry network and the lesion network.

Each gives logits and its own Grad-CAM++ map, computed in its graph; the lesion network may take the symmetry network's
map (the E-Layer), and gives how far the image is from those it was trained on. Files, metadata and inputs are checked
as the segmenter's are (`model_file`).
"""

from __future__ import annotations

import os
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, Json, field_validator

from cutis.analysis.decision import ClassRule, Conformal, SymmetryRule
from cutis.analysis.model_file import (
    Metadata,
    ModelFile,
    bundled,
    check_tensors,
    open_model,
    resident,
    shape_of,
)
from cutis.analysis.runtimes import DEFAULT_RUNTIME, Tensor
from cutis.errors import CutisError
from cutis.imaging.cells import Cells

__all__ = [
    "DEFAULT_CLASS",
    "DEFAULT_SYMMETRY",
    "Answered",
    "LesionClassifier",
    "SymmetryClassifier",
    "list_classifiers",
    "load_lesion",
    "load_symmetry",
]

DEFAULT_SYMMETRY, DEFAULT_CLASS = "symmetry-int8", "lesion-int8"
Task = Literal["symmetry", "lesion_class"]
SYMMETRIES = (("asymmetric", "symmetric"), ("asymmetric", "one_axis", "two_axes"))


class Answered(NamedTuple):
    """`logits`: (K,) float32. `activation`: (h, w) float32 in [0, 1], on the network's `cells`. `unlikeness`: of the
    lesion network."""

    logits: NDArray[np.float32]
    activation: NDArray[np.float32]
    unlikeness: float | None = None


class _Metadata(Metadata):
    classes: Json[tuple[str, ...]] = Field(min_length=2)
    masking: Literal["none", "segmentation", "lae"]
    cells: Json[Cells]
    temperature: float = Field(gt=0, allow_inf_nan=False)
    division: Json[dict[str, Any]] | None = None

    @field_validator("classes")
    @classmethod
    def _all_different(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(classes)) < len(classes) or not all(classes):
            raise ValueError("a class is named twice, or not at all")
        return classes


class _SymmetryMetadata(_Metadata):
    threshold: float | None = Field(None, gt=0, lt=1)

    @field_validator("classes")
    @classmethod
    def _known(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if classes not in SYMMETRIES:
            raise ValueError(f"{classes} is neither {SYMMETRIES[0]} nor {SYMMETRIES[1]}")
        return classes


class _LesionMetadata(_Metadata):
    conformal: Json[Conformal]
    unlikeness_limit: float = Field(gt=0, allow_inf_nan=False)


class _Classifier:
    """What both have in common: `info`, `preprocessing`, `masking`, `map_size`, (h, w) of the map they give, `cells`,
    where its cells look, and `division`, how their training divided its data, where the file says so."""

    def __init__(self, file: ModelFile, task: Task, kind: type[_Metadata]) -> None:
        self.info, self._found, self._session = open_model(file, task, kind)
        self.preprocessing, self.masking = self._found.preprocessing, self._found.masking
        self.cells = self._found.cells
        self.threads, self.division = file.threads, self._found.division
        self.takes_map = False
        size = self.preprocessing.size
        self.map_size = self._free_size("activation", file.source)
        self._given: list[Tensor] = [("image", "tensor(uint8)", [size, size, 3])]
        self._gives: list[Tensor] = [
            ("logits", "tensor(float)", [len(self._found.classes)]),
            ("activation", "tensor(float)", [1, *self.map_size]),
        ]

    def _free_size(self, name: str, source: str) -> tuple[int, int]:
        """(h, w) of a map whose size the contract leaves free."""
        height, width = (shape_of(self._session, name) + [None] * 3)[1:3]
        if not (isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0):
            raise CutisError(f"{source} has no map '{name}' of a fixed size: export it again")
        return height, width

    def _run(self, outputs: list[str], square: NDArray[np.uint8], **more: NDArray) -> list[NDArray]:
        size = self.preprocessing.size
        if square.shape != (size, size, 3) or square.dtype != np.uint8:
            raise ValueError(f"expected ({size}, {size}, 3) uint8, got {square.shape} {square.dtype}")
        found = self._session.run(outputs, {"image": np.ascontiguousarray(square)[None], **more})
        if not all(np.isfinite(values).all() for values in found):
            raise CutisError(f"the model {self.info.name} {self.info.version} answers without numbers: export it again")
        return found

    def __repr__(self) -> str:
        what = f"{self.info.name} {self.info.version}, {self.info.precision}, {self.preprocessing.size} px"
        return f"{type(self).__name__}({what})"


class SymmetryClassifier(_Classifier):
    """The symmetry network: asymmetric or symmetric, or asymmetric, about one axis, about two."""

    _found: _SymmetryMetadata

    def __init__(self, file: ModelFile) -> None:
        super().__init__(file, "symmetry", _SymmetryMetadata)
        check_tensors(self._session, [*self._given, *self._gives], file.source)
        classes = self._found.classes
        threshold = self._found.threshold if len(classes) == 2 else None  # of three the likeliest is the answer
        if len(classes) == 2 and threshold is None:
            raise CutisError(f"{file.source} has no 'cutis.threshold' in its metadata: export it again")
        self.rule = SymmetryRule(classes, self._found.temperature, threshold)

    def answer(self, square: NDArray[np.uint8]) -> Answered:
        """(S, S, 3) uint8 RGB, prepared for a classifier -> logits and map. Safe from several threads at once."""
        logits, activation = self._run(["logits", "activation"], square)
        return Answered(logits[0], np.clip(activation[0, 0], 0, 1))


class LesionClassifier(_Classifier):
    """The lesion network; `takes_map` says whether it wants the symmetry network's, of `symmetry_map_size`."""

    _found: _LesionMetadata

    def __init__(self, file: ModelFile) -> None:
        super().__init__(file, "lesion_class", _LesionMetadata)
        self.symmetry_map_size: tuple[int, int] | None = None
        self.takes_map = shape_of(self._session, "symmetry_activation") != []
        if self.takes_map:
            self.symmetry_map_size = self._free_size("symmetry_activation", file.source)
            self._given.append(("symmetry_activation", "tensor(float)", [1, *self.symmetry_map_size]))
        check_tensors(self._session, [*self._given, *self._gives, ("unlikeness", "tensor(float)", [])], file.source)
        found = self._found
        self.rule = ClassRule(found.classes, found.temperature, found.conformal, found.unlikeness_limit)

    def answer(self, square: NDArray[np.uint8], symmetry: NDArray[np.float32] | None) -> Answered:
        """(S, S, 3) uint8 RGB and the symmetry network's (h, w) map -> logits, map and unlikeness."""
        if (symmetry is None) == self.takes_map or (symmetry is not None and symmetry.shape != self.symmetry_map_size):
            wanted = self.symmetry_map_size or "no map"
            raise ValueError(f"expected {wanted}, got {'no map' if symmetry is None else symmetry.shape}")
        more = {} if symmetry is None else {"symmetry_activation": symmetry.astype(np.float32, copy=False)[None, None]}
        logits, activation, unlikeness = self._run(["logits", "activation", "unlikeness"], square, **more)
        return Answered(logits[0], np.clip(activation[0, 0], 0, 1), float(unlikeness[0]))


def list_classifiers(task: Task) -> list[str]:
    """Names of the classifiers for `task` ('symmetry' or 'lesion_class') that come with cutis."""
    return bundled(task)


def load_symmetry(
    model: str | os.PathLike[str], *, threads: int = 1, runtime: str = DEFAULT_RUNTIME
) -> SymmetryClassifier:
    """Open a symmetry network, bundled (by name) or exported (by file); it stays resident.

    >>> load_symmetry("no-such-model")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    cutis.errors.CutisError: no model 'no-such-model': give an ONNX file that cutis exported, or one of: ...
    """
    return resident(model, threads, "symmetry", SymmetryClassifier, runtime)


def load_lesion(model: str | os.PathLike[str], *, threads: int = 1, runtime: str = DEFAULT_RUNTIME) -> LesionClassifier:
    """Open a lesion network, bundled (by name) or exported (by file); it stays resident."""
    return resident(model, threads, "lesion_class", LesionClassifier, runtime)
