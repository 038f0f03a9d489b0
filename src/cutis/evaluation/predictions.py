"""Predicted classes of anyone from a CSV file, with several folds: read, checked against labels, measured.

SE-LCN, Sec. 5.4.3: each fold's network answers for the same test images; measures are means over the folds, with the
standard deviation of the folds (divisor n, as the paper's printed ones are). Columns: `image_name` and `fold_<n>_pred`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutis.data.layout import read_table
from cutis.errors import CutisError
from cutis.metrics import classification as c

__all__ = ["Folds", "measures", "read_folds", "read_labels", "share_seen"]


class Folds(NamedTuple):
    """N images: ids, lesions, true class indices (N,), and the answers of F folds (F, N)."""

    ids: list[str]
    lesions: list[str]
    truth: NDArray[np.int64]
    answers: NDArray[np.int64]


def read_labels(path: Path) -> dict[str, tuple[str, str]]:
    """Image id -> (class, lesion) of a HAM10000 metadata file; CutisError for an image in two classes."""
    found: dict[str, tuple[str, str]] = {}
    for row in read_table(path):
        if missing := [name for name in ("image_id", "dx", "lesion_id") if not row.get(name)]:
            raise CutisError(f"{path} has a row without {missing[0]}: give a file like HAM10000_metadata.csv")
        known = found.setdefault(row["image_id"], (row["dx"], row["lesion_id"]))
        if known[0] != row["dx"]:
            raise CutisError(f"{path}: {row['image_id']} is both {known[0]} and {row['dx']}: keep the right row")
    return found


def read_folds(path: Path, labels: dict[str, tuple[str, str]], classes: Sequence[str]) -> Folds:
    """The predictions in `path` for exactly the images of `labels`; CutisError names what is wrong and where."""
    rows = read_table(path)
    columns = sorted(
        (int(m[1]), name) for name in (rows[0] if rows else {}) if (m := re.fullmatch(r"fold_(\d+)_pred", name))
    )
    if not columns or "image_name" not in rows[0]:
        raise CutisError(f"{path} needs the columns image_name and fold_1_pred, fold_2_pred, ...")
    absent = sorted(set(range(1, columns[-1][0] + 1)) - {number for number, _ in columns})
    if absent:
        raise CutisError(f"{path} has no column fold_{absent[0]}_pred: add it, or number the folds without a gap")
    ids = [row["image_name"] for row in rows]
    for problem, names in (
        (
            "in it twice: keep one row",
            {name for name in ids if ids.count(name) > 1} if len(set(ids)) < len(ids) else set(),
        ),
        ("unknown to the labels: add their labels or remove their rows", set(ids) - labels.keys()),
        ("missing from it: add their predictions or remove their labels", labels.keys() - set(ids)),
    ):
        if names:
            raise CutisError(f"{path}: {len(names)} images are {problem}: {', '.join(sorted(names)[:5])}")
    index = {name: number for number, name in enumerate(classes)}
    for row in rows:
        for name in (labels[row["image_name"]][0], *(row[column] for _, column in columns)):
            if name not in index:
                raise CutisError(
                    f"{path}: {row['image_name']} has the unknown class {name!r}; known: {', '.join(classes)}"
                )
    truth = np.array([index[labels[name][0]] for name in ids])
    answers = np.array([[index[row[column]] for row in rows] for _, column in columns])
    return Folds(ids, [labels[name][1] for name in ids], truth, answers)


def measures(folds: Folds, classes: int) -> dict[str, NDArray[np.float64]]:
    """Each measure's value in every fold, (F,); mean and SD are the reader's."""
    m = np.stack([c.confusion_matrix(folds.truth, answer, classes) for answer in folds.answers])
    found = {"accuracy": c.accuracy(m), "balanced_accuracy": c.balanced_accuracy(m), "kappa": c.cohen_kappa(m)}
    for name, of in (("precision", c.precision), ("recall", c.recall), ("f1", c.f1)):
        found |= {f"macro_{name}": c.macro(of(m), m), f"weighted_{name}": c.weighted(of(m), m)}
    return found


def share_seen(folds: Folds, training: dict[str, tuple[str, str]]) -> float:
    """Share of the images whose lesion is among those of the training labels."""
    seen = {lesion for _, lesion in training.values()}
    return float(np.mean([lesion in seen for lesion in folds.lesions]))
