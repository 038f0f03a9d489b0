"""What a classifier answered, on disk: `Answers`, one line an image; and how well its maps point, `Pointing`, likewise.

The tables are made from these files alone, so they can be made again, and paired, without a network.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutis.errors import CutisError
from cutis.files import atomic_write

__all__ = ["Answers", "Pointing", "read_answers", "read_pointing", "write_answers", "write_pointing"]

_IMAGE = ("dataset", "id", "group")
_SIDE = "p_"
_POINTING = ("iou", "overlap", "pointing_game")


class Answers(NamedTuple):
    """N images: `names` (data set, id, lesion), `truth` (N,) indices into `classes`, `probabilities` (N, K)."""

    classes: tuple[str, ...]
    names: tuple[tuple[str, str, str], ...]
    truth: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    @property
    def called(self) -> NDArray[np.int64]:
        """(N,): the class of the highest probability."""
        return self.probabilities.argmax(1)

    @property
    def lesions(self) -> tuple[str, ...]:
        """The lesion of each image."""
        return tuple(name[2] for name in self.names)


class Pointing(NamedTuple):
    """One image: how its map, and a centred Gaussian in its place, lie on the lesion: (IoU, overlap, pointing game)."""

    name: tuple[str, str, str]
    found: tuple[float, float, float]
    gaussian: tuple[float, float, float]


def write_answers(path: Path, answers: Answers) -> None:
    """One line an image: data set, id, lesion, true class, and each class's probability with all its digits."""
    header = [*_IMAGE, "truth", *(f"{_SIDE}{name}" for name in answers.classes)]
    lines = [
        [*name, answers.classes[truth], *map(repr, row)]
        for name, truth, row in zip(answers.names, answers.truth.tolist(), answers.probabilities.tolist(), strict=True)
    ]
    atomic_write(path, _csv([header, *lines]))


def read_answers(path: Path) -> Answers:
    """The file that `write_answers` wrote; CutisError for another one."""
    header, lines = _read(path)
    if header[:4] != [*_IMAGE, "truth"] or len(header) < 6:
        raise CutisError(f"{path} holds no answers of a classifier: delete it and run the experiment again")
    classes = tuple(name.removeprefix(_SIDE) for name in header[4:])
    try:
        truth = np.array([classes.index(line[3]) for line in lines], np.int64)
        table = np.array([line[4:] for line in lines], np.float64).reshape(len(lines), len(classes))
    except ValueError as error:
        raise CutisError(f"{path} is damaged ({error}): delete it and run the experiment again") from error
    return Answers(classes, tuple((line[0], line[1], line[2]) for line in lines), truth, table)


def write_pointing(path: Path, rows: Iterable[Pointing]) -> None:
    """One line an image: data set, id, lesion, the three measures of its map, the same of a centred Gaussian."""
    header = [*_IMAGE, *_POINTING, *(f"gaussian_{name}" for name in _POINTING)]
    atomic_write(path, _csv([header, *([*row.name, *map(repr, (*row.found, *row.gaussian))] for row in rows)]))


def read_pointing(path: Path) -> list[Pointing]:
    """The rows that `write_pointing` wrote; CutisError for another file."""
    header, lines = _read(path)
    if header[:6] != [*_IMAGE, *_POINTING]:
        raise CutisError(f"{path} holds no localisation of maps: delete it and run the experiment again")
    rows = []
    for line in lines:
        a, b, c, d, e, f = (float(value) for value in line[3:9])
        rows.append(Pointing((line[0], line[1], line[2]), (a, b, c), (d, e, f)))
    return rows


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            lines = list(csv.reader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CutisError(f"{path} cannot be read ({error}): delete it and run the experiment again") from error
    if not lines:
        raise CutisError(f"{path} is empty: delete it and run the experiment again")
    return lines[0], lines[1:]


def _csv(lines: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
