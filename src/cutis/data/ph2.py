"""PH2: 200 dermoscopic images of melanocytic lesions, with outline, diagnosis and asymmetry by dermatologists.

Mendonca et al., "PH2 - a dermoscopic image database for research and benchmarking" (EMBC 2013). Layout:
`PH2 Dataset images/IMD002/IMD002_Dermoscopic_Image/IMD002.bmp`, `.../IMD002_lesion/IMD002_lesion.bmp`, and
`PH2_dataset.txt` beside the folder (its spreadsheet holds the same and is not read).
PH2 codes asymmetry 0 = symmetric in both axes, 1 = in one, 2 = asymmetric; `Sample.symmetry` counts the axes of
symmetry (SymDerm's code), so it is 2 minus PH2's.
"""

from __future__ import annotations

import re
from pathlib import Path

from cutis.data.layout import files_by_stem, first_match, without_image
from cutis.data.samples import Dataset, Sample
from cutis.errors import CutisError

__all__ = ["CLASSES", "read_ph2"]

CLASSES = ("common_nevus", "atypical_nevus", "melanoma")
"""PH2's clinical diagnoses 0, 1 and 2."""


def read_ph2(root: Path) -> Dataset:
    """PH2 with its clinical diagnosis as label; `extra["asymmetry"]` keeps PH2's own code."""
    folder = first_match(root, "PH2 Dataset images")
    if folder is None:
        raise CutisError(f"{root} holds no folder 'PH2 Dataset images': give the unpacked PH2Dataset folder")
    rows = _rows(first_match(root, "PH2_dataset.txt"))
    images: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    for case in sorted(path for path in folder.iterdir() if path.is_dir()):
        images |= files_by_stem(first_match(case, "*_Dermoscopic_Image"))
        masks |= files_by_stem(first_match(case, "*_lesion"), strip=("_lesion",))
    samples = tuple(_sample(name, path, masks.get(name), rows.get(name)) for name, path in images.items())
    return Dataset("ph2", root, samples, CLASSES, without_image(images, rows), without_image(images, masks))


def _sample(name: str, image: Path, mask: Path | None, codes: tuple[int, int] | None) -> Sample:
    if codes is None:
        return Sample(id=name, image=image, dataset="ph2", mask=mask)
    diagnosis, asymmetry = codes
    return Sample(
        id=name, image=image, dataset="ph2", mask=mask, label=CLASSES[diagnosis], symmetry=2 - asymmetry,
        extra={"asymmetry": str(asymmetry)},
    )  # fmt: skip


def _rows(table: Path | None) -> dict[str, tuple[int, int]]:
    """(diagnosis, asymmetry) by image name; cells are parted by `||` in the official file, by tabs in copies of it."""
    found: dict[str, tuple[int, int]] = {}
    columns: list[str] = []
    for line in table.read_text(encoding="latin-1").splitlines() if table else ():
        cells = [cell.strip() for cell in re.split(r"\|\||\t", line)]
        if "Name" in cells and "Asymmetry" in cells:
            columns = cells
        row = dict(zip(columns, cells, strict=False))
        if re.fullmatch(r"IMD\d+", row.get("Name", "")):
            found[row["Name"]] = (int(row["Clinical Diagnosis"]), int(row["Asymmetry"]))
    return found
