"""HAM10000: 10,015 dermoscopic images of 7,470 lesions in seven classes, with the lesion masks of Tschandl et al.

Tschandl, Rosendahl and Kittler, "The HAM10000 dataset" (Scientific Data 5, 2018); masks: Tschandl et al.,
"Human-computer collaboration for skin cancer recognition" (Nature Medicine 26, 2020). Layout:
`HAM10000_images_part_1` and `_2`, `HAM10000_metadata` (comma- or tab-separated),
`HAM10000_segmentations_lesion_tschandl`.
Several images show one lesion: the group is `lesion_id`. The set has no official split.
"""

from __future__ import annotations

from pathlib import Path

from cutis.data.layout import files_by_stem, first_match, read_table, without_image
from cutis.data.samples import Dataset, Sample
from cutis.errors import CutisError

__all__ = ["CLASSES", "read_ham10000"]

CLASSES = ("mel", "nv", "bcc", "akiec", "bkl", "df", "vasc")
"""The order of the ISIC 2018 and 2019 challenge tables, so that indices agree across the three sets."""


def read_ham10000(root: Path) -> Dataset:
    """HAM10000 with its label `dx`, its group `lesion_id`, and age, sex, localization, dx_type in `extra`."""
    table = first_match(root, "HAM10000_metadata*.csv", "HAM10000_metadata*")
    if table is None:
        raise CutisError(f"{root} holds no HAM10000_metadata: the lesion of each image is not known without it")
    rows = {row["image_id"]: row for row in read_table(table)}
    images: dict[str, Path] = {}
    for part in ("HAM10000_images_part_1", "HAM10000_images_part_2"):
        images |= files_by_stem(first_match(root, part), suffixes=(".jpg", ".jpeg"))
    masks = files_by_stem(
        first_match(root, "HAM10000_segmentations_lesion_tschandl", "HAM10000_segmentations*"), strip=("_segmentation",)
    )
    samples = tuple(_sample(name, path, masks.get(name), rows.get(name, {})) for name, path in sorted(images.items()))
    return Dataset("ham10000", root, samples, CLASSES, without_image(images, rows), without_image(images, masks))


def _sample(name: str, image: Path, mask: Path | None, row: dict[str, str]) -> Sample:
    extra = {key: row[key] for key in ("age", "sex", "localization", "dx_type") if row.get(key)}
    return Sample(
        id=name,
        image=image,
        dataset="ham10000",
        mask=mask,
        label=row.get("dx"),
        group=row.get("lesion_id", ""),
        extra=extra,
    )
