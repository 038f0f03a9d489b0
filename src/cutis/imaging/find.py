"""Find the images in what a user named: files, and folders at any depth, in an order that never changes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from cutis.errors import CutisError
from cutis.imaging.formats import reason, shown, sniff

__all__ = ["find_images"]

# In a folder, files with these endings are meant to be images: those we cannot read are reported, not passed over.
_READ = ("jpg", "jpeg", "jpe", "jfif", "png", "bmp", "dib", "tif", "tiff", "webp")
_REFUSED = ("gif", "heic", "heif", "avif", "jp2", "jxl", "psd", "dng", "cr2", "nef")
_ENDINGS = frozenset(f".{ending}" for ending in _READ + _REFUSED)


def find_images(inputs: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Files and folders -> (path, relative path) of every image, in the order of `inputs`, each folder sorted.

    A file is taken whatever it is called. In a folder, at any depth, files named or built like images are taken; others
    and hidden ones are passed over, and links to folders are not followed. Relative paths start at the folder given
    (for a file: its name) and are unique: where two would be the same, the later one goes under its folder's name. A
    path named twice is taken once.
    """
    if not inputs:
        raise CutisError("no image given: name at least one file or folder")
    found: list[tuple[Path, Path]] = []
    seen: set[str] = set()
    taken: set[str] = set()
    for given in map(Path, inputs):
        for path, relative in _under(given):
            identity = os.path.abspath(path)  # noqa: PTH100 - resolve() would follow links
            if identity in seen:
                continue
            seen.add(identity)
            relative = _unique(relative, path, taken)
            taken.add(_key(relative))
            found.append((path, relative))
    return found


def _under(given: Path) -> Iterator[tuple[Path, Path]]:
    if not os.path.exists(given):  # noqa: PTH110 - answers False where Path.exists() raises
        raise CutisError(f"{shown(given)} does not exist: check the name")
    if not os.path.isdir(given):  # noqa: PTH112
        yield given, Path(given.name)
        return
    empty = True
    for folder, subfolders, files in os.walk(given, onerror=_refuse):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder, name)
            if not name.startswith(".") and _meant_as_image(path):
                empty = False
                yield path, path.relative_to(given)
    if empty:
        raise CutisError(f"{shown(given)} has no image in it: give a folder with JPEG, PNG, BMP, TIFF or WebP files")


def _meant_as_image(path: Path) -> bool:
    if path.suffix.lower() in _ENDINGS:
        return True
    if not path.is_file():
        return False
    try:
        with path.open("rb") as stream:
            return sniff(stream.read(12)) not in (None, "BMP")  # two letters are too little evidence
    except OSError:
        return False


def _refuse(error: OSError) -> None:
    raise CutisError(f"{shown(error.filename)} cannot be read ({reason(error)}): check its permissions") from error


def _unique(relative: Path, path: Path, taken: set[str]) -> Path:
    if _key(relative) not in taken:
        return relative
    folder = path.absolute().parents[len(relative.parts) - 1].name or "root"
    candidate, number = Path(folder, relative), 2
    while _key(candidate) in taken:
        candidate, number = Path(f"{folder}-{number}", relative), number + 1
    return candidate


def _key(relative: Path) -> str:
    return relative.as_posix().casefold()  # Windows and macOS take A.jpg and a.jpg for one file
