"""What the mask and the overlay of an image are called.

As the image, under the same relative path, with .png for the ending. Where images differ in their ending alone (a.jpg
and a.png) all of them keep it: a.jpg.png and a.png.png. So a name depends on what is analysed, not on the order of it.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

__all__ = ["key", "targets", "unused"]


def targets(relatives: Sequence[Path]) -> list[PurePosixPath]:
    """Relative paths of images -> relative paths of their .png outputs, all different on any file system.

    >>> [str(target) for target in targets([Path("a.jpg"), Path("b/c.jpg"), Path("b/c.png")])]
    ['a.png', 'b/c.jpg.png', 'b/c.png.png']
    """
    plain = [PurePosixPath(*(_safe(part) for part in relative.parts)) for relative in relatives]
    stems = Counter(key(path.with_suffix(".png")) for path in plain)
    used: set[str] = set()
    chosen = []
    for path in plain:
        short = path.with_suffix(".png")
        alone = stems[key(short)] == 1 and key(short) not in used
        chosen.append(unused(short if alone else path.with_name(f"{path.name}.png"), used))
    return chosen


def unused(target: PurePosixPath, used: set[str]) -> PurePosixPath:
    """`target`, or numbered if that is used; used from now on."""
    free, number = target, 2
    while key(free) in used:
        free, number = target.with_name(f"{target.stem}.{number}.png"), number + 1
    used.add(key(free))
    return free


def key(path: PurePosixPath) -> str:
    """Windows and macOS take A.png and a.png for one file, and two spellings of an accent too."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def _safe(part: str) -> str:
    """A part of a path that any file system takes: no control characters, no undecodable bytes."""
    return "".join("_" if ord(c) < 32 or 0xD800 <= ord(c) <= 0xDFFF else c for c in part) if part != ".." else "_"
