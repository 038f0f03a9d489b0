"""Kvasir-SEG: 1,000 colonoscopy images of polyps with their masks, for what is learned beyond skin.

Jha et al., "Kvasir-SEG: a segmented polyp dataset" (MMM 2020, arXiv:1911.07069). Layout: `Kvasir-SEG/images`,
`Kvasir-SEG/masks` (JPEG, the same names), `kavsir_bboxes.json`. The archive names no split; a `split.csv` (image_id,
split) beside the folders is taken as the official one.
"""

from __future__ import annotations

from pathlib import Path

from cutis.data.layout import files_by_stem, first_match, read_table, without_image
from cutis.data.samples import Dataset, Sample

__all__ = ["read_kvasir_seg"]

_SPLIT_NAMES = {"val": "validation", "valid": "validation"}


def read_kvasir_seg(root: Path) -> Dataset:
    """Kvasir-SEG; each image is its own group."""
    images, masks = (files_by_stem(first_match(root, name)) for name in ("images", "masks"))
    table = first_match(root, "split.csv")
    splits = (
        {row["image_id"]: _SPLIT_NAMES.get(row["split"], row["split"]) for row in read_table(table)} if table else {}
    )
    samples = tuple(
        Sample(id=name, image=path, dataset="kvasir_seg", mask=masks.get(name), split=splits.get(name))
        for name, path in images.items()
    )
    return Dataset("kvasir_seg", root, samples, (), without_image(images, splits), without_image(images, masks))
