"""What a classifier learns from samples: class indices, checked before anything is trained on them.

Classes of the lesion network are in alphabetical order (as SE-LCN's published predictions are); of the symmetry network
in the order of SymDerm's codes, where "symmetric" is one axis or two (SE-LCN, Sec. 4.1.2).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cutis.data.samples import Sample
from cutis.errors import CutisError

__all__ = ["CLASSES_OF", "LESION_CLASSES", "SYMMETRY_CLASSES", "Task", "label_indices", "refuse_absent"]

Task = Literal["symmetry", "lesion_class"]
LESION_CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
SYMMETRY_CLASSES = {2: ("asymmetric", "symmetric"), 3: ("asymmetric", "one_axis", "two_axes")}
CLASSES_OF: dict[tuple[Task, int], tuple[str, ...]] = {
    ("lesion_class", 7): LESION_CLASSES,
    ("lesion_class", 2): ("benign", "malignant"),  # ISIC 2016
    ("symmetry", 2): SYMMETRY_CLASSES[2],
    ("symmetry", 3): SYMMETRY_CLASSES[3],
}
"""(task, how many) -> the classes in the order of the network's outputs."""


def label_indices(samples: Sequence[Sample], task: Task, classes: Sequence[str]) -> NDArray[np.int64]:
    """Each sample's place in `classes`. CutisError names the first sample without a class, of an unknown one, or two.

    >>> from pathlib import Path
    >>> pictures = [Sample(id=str(code), image=Path("x.png"), symmetry=code) for code in (0, 1, 2)]
    >>> label_indices(pictures, "symmetry", SYMMETRY_CLASSES[2]).tolist()
    [0, 1, 1]
    """
    labels = [_label(sample, task, len(classes)) for sample in samples]
    named: defaultdict[str, set[str]] = defaultdict(set)
    for sample, label in zip(samples, labels, strict=True):
        if label not in classes:
            raise CutisError(
                f"{sample.dataset} {sample.id} has the class {label!r}; the network knows {', '.join(classes)}: "
                "correct its label, or name the class in the field 'leave_out'"
            )
        named[sample.id].add(label)
    for name, found in named.items():
        if len(found) > 1:
            raise CutisError(f"{name} is in the classes {' and '.join(sorted(found))}: correct its labels to one")
    return np.array([classes.index(label) for label in labels], np.int64)


def refuse_absent(labels: NDArray[np.int64], classes: Sequence[str], part: str) -> None:
    """CutisError if a class has no image in `part` (of a split or fold)."""
    absent = [name for index, name in enumerate(classes) if index not in labels]
    if absent:
        raise CutisError(
            f"the {part} part has no image of {', '.join(absent)}: take fewer folds, another seed or share, more data"
        )


def _label(sample: Sample, task: Task, classes: int) -> str:
    if task == "lesion_class":
        if sample.label is None:
            raise CutisError(
                f"{sample.dataset} {sample.id} has no class: add it to the data set's table or take the image out"
            )
        return sample.label
    if sample.symmetry is None:
        raise CutisError(
            f"{sample.dataset} {sample.id} has no symmetry: add it to the data set's table or take the image out"
        )
    names = SYMMETRY_CLASSES[classes]
    return names[min(sample.symmetry, classes - 1)] if 0 <= sample.symmetry <= 2 else str(sample.symmetry)
