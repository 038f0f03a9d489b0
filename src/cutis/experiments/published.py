"""The authors' published per-image predictions (SE-LCN, table 8b), read as runs of the twelve models.

A folder of `predictions_test_<lesion>[_<symmetry>].csv`, each with image_name, true_label (an index) and one predicted
class a fold. Masks are called none, mask and lae there. From these files models 1 to 4 come out as printed, within the
last digits; models 5 to 12 come out lower than printed, by up to 0.045 in macro F1: they are of other runs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cutis.data.layout import first_match, read_table
from cutis.errors import CutisError
from cutis.experiments.answers import Answers
from cutis.experiments.paper import selcn_tables

__all__ = ["CLASSES", "published_runs"]

CLASSES = ("nv", "mel", "bkl", "bcc", "akiec", "vasc", "df")
"""The authors' order: what `true_label` counts. The index of each was found from HAM10000's own labels."""
_WORDS = {"none": "none", "segmentation": "mask", "lae": "lae"}


def published_runs(folder: Path) -> dict[int, dict[tuple[int, int], Answers]]:
    """Model -> (seed 0, fold from 0) -> answers, each predicted class with probability 1, as no other is published."""
    home = first_match(folder, "test_set") or folder
    found = {}
    for row in selcn_tables()["8b"].rows:
        lesion, symmetry = _WORDS[row.what["lesion"]], _WORDS.get(row.what["symmetry"])
        name = f"predictions_test_{lesion}{f'_{symmetry}' if symmetry else ''}.csv"
        path = first_match(home, name)
        if path is None:
            raise CutisError(f"{home} holds no {name}: give the folder of the authors' published predictions")
        found[row.what["model"]] = _runs(path)
    return found


def _runs(path: Path) -> dict[tuple[int, int], Answers]:
    rows = read_table(path)
    folds = [column for column in (rows[0] if rows else {}) if column.endswith("_pred")]
    if not folds:
        raise CutisError(f"{path} holds no predictions: give the folder as the authors published it")
    try:
        truth = np.array([int(row["true_label"]) for row in rows])
        names = tuple(("ham10000", row["image_name"], row["image_name"]) for row in rows)
        called = {column: [CLASSES.index(row[column]) for row in rows] for column in folds}
    except (KeyError, ValueError) as error:
        raise CutisError(f"{path} is not as the authors published it ({error}): unpack it again") from error
    one = np.eye(len(CLASSES))
    return {(0, fold): Answers(CLASSES, names, truth, one[called[column]]) for fold, column in enumerate(folds)}
