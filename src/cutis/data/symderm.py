"""SymDerm v2: the symmetry of 2,655 lesions, judged by eye: 0 asymmetric, 1 one axis of symmetry, 2 two axes.

Labels of the SE-LCN authors for images of other data sets: `ISIC_*` of HAM10000 and ISIC, `IMD*` of PH2, the
Interactive Atlas (as in Derm7pt), and photographs of DermIS and DermQuest. Layout: `SymDerm_v2_labels.csv`, and
`SymDerm_v2_train.csv` and `_test.csv`, which name the published split but fold code 2 into 1: the codes are read from
the labels.
The published split knows no lesions: several images of one HAM10000 lesion are on both sides (see `splits.crossing`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from cutis.data.layout import files_by_stem, first_match, read_table
from cutis.data.samples import Dataset, Sample
from cutis.errors import CutisError

__all__ = ["CLASSES", "read_symderm_v2"]

CLASSES = ("asymmetric", "one_axis", "two_axes")
"""The label of a sample; its index is `Sample.symmetry`."""


def read_symderm_v2(root: Path, others: Iterable[Sample]) -> Dataset:
    """SymDerm v2, its images (with masks and lesions) taken from `others` by id, else from a folder `images` in `root`.

    Where several of `others` hold an image, the first is taken. What the image's own data set calls the lesion stays in
    `extra["diagnosis"]`, that data set's name in `extra["source"]`.
    """
    table = first_match(root, "SymDerm_v2_labels.csv")
    if table is None:
        raise CutisError(f"{root} holds no SymDerm_v2_labels.csv: the symmetry of each image is not known without it")
    found: dict[str, Sample] = {}
    for other in others:
        found.setdefault(other.id.lower(), other)
    own = {name.lower(): path for name, path in files_by_stem(first_match(root, "images")).items()}
    splits = {
        name: split for split in ("train", "test") for name in _names(first_match(root, f"SymDerm_v2_{split}.csv"))
    }
    samples, absent = [], []
    for row in read_table(table):
        name, code = PurePosixPath(row["File"]).stem, int(row["labels_symmetry"])
        source = found.get(name.lower())
        image = source.image if source else own.get(name.lower())
        if image is None:
            absent.append(name)
            continue
        extra = {"source": source.dataset if source else row["Dataset"]}
        if source and source.label:
            extra["diagnosis"] = source.label
        samples.append(
            Sample(
                id=source.id if source else name, image=image, dataset="symderm_v2", symmetry=code, label=CLASSES[code],
                mask=source.mask if source else None, group=source.group if source else "", split=splits.get(name),
                extra=extra,
            )
        )  # fmt: skip
    return Dataset(
        "symderm_v2", root, tuple(sorted(samples, key=lambda sample: sample.id)), CLASSES, tuple(sorted(absent))
    )


def _names(table: Path | None) -> list[str]:
    return [PurePosixPath(row["File"]).stem for row in read_table(table)] if table else []
