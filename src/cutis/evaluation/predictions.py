"""Anyone's predicted classes from a CSV file: of one model or several folds, as names, codes or probabilities; checked.

SE-LCN, Sec. 5.4.3, publishes `image_name` and `fold_<n>_pred`; the ISIC challenges take `image` and one column of
probabilities a class. Both are read here, and a column of one predicted class beside them. `prediction_truth.py` finds
the truth.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutis.data.layout import IMAGE_SUFFIXES, read_table
from cutis.errors import CutisError

__all__ = [
    "ID_COLUMNS",
    "LABEL_COLUMNS",
    "Classes",
    "Predictions",
    "column_of",
    "image_id",
    "names",
    "read_predictions",
]

ID_COLUMNS = ("image_name", "image", "image_id", "isic_id", "id")
LABEL_COLUMNS = ("prediction", "predicted", "pred", "label_pred")
TOLERANCE = 0.02
"""How far an image's probabilities may sum from 1: they may be rounded to two digits."""


@dataclass(frozen=True)
class Classes:
    """The classes there are, in the order of their codes; codes count only where the user `gave` that order."""

    names: tuple[str, ...]
    gave: bool

    @classmethod
    def of_text(cls, text: str) -> Classes:
        """Names from the command line, separated by commas; CutisError for fewer than two or a name twice.

        >>> Classes.of_text("nv, mel").names
        ('nv', 'mel')
        """
        names = tuple(name.strip() for name in text.split(","))
        if len(names) < 2 or "" in names or len({name.casefold() for name in names}) < len(names):
            raise CutisError(f"--classes {text}: give two or more different names, separated by commas")
        return cls(names, True)

    def index(self, text: str, where: str) -> int:
        """A name (case ignored) or a code -> its index; CutisError says `where` an unknown one is.

        >>> Classes(("nv", "mel"), gave=True).index("MEL", "a.csv"), Classes(("nv", "mel"), gave=True).index("0", "")
        (1, 0)
        """
        for number, name in enumerate(self.names):
            if text == name or text.casefold() == name.casefold():
                return number
        if self.gave and text.isdecimal() and int(text) < len(self.names):
            return int(text)
        if not text:
            raise CutisError(f"{where} has no class: fill the cell or remove the row")
        todo = "say what codes mean with --classes nv,mel,..." if text.isdecimal() else "name all with --classes"
        raise CutisError(
            f"{where} has the unknown class {text!r}; known: {', '.join(self.names)}: correct it, or {todo}"
        )


class Predictions(NamedTuple):
    """N images: `answers` (F, N) class indices of F models; `folds` (F,) their numbers, empty where there is one model.

    `probabilities` (N, K) of one model, None where only classes are given. `rows`: the file's own, for its truth.
    """

    path: Path
    classes: Classes
    ids: list[str]
    folds: tuple[int, ...]
    answers: NDArray[np.int64]
    probabilities: NDArray[np.float64] | None
    rows: list[dict[str, str]]


def read_predictions(path: Path, classes: Classes) -> Predictions:
    """The predictions in `path`; CutisError names what is wrong, where, and what to do."""
    rows = read_table(path)
    if not rows:
        raise CutisError(f"{path} holds no predictions: give a header line and a row for each image")
    header = list(rows[0])
    key = column_of(header, ID_COLUMNS)
    if key is None:
        raise CutisError(f"{path} has no column of image ids: name one {', '.join(ID_COLUMNS)}")
    ids = [image_id(row[key]) for row in rows]
    if not all(ids):
        raise CutisError(f"{path}, line {ids.index('') + 2}, has no image id: fill it or remove the row")
    if twice := [name for name, count in Counter(ids).items() if count > 1]:
        raise CutisError(f"{path}: {len(twice)} images are in it twice: keep one row of each: {names(twice)}")
    folds = _fold_columns(path, header)
    label, table = column_of(header, LABEL_COLUMNS), _probability_columns(path, header, classes)
    if folds and (label or table):
        raise CutisError(f"{path} has fold_{min(folds)}_pred and {label or next(iter(table.values()))}: keep one kind")
    if not (folds or label or table):
        raise CutisError(
            f"{path} has no predictions: it needs fold_1_pred, fold_2_pred, ..., or {LABEL_COLUMNS[0]}, or a "
            f"probability column for each of {', '.join(classes.names)} (other classes: --classes)"
        )
    probabilities = _probabilities(path, rows, ids, list(table.values())) if table else None
    columns = list(folds.values()) or ([label] if label else [])
    answers = [
        [classes.index(row[name], f"{path}: {image}, column {name},") for row, image in zip(rows, ids, strict=True)]
        for name in columns
    ]
    if not columns:
        assert probabilities is not None
        answers = [probabilities.argmax(1).tolist()]
    return Predictions(path, classes, ids, tuple(folds), np.array(answers, np.int64), probabilities, rows)


def column_of(header: Sequence[str], wanted: Sequence[str]) -> str | None:
    """The column of `header` that has one of the `wanted` names, the first of them that is there; case ignored.

    >>> column_of(["Image", "dx"], ID_COLUMNS)
    'Image'
    """
    known = {name.casefold().strip(): name for name in header}
    return next((known[name] for name in wanted if name in known), None)


def image_id(text: str) -> str:
    """An id, also where it is written as a file.

    >>> image_id("ISIC_0030038.jpg"), image_id("ISIC_0030038")
    ('ISIC_0030038', 'ISIC_0030038')
    """
    stem, dot, suffix = text.rpartition(".")
    return stem if f"{dot}{suffix}".lower() in IMAGE_SUFFIXES else text


def names(found: Sequence[str]) -> str:
    """The first five, and how many more.

    >>> names(list("gfedcba"))
    'a, b, c, d, e and 2 more'
    """
    return ", ".join(sorted(found)[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def _fold_columns(path: Path, header: Sequence[str]) -> dict[int, str]:
    found = {int(m[1]): name for name in header if (m := re.fullmatch(r"fold_(\d+)_pred", name.casefold()))}
    if not found:
        return {}
    for number in range(min(1, *found), max(found)):
        if number not in found:
            raise CutisError(f"{path} has no column fold_{number}_pred: add it, or number the folds without a gap")
    return dict(sorted(found.items()))


def _probability_columns(path: Path, header: Sequence[str], classes: Classes) -> Mapping[str, str]:
    """Class -> its column, `<class>`, `p_<class>` or `prob_<class>`; empty where there is none of any class."""
    found = {}
    for name in classes.names:
        column = column_of(header, [f"{prefix}{name.casefold()}" for prefix in ("", "p_", "prob_")])
        if column is not None:
            found[name] = column
    if found and (absent := [name for name in classes.names if name not in found]):
        raise CutisError(
            f"{path} has probabilities of {', '.join(found)} but not of {', '.join(absent)}: add the columns, or name "
            f"the classes there are: --classes {','.join(found)}"
        )
    return found


def _probabilities(
    path: Path, rows: Sequence[Mapping[str, str]], ids: Sequence[str], columns: Sequence[str]
) -> NDArray[np.float64]:
    table = []
    for row, image in zip(rows, ids, strict=True):
        for column in columns:
            if not 0 <= _number(row[column]) <= 1:  # also NaN
                raise CutisError(
                    f"{path}: {image} has {row[column]!r} for {column}: probabilities are numbers from 0 to 1 (apply "
                    "softmax to logits)"
                )
        values = [_number(row[column]) for column in columns]
        if abs(sum(values) - 1) > TOLERANCE:
            raise CutisError(
                f"{path}: the probabilities of {image} sum to {sum(values):.3g}, not 1: divide by their sum"
            )
        table.append(values)
    return np.array(table)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
