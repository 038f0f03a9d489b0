"""Derm7pt: 1,011 cases of the Interactive Atlas of Dermoscopy with the seven-point checklist.

Kawahara et al., "Seven-point checklist and skin lesion classification using multitask multimodal neural nets" (IEEE
JBHI, 2018). Layout of release_v0: `images/NEL/Nel026.jpg`, `meta/meta.csv`, `meta/train_indexes.csv` (and valid, test).
Each case has a clinical photo too; the dermoscopic one is the sample. The diagnosis is grouped into the authors' five
classes, the finer one and the seven criteria stay in `extra`. The set has no masks.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from cutis.data.layout import files_by_stem, first_match, read_table
from cutis.data.samples import Dataset, Sample
from cutis.errors import CutisError

__all__ = ["CLASSES", "read_derm7pt"]

CLASSES = ("basal_cell_carcinoma", "nevus", "melanoma", "miscellaneous", "seborrheic_keratosis")
_NO_CRITERIA = frozenset({"derm", "clinic", "case_num", "case_id", "notes"})


def read_derm7pt(root: Path) -> Dataset:
    """Derm7pt from the folder that holds `meta` and `images`; the split is the authors' where their index files are."""
    folder = first_match(root, "meta") or root
    table = first_match(folder, "meta.csv")
    if table is None:
        raise CutisError(f"{root} holds no meta/meta.csv: give the unpacked release_v0 folder of Derm7pt")
    splits = _splits(folder)
    images = {stem.lower(): path for stem, path in files_by_stem(first_match(root, "images")).items()}
    samples, absent = [], []
    for number, row in enumerate(read_table(table)):
        name = PurePosixPath(row["derm"]).stem
        if (path := images.get(name.lower())) is None:
            absent.append(name)
            continue
        extra = {key: value for key, value in row.items() if key not in _NO_CRITERIA and value}
        label = _grouped(row["diagnosis"])
        samples.append(
            Sample(id=name, image=path, dataset="derm7pt", label=label, split=splits.get(number), extra=extra)
        )
    return Dataset(
        "derm7pt", root, tuple(sorted(samples, key=lambda sample: sample.id)), CLASSES, tuple(sorted(absent))
    )


def _splits(folder: Path) -> dict[int, str]:
    """Row number in meta.csv -> split."""
    found = {}
    for name, split in (("train", "train"), ("valid", "validation"), ("test", "test")):
        table = first_match(folder, f"{name}_indexes.csv")
        found.update({int(row["indexes"]): split for row in read_table(table)} if table else {})
    return found


def _grouped(diagnosis: str) -> str:
    """The authors' five classes: every nevus is one, every melanoma is one, what is rare is miscellaneous."""
    for name in ("nevus", "melanoma"):
        if name in diagnosis.split():
            return name
    named = diagnosis.replace(" ", "_")
    return named if named in CLASSES else "miscellaneous"
