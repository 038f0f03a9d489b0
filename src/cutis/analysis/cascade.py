"""The SE-LCN cascade after the mask: is the lesion symmetric, which class is it most like, and where did both look.

SE-LCN, Sec. 4: the mask chooses what the classifiers see (their masking strategy), the symmetry network's Grad-CAM++
map goes into the lesion network (E-Layer). Either network may be absent: without the symmetry network only a lesion
network that takes no map (the paper's baseline) can answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from cutis.analysis.classifier import (
    DEFAULT_CLASS,
    DEFAULT_SYMMETRY,
    LesionClassifier,
    SymmetryClassifier,
    list_classifiers,
    load_lesion,
    load_symmetry,
)
from cutis.analysis.decision import decide_class, decide_symmetry
from cutis.analysis.runtimes import DEFAULT_RUNTIME
from cutis.errors import CutisError
from cutis.imaging.cells import spread
from cutis.imaging.frame import Frame
from cutis.imaging.lesion_area import prepare_classifier_image
from cutis.records import Diagnosis, ModelInfo, Symmetry

__all__ = ["MAP_SIDE", "Cascade", "Looked", "ask", "choose_cascade", "load_cascade", "on_picture"]

MAP_SIDE = 512  # longest side of a map laid on the picture: the networks know 8 to 16 cells of it

Model = str | os.PathLike[str]


class Cascade(NamedTuple):
    """The networks that answer after the mask; None for one that is not there."""

    symmetry: SymmetryClassifier | None = None
    lesion: LesionClassifier | None = None

    @property
    def symmetry_info(self) -> ModelInfo | None:
        return self.symmetry.info if self.symmetry else None

    @property
    def class_info(self) -> ModelInfo | None:
        return self.lesion.info if self.lesion else None


class Looked(NamedTuple):
    """Both answers, and both maps laid on the picture: (h, w) uint8, 0 to 255, longest side at most `MAP_SIDE`."""

    symmetry: Symmetry | None = None
    diagnosis: Diagnosis | None = None
    symmetry_map: NDArray[np.uint8] | None = None
    class_map: NDArray[np.uint8] | None = None


def load_cascade(
    symmetry: Model | None = None, lesion: Model | None = None, *, threads: int = 1, runtime: str = DEFAULT_RUNTIME
) -> Cascade:
    """Open both networks: bundled (by name) or exported (by file); None is the bundled one, if there is one.

    Raises `CutisError` where they do not fit together.
    """
    if symmetry is None and DEFAULT_SYMMETRY in list_classifiers("symmetry"):
        symmetry = DEFAULT_SYMMETRY
    if lesion is None and DEFAULT_CLASS in list_classifiers("lesion_class"):
        lesion = DEFAULT_CLASS
    cascade = Cascade(
        load_symmetry(symmetry, threads=threads, runtime=runtime) if symmetry is not None else None,
        load_lesion(lesion, threads=threads, runtime=runtime) if lesion is not None else None,
    )
    _check_fit(cascade)
    return cascade


def choose_cascade(
    symmetry: Model | None, lesion: Model | None, wanted: bool, *, runtime: str = DEFAULT_RUNTIME
) -> Cascade:
    """`load_cascade`, or none if it is not wanted; both wishes at once are a wrong call."""
    if wanted:
        return load_cascade(symmetry, lesion, runtime=runtime)
    if symmetry is not None or lesion is not None:
        raise CutisError("a model for symmetry or class is given, and no cascade wanted: leave out one of them")
    return Cascade()


def ask(cascade: Cascade, picture: NDArray[np.uint8], mask: NDArray[np.bool_], lap: Callable[[str], None]) -> Looked:
    """Ask both networks about the lesion of `mask`; `lap` hears 'symmetry' and 'class' when each is done.

    `picture`: (h, w, 3) uint8 RGB, as decoded. `mask`: (H, W) bool of the same picture, of its own or its full size.
    """
    found, first, second = Looked(), cascade.symmetry, cascade.lesion
    activation = None
    if first:
        answered = first.answer(_prepared(first, picture, mask))
        activation = answered.activation
        placed = on_picture(spread(activation, first.preprocessing.size, first.cells), picture)
        found = found._replace(symmetry=decide_symmetry(answered.logits, first.rule), symmetry_map=placed)
        lap("symmetry")
    if second:
        answered = second.answer(_prepared(second, picture, mask), activation if second.takes_map else None)
        assert answered.unlikeness is not None
        decided = decide_class(answered.logits, answered.unlikeness, second.rule)
        placed = on_picture(spread(answered.activation, second.preprocessing.size, second.cells), picture)
        found = found._replace(diagnosis=decided, class_map=placed)
        lap("class")
    return found


def _prepared(
    network: SymmetryClassifier | LesionClassifier, picture: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """What the network was trained to see; a picture that was decoded smaller needs its mask smaller too."""
    height, width = picture.shape[:2]
    if mask.shape != (height, width) and network.masking != "none":
        smaller = cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        mask = np.asarray(smaller, np.uint8).view(np.bool_)
    return prepare_classifier_image(
        picture, None if network.masking == "none" else mask, network.preprocessing, network.masking
    )


def on_picture(square: NDArray[np.float32], picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(S, S) map in [0, 1] over a network's square -> the same over the picture, 8 bits, no padding.

    >>> wide = np.zeros((30, 60, 3), np.uint8)
    >>> left = np.float32([[1, 0]]).repeat(64, axis=0).repeat(32, axis=1)
    >>> laid = on_picture(left, wide)
    >>> laid.shape, int(laid[15, 0]), int(laid[15, 59])
    ((30, 60), 255, 0)
    """
    height, width = picture.shape[:2]
    scale = min(1.0, MAP_SIDE / max(height, width))
    frame = Frame.fit(width, height, len(square))
    laid = frame.restore(square, max(1, round(width * scale)), max(1, round(height * scale)))
    return np.rint(laid * 255).astype(np.uint8)


def _check_fit(cascade: Cascade) -> None:
    symmetry, lesion = cascade
    if lesion is None or not lesion.takes_map:
        return
    if symmetry is None:
        raise CutisError(f"the class model {lesion.info.name} needs a symmetry model's map: give --symmetry-model too")
    if symmetry.map_size != lesion.symmetry_map_size:
        gives, takes = ("{}x{}".format(*size) for size in (symmetry.map_size, lesion.symmetry_map_size or ()))
        raise CutisError(
            f"the symmetry model {symmetry.info.name} gives a map of {gives}, the class model {lesion.info.name} "
            f"takes one of {takes}: give two models that were trained together"
        )
