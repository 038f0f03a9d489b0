"""COVID-QU-Ex: 33,920 chest X-rays with lung masks, 5,826 of them with infection masks too.

Tahir et al., "COVID-19 infection localization and severity grading from chest X-ray images" (Computers in Biology and
Medicine 139, 2021). Layout (Kaggle): `Lung Segmentation Data/Lung Segmentation Data/<Train|Val|Test>/<class>/images`
and `.../lung masks`; the same under `Infection Segmentation Data` with `infection masks` beside the lung masks.
The two collections hold some of the same X-rays in different splits: the group is the X-ray's name, so that ours never
part them.
"""

from __future__ import annotations

from pathlib import Path

from cutis.data.layout import files_by_stem, first_match, without_image
from cutis.data.samples import Dataset, Sample

__all__ = ["CLASSES", "read_covid_qu_ex"]

CLASSES = ("COVID-19", "Non-COVID", "Normal")
_SPLITS = {"train": "Train", "validation": "Val", "test": "Test"}


def read_covid_qu_ex(root: Path) -> Dataset:
    """Both collections: ids are `lung/<name>` and `infection/<name>`.

    The mask is the lung in the first and the infection in the second, where `extra["lung_mask"]` names the lung's.
    """
    samples: list[Sample] = []
    orphans: list[str] = []
    for collection in ("lung", "infection"):
        home = first_match(root, f"{collection} Segmentation Data")
        home = (first_match(home, home.name) or home) if home else None
        for split, word in _SPLITS.items():
            for label in CLASSES:
                folder = home / word / label if home else None
                found, missing = _class_folder(folder, collection, split, label)
                samples, orphans = samples + found, orphans + missing
    return Dataset("covid_qu_ex", root, tuple(samples), CLASSES, (), tuple(orphans))


def _class_folder(folder: Path | None, collection: str, split: str, label: str) -> tuple[list[Sample], list[str]]:
    if folder is None or not folder.is_dir():
        return [], []
    images, masks, lungs = (
        files_by_stem(first_match(folder, name)) for name in ("images", f"{collection} masks", "lung masks")
    )
    samples = [
        Sample(
            id=f"{collection}/{name}", image=path, dataset="covid_qu_ex", mask=masks.get(name), label=label, group=name,
            split=split, extra={"lung_mask": str(lungs[name])} if collection == "infection" and name in lungs else {},
        )
        for name, path in images.items()
    ]  # fmt: skip
    return samples, [f"{collection}/{name}" for name in without_image(images, masks, lungs)]
