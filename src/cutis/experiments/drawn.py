"""Drawn lesions in the official layouts of the experiment's data sets: to try the grid where no photograph is.

HAM10000 (seven classes, told apart by a tint; each second lesion twice, as in the real one), SymDerm v2 (the symmetry
that was drawn), ISIC 2019 (some images of HAM10000, some of its own, some of SCC) and ISIC 2016 (two classes).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from cutis.data.labels import LESION_CLASSES
from cutis.data.synthetic import SyntheticLesion, draw_lesion
from cutis.files import atomic_write

__all__ = ["write_tree"]

_ISIC2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
_COLUMN = {"akiec": "AK"} | {name: name.upper() for name in ("bcc", "bkl", "df", "mel", "nv", "vasc", "scc")}


def write_tree(folder: Path, seed: int, *, lesions: int, width: int = 64, height: int = 48) -> Path:
    """Write the four data sets below `folder`, `lesions` lesions a class; the folder. The same for the same seed."""
    drawn = _ham10000(folder / "ham10000", seed, lesions, width, height)
    _symderm(folder / "symderm_v2", drawn)
    _isic2019(folder / "isic2019", drawn, seed, lesions, width, height)
    _isic2016(folder / "isic2016", seed, lesions, width, height)
    return folder


def _ham10000(root: Path, seed: int, lesions: int, width: int, height: int) -> dict[str, tuple[str, SyntheticLesion]]:
    """Image id -> (class, drawing) of what is written."""
    rows: list[Sequence[object]] = [("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")]
    drawn: dict[str, tuple[str, SyntheticLesion]] = {}
    for index, name in enumerate(LESION_CLASSES):
        for number in range(lesions):
            for picture in range(1 + number % 2):
                image_id = f"ISIC_{24306 + len(drawn):07}"
                lesion = _drawn(seed, (0, index, number, picture), index, width, height, number)
                drawn[image_id] = name, lesion
                _save(root / "HAM10000_images_part_1" / f"{image_id}.jpg", lesion)
                _save_mask(root / "HAM10000_segmentations_lesion_tschandl" / f"{image_id}_segmentation.png", lesion)
                rows.append((f"HAM_{index}{number:03}", image_id, name, "histo", "", "", ""))
    _table(root / "HAM10000_metadata.csv", rows)
    return drawn


def _symderm(root: Path, drawn: dict[str, tuple[str, SyntheticLesion]]) -> None:
    rows = [(f"{name}.jpg", f"{name}.png", "HAM10000", lesion.symmetry) for name, (_, lesion) in drawn.items()]
    _table(root / "SymDerm_v2_labels.csv", [("File", "Mask", "Dataset", "labels_symmetry"), *rows])


def _isic2019(
    root: Path, drawn: dict[str, tuple[str, SyntheticLesion]], seed: int, lesions: int, width: int, height: int
) -> None:
    shared = {name: drawn[name] for name in list(drawn)[::5]}
    own = {
        f"ISIC_{70000 + 100 * index + number:07}": (
            name,
            _drawn(seed, (1, index, number), index, width, height, number),
        )
        for index, name in enumerate((*LESION_CLASSES, "scc"))
        for number in range(max(1, lesions // 3))
    }
    rows: list[Sequence[object]] = [("image", *_ISIC2019)]
    for image_id, (name, lesion) in {**shared, **own}.items():
        _save(root / "ISIC_2019_Training_Input" / f"{image_id}.jpg", lesion)
        rows.append((image_id, *(float(column == _COLUMN[name]) for column in _ISIC2019)))
    _table(root / "ISIC_2019_Training_GroundTruth.csv", rows)
    _table(
        root / "ISIC_2019_Training_Metadata.csv", [("image", "age_approx", "anatom_site_general", "lesion_id", "sex")]
    )


def _isic2016(root: Path, seed: int, lesions: int, width: int, height: int) -> None:
    rows: list[Sequence[object]] = []
    for number in range(4 * lesions):
        image_id, malignant = f"ISIC_{number:07}", number % 2
        lesion = _drawn(seed, (2, malignant, number), 3 * malignant, width, height, number)
        _save(root / "ISBI2016_ISIC_Part1_Training_Data" / f"{image_id}.jpg", lesion)
        _save_mask(root / "ISBI2016_ISIC_Part1_Training_GroundTruth" / f"{image_id}_Segmentation.png", lesion)
        rows.append((image_id, ("benign", "malignant")[malignant]))
    _table(root / "ISBI2016_ISIC_Part3_Training_GroundTruth.csv", rows)


def _drawn(seed: int, key: tuple[int, ...], tint: int, width: int, height: int, number: int) -> SyntheticLesion:
    """A lesion whose pigment has the tint of its class: one of seven ways to weaken red, green and blue."""
    rng = np.random.default_rng([seed, *key])
    lesion = draw_lesion(rng, width=width, height=height, symmetry=(0, 1, 2)[number % 3])
    weaker = np.array([tint & 1, tint >> 1 & 1, tint >> 2 & 1]) * 0.45
    kept = 1 - weaker * lesion.mask[..., None]
    image = np.asarray(lesion.image * kept, np.uint8)
    return SyntheticLesion(image, lesion.mask, lesion.hair_mask, lesion.symmetry, lesion.centre, lesion.axis_degrees)


def _save(path: Path, lesion: SyntheticLesion) -> None:
    atomic_write(path, cv2.imencode(".jpg", cv2.cvtColor(lesion.image, cv2.COLOR_RGB2BGR))[1].tobytes())


def _save_mask(path: Path, lesion: SyntheticLesion) -> None:
    atomic_write(path, cv2.imencode(".png", lesion.mask.astype(np.uint8) * 255)[1].tobytes())


def _table(path: Path, rows: Sequence[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    atomic_write(path, text.getvalue())
