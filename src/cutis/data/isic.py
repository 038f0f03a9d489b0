"""The ISIC challenges of 2016 to 2019 in the folders of their official archives.

Codella et al., "Skin lesion analysis toward melanoma detection" (ISBI 2017; arXiv:1710.05006; 2018: arXiv:1902.03368),
Gutman et al. (2016, arXiv:1605.01397), Combalia et al. (BCN20000, 2019: arXiv:1908.02288).
The years share images under the same ids (2016 and 2017 lie in 2018 task 1; HAM10000 lies in 2018 task 3 and 2019), so
splits join by id across data sets. Superpixel files beside the images of 2017 are not images of the set.
"""

from __future__ import annotations

from pathlib import Path

from cutis.data.layout import files_by_stem, first_match, listed_images, read_table
from cutis.data.samples import Dataset, Sample

__all__ = ["read_isic2017", "read_isic2018_task1"]

_SPLITS = {"train": "Training", "validation": "Validation", "test": "Test*"}
_2017_CLASSES = ("nevus", "melanoma", "seborrheic_keratosis")


def read_isic2017(root: Path) -> Dataset:
    """ISIC 2017: `ISIC-2017_<Split>_Data`, `..._Part1_GroundTruth` (masks), `..._Part3_GroundTruth.csv` (labels).

    The split is the official one (2000 / 150 / 600), by the folder an image lies in.
    """
    samples: list[Sample] = []
    absent: tuple[str, ...] = ()
    for split, word in _SPLITS.items():
        labels = {row["image_id"]: _label_2017(row) for row in _table(root, f"ISIC-2017_{word}_Part3_GroundTruth.csv")}
        found, missing = _pairs(
            "isic2017", split, labels, first_match(root, f"ISIC-2017_{word}_Data"),
            first_match(root, f"ISIC-2017_{word}_Part1_GroundTruth"),
        )  # fmt: skip
        samples, absent = samples + found, absent + missing
    return Dataset("isic2017", root, tuple(samples), _2017_CLASSES, absent)


def read_isic2018_task1(root: Path) -> Dataset:
    """ISIC 2018 task 1: `ISIC2018_Task1-2_<Split>_Input` and `ISIC2018_Task1_<Split>_GroundTruth` (masks).

    The 2594 training images are 'train'; the masks of validation and test came out later and are read where they are.
    """
    samples: list[Sample] = []
    absent: tuple[str, ...] = ()
    for split, word in _SPLITS.items():
        found, missing = _pairs(
            "isic2018_task1", split, {}, first_match(root, f"ISIC2018_Task1-2_{word}_Input"),
            first_match(root, f"ISIC2018_Task1_{word}_GroundTruth"),
        )  # fmt: skip
        samples, absent = samples + found, absent + missing
    return Dataset("isic2018_task1", root, tuple(samples), (), absent)


def _pairs(
    dataset: str, split: str, labels: dict[str, str], images: Path | None, masks: Path | None
) -> tuple[list[Sample], tuple[str, ...]]:
    """Images with their masks and labels of one split; and the ids that masks or labels name without an image."""
    pictures = files_by_stem(images, suffixes=(".jpg", ".jpeg"))
    outlines = files_by_stem(masks, strip=("_segmentation",))
    samples = [
        Sample(id=name, image=path, dataset=dataset, mask=outlines.get(name), label=labels.get(name), split=split)
        for name, path in pictures.items()
    ]
    return samples, listed_images(pictures, outlines, labels)


def _table(root: Path, *patterns: str) -> list[dict[str, str]]:
    path = first_match(root, *patterns)
    return read_table(path) if path else []


def _label_2017(row: dict[str, str]) -> str:
    for name in _2017_CLASSES[1:]:
        if float(row[name]) == 1:
            return name
    return _2017_CLASSES[0]
