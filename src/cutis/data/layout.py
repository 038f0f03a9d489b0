"""Finding files in the folders that data sets are published as: images by stem, tables and folders by name.

Archives unpack with or without an extra folder around them, on Windows in another case, on macOS with `._` companions:
these helpers see the same files each time. Nothing is decoded here.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

from cutis.errors import CutisError

__all__ = ["IMAGE_SUFFIXES", "files_by_stem", "first_match", "folders_below", "listing", "without_image", "read_table"]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})


def files_by_stem(
    folder: Path | None, *, suffixes: Iterable[str] = IMAGE_SUFFIXES, strip: tuple[str, ...] = ()
) -> dict[str, Path]:
    """Files of `folder` and the folders inside it, by name without suffix, sorted.

    `strip` removes endings like `_segmentation` from the names. Endings and suffixes are compared without case. A
    folder that is not there (or None) holds nothing.
    """
    if folder is None:
        return {}
    wanted = {suffix.lower() for suffix in suffixes}
    found: dict[str, Path] = {}
    for parent, name in sorted((parent, name) for parent, _, names in os.walk(folder) for name in names):
        stem, suffix = os.path.splitext(name)  # noqa: PTH122  (ten thousand Path objects take half a second)
        if suffix.lower() in wanted and not name.startswith("."):
            found.setdefault(_without(stem, strip), Path(parent, name))
    return found


def first_match(folder: Path, *patterns: str) -> Path | None:
    """First entry of `folder` (by name, case ignored) that fits a pattern, the patterns tried in order; else None."""
    names = sorted(entry.name for entry in listing(folder)) if folder.is_dir() else []
    for pattern in patterns:
        for name in names:
            if fnmatch(name.lower(), pattern.lower()):
                return folder / name
    return None


def folders_below(root: Path, depth: int) -> Iterator[Path]:
    """`root` and the folders below it, nearest first, at most `depth` levels down; hidden folders are left out."""
    level = [root]
    for _ in range(depth + 1):
        yield from level
        level = [child for folder in level for child in _subfolders(folder)]


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a comma- or tab-separated table with a header line, values stripped; the byte-order mark is ignored."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            delimiter = "\t" if "\t" in stream.readline() else ","
            stream.seek(0)
            rows = csv.DictReader(stream, delimiter=delimiter)
            return [{key: (value or "").strip() for key, value in row.items() if key is not None} for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CutisError(f"{path} cannot be read as a table ({error}): give the data set's own CSV file") from error


def without_image(images: Mapping[str, Path], *listings: Iterable[str]) -> tuple[str, ...]:
    """Ids that a listing (rows of a table, mask files) names but no image stands for, sorted."""
    return tuple(sorted({name for listing in listings for name in listing} - images.keys()))


def listing(folder: Path) -> list[os.DirEntry[str]]:
    """Entries of a folder that are not hidden; none of a folder that may not be read."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except PermissionError:
        return []


def _subfolders(folder: Path) -> list[Path]:
    return sorted(Path(entry.path) for entry in listing(folder) if entry.is_dir())


def _without(stem: str, endings: tuple[str, ...]) -> str:
    for ending in endings:
        if stem.lower().endswith(ending.lower()):
            return stem[: -len(ending)]
    return stem
