"""Anyone's folder of images, with masks and labels where there are any.

Three layouts, told apart by what is there:

1. `images/` and `masks/`: the same name, or the image's name with `_mask`, `_segmentation`, `_seg` or `_lesion` added;
2. one folder, each mask beside its image: `a.jpg` and `a_mask.png` (or the other endings);
3. images only.

Folders inside them are kept in the id (`images/left/a.jpg` is `left/a`). A `labels.csv` in the folder may add to each
`id` (or file name) any of: `label`, `group` (the lesion or patient), `symmetry` (0, 1, 2 axes), `split` (train,
validation, test).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from cutis.data.layout import IMAGE_SUFFIXES, first_match, read_table, without_image
from cutis.data.samples import Dataset, Sample
from cutis.errors import CutisError

__all__ = ["read_folder"]

_ENDINGS = ("_mask", "_segmentation", "_seg", "_lesion")


def read_folder(root: Path) -> Dataset:
    """Images of `root` with their masks and labels; an image that has no mask has `mask=None`."""
    home = first_match(root, "images")
    if home is not None and home.is_dir():
        images, masks = _pictures(home), _pictures(first_match(root, "masks"))
    else:
        everything = _pictures(root)
        masks = {name: path for name, path in everything.items() if _image_of(name) in everything}
        images = {name: path for name, path in everything.items() if name not in masks}
    by_image = {name if name in images else _image_of(name) or name: path for name, path in masks.items()}
    rows = _rows(first_match(root, "labels.csv"), images)
    samples = tuple(_sample(name, path, by_image.get(name), rows.get(name, {})) for name, path in images.items())
    classes = tuple(sorted({sample.label for sample in samples if sample.label is not None}))
    return Dataset("folder", root, samples, classes, without_image(images, rows), without_image(images, by_image))


def _pictures(folder: Path | None) -> dict[str, Path]:
    """Image files by their path in `folder` without suffix; with it where two would share a name."""
    if folder is None or not folder.is_dir():
        return {}
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    paths = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in paths]
    count = Counter(names)
    return {
        name if count[name] == 1 else path.relative_to(folder).as_posix(): path
        for name, path in zip(names, paths, strict=True)
    }


def _image_of(mask: str) -> str:
    """The name of the image that a mask's name points to."""
    return next((mask[: -len(ending)] for ending in _ENDINGS if mask.lower().endswith(ending)), "")


def _rows(table: Path | None, images: dict[str, Path]) -> dict[str, dict[str, str]]:
    found = {}
    for row in read_table(table) if table else ():
        if "id" not in row:
            raise CutisError(f"{table} has no column 'id': name the image of each row there")
        name = row["id"]
        found[name if name in images else PurePosixPath(name).with_suffix("").as_posix()] = row
    return found


def _sample(name: str, image: Path, mask: Path | None, row: dict[str, str]) -> Sample:
    symmetry = row.get("symmetry")
    if symmetry and symmetry not in {"0", "1", "2"}:
        raise CutisError(f"labels.csv gives {name} the symmetry {symmetry!r}: 0, 1 or 2 axes")
    return Sample(
        id=name, image=image, dataset="folder", mask=mask, label=row.get("label") or None, group=row.get("group", ""),
        symmetry=int(symmetry) if symmetry else None, split=row.get("split") or None,
    )  # fmt: skip
