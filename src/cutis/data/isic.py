"""The ISIC challenges of 2016 to 2019 in the folders of their official archives.

Gutman et al. (2016, arXiv:1605.01397); Codella et al. (2017, arXiv:1710.05006; 2018, arXiv:1902.03368); Combalia et al.
(BCN20000, part of 2019, arXiv:1908.02288). The years share images under the same ids (2016 and 2017 lie in 2018 task 1,
HAM10000 lies in 2018 task 3 and in 2019), so splits join by id across data sets. Images of 2019 that are named
`..._downsampled` keep the id without it. Superpixel files beside the images of 2017 are not images of the set.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from cutis.data.ham10000 import CLASSES
from cutis.data.layout import files_by_stem, first_match, read_table, without_image
from cutis.data.samples import Dataset, Sample

__all__ = ["read_isic2016", "read_isic2017", "read_isic2018_task1", "read_isic2018_task3", "read_isic2019"]

_SPLITS = {"train": "Training", "validation": "Validation", "test": "Test*"}
_2016_CLASSES = ("benign", "malignant")
_2017_CLASSES = ("nevus", "melanoma", "seborrheic_keratosis")
_2019_CLASSES = (*CLASSES, "scc", "unk")
_Parts = tuple[Path | None, Path | None, Mapping[str, Mapping[str, object]]]
"""Folder of images, folder of masks, and what the tables say of each image, as keywords of `Sample`."""
_EXTRA = ("age_approx", "sex", "anatom_site_general")


def read_isic2016(root: Path) -> Dataset:
    """ISIC 2016: `ISBI2016_ISIC_Part1_<Split>_Data`, `..._Part1_..._GroundTruth` (masks), `..._Part3_...csv` (labels).

    900 training and 379 test images; the label tables of part 3 (benign, malignant) have no header.
    """
    name = "ISBI2016_ISIC_{part}_{word}_{kind}"
    found: dict[str, _Parts] = {}
    for split, word in {"train": "Training", "test": "Test"}.items():
        table = first_match(root, name.format(part="Part3", word=word, kind="GroundTruth.csv"))
        found[split] = (
            first_match(root, *(name.format(part=part, word=word, kind="Data") for part in ("Part1", "Part3"))),
            first_match(root, name.format(part="Part1", word=word, kind="GroundTruth")),
            {image: {"label": label} for image, label in _labels_2016(table).items()},
        )
    return _dataset("isic2016", root, found, _2016_CLASSES)


def read_isic2017(root: Path) -> Dataset:
    """ISIC 2017: `ISIC-2017_<Split>_Data`, `..._Part1_GroundTruth` (masks), `..._Part3_GroundTruth.csv` (labels).

    The split is the official one (2000 / 150 / 600), by the folder an image lies in.
    """
    found: dict[str, _Parts] = {}
    for split, word in _SPLITS.items():
        rows = _table(root, f"ISIC-2017_{word}_Part3_GroundTruth.csv")
        found[split] = (
            first_match(root, f"ISIC-2017_{word}_Data"),
            first_match(root, f"ISIC-2017_{word}_Part1_GroundTruth"),
            {row["image_id"]: {"label": _one_hot(row, _2017_CLASSES) or _2017_CLASSES[0]} for row in rows},
        )
    return _dataset("isic2017", root, found, _2017_CLASSES)


def read_isic2018_task1(root: Path) -> Dataset:
    """ISIC 2018 task 1: `ISIC2018_Task1-2_<Split>_Input` and `ISIC2018_Task1_<Split>_GroundTruth` (masks).

    The 2594 training images are 'train'; the masks of validation and test came out later and are read where they are.
    """
    found: dict[str, _Parts] = {
        split: (
            first_match(root, f"ISIC2018_Task1-2_{word}_Input"),
            first_match(root, f"ISIC2018_Task1_{word}_GroundTruth"),
            {},
        )
        for split, word in _SPLITS.items()
    }
    return _dataset("isic2018_task1", root, found, ())


def read_isic2018_task3(root: Path) -> Dataset:
    """ISIC 2018 task 3: `ISIC2018_Task3_<Split>_Input`, `..._<Split>_GroundTruth(.csv)`, `..._LesionGroupings.csv`.

    Its training images are HAM10000's; the lesion of each is in the groupings table.
    """
    lesions = {row["image"]: row["lesion_id"] for row in _table(root, "ISIC2018_Task3_*LesionGroupings.csv")}
    found: dict[str, _Parts] = {}
    for split, word in _SPLITS.items():
        rows = _table(root, f"ISIC2018_Task3_{word}_GroundTruth*.csv")
        facts = {
            row["image"]: {"label": _one_hot(row, CLASSES), "group": lesions.get(row["image"], "")} for row in rows
        }
        found[split] = (first_match(root, f"ISIC2018_Task3_{word}_Input"), None, facts)
    return _dataset("isic2018_task3", root, found, CLASSES)


def read_isic2019(root: Path) -> Dataset:
    """ISIC 2019: `ISIC_2019_<Split>_Input`, `..._GroundTruth.csv`, `..._Metadata.csv` with age, sex, site and lesion.

    25,331 training images in eight classes (AK is called akiec, as in HAM10000) and, where published, the test labels.
    """
    found: dict[str, _Parts] = {}
    for split, word in {"train": "Training", "test": "Test"}.items():
        facts: dict[str, dict[str, object]] = {}
        for row in _table(root, f"ISIC_2019_{word}_Metadata.csv"):
            extra = {key: row[key] for key in _EXTRA if row.get(key)}
            facts[_plain(row["image"])] = {"group": row.get("lesion_id", ""), "extra": extra}
        for row in _table(root, f"ISIC_2019_{word}_GroundTruth.csv"):
            label = _one_hot({**row, "AKIEC": row.get("AK", "0")}, _2019_CLASSES)
            facts.setdefault(_plain(row["image"]), {})["label"] = label
        found[split] = (first_match(root, f"ISIC_2019_{word}_Input"), None, facts)
    return _dataset("isic2019", root, found, _2019_CLASSES)


def _dataset(
    name: str,
    root: Path,
    found: Mapping[str, _Parts],
    classes: tuple[str, ...],
) -> Dataset:
    """Join, split by split, a folder of images, a folder of masks and what the tables say of each image."""
    samples: list[Sample] = []
    absent: list[str] = []
    orphans: list[str] = []
    for split, (image_folder, mask_folder, facts) in found.items():
        images = files_by_stem(image_folder, suffixes=(".jpg", ".jpeg"), strip=("_downsampled",))
        masks = files_by_stem(mask_folder, strip=("_segmentation",))
        absent += without_image(images, facts)
        orphans += without_image(images, masks)
        for image_id, path in images.items():
            known: Mapping[str, object] = facts.get(image_id, {})
            samples.append(
                Sample(id=image_id, image=path, dataset=name, mask=masks.get(image_id), split=split, **known)  # type: ignore[arg-type]
            )
    return Dataset(name, root, tuple(samples), classes, tuple(absent), tuple(orphans))


def _table(root: Path, pattern: str) -> list[dict[str, str]]:
    """Rows of the table in `root`, or in the folder of its name that the archive may unpack to."""
    path = first_match(root, pattern) or first_match(root, pattern.removesuffix(".csv"))
    if path is not None and path.is_dir():
        path = first_match(path, pattern, "*.csv")
    if path is None and (folder := first_match(root, "*_GroundTruth")) is not None and folder.is_dir():
        path = first_match(folder, pattern)
    return read_table(path) if path else []


def _labels_2016(table: Path | None) -> dict[str, str]:
    if table is None:
        return {}
    with table.open(encoding="utf-8-sig", newline="") as stream:
        rows = [row for row in csv.reader(stream) if row and row[0].startswith("ISIC")]
    return {row[0]: _2016_CLASSES[row[1] in {"malignant", "1", "1.0"}] for row in rows}


def _one_hot(row: Mapping[str, str], classes: tuple[str, ...]) -> str | None:
    """The class whose column holds 1, column names compared without case; None if no column does."""
    values = {column.lower(): value for column, value in row.items()}
    return next((name for name in classes if float(values.get(name) or 0) == 1), None)


def _plain(image_id: str) -> str:
    return image_id.removesuffix("_downsampled")
