"""Every data set by name: which folder layout is which, and the reader that opens it."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

from cutis.data.ham10000 import read_ham10000
from cutis.data.isic import read_isic2017, read_isic2018_task1
from cutis.data.layout import folders_below
from cutis.data.ph2 import read_ph2
from cutis.data.samples import Dataset
from cutis.errors import CutisError

__all__ = ["READERS", "open_all", "open_dataset", "recognise"]

READERS: dict[str, Callable[[Path], Dataset]] = {
    "isic2017": read_isic2017,
    "isic2018_task1": read_isic2018_task1,
    "ham10000": read_ham10000,
    "ph2": read_ph2,
}
"""Data set name -> function that reads it from the folder holding its official files."""

_MARKERS: dict[str, tuple[str, ...]] = {
    "isic2017": ("ISIC-2017_*_Data",),
    "isic2018_task1": ("ISIC2018_Task1-2_*_Input",),
    "ham10000": ("HAM10000_metadata*",),
    "ph2": ("PH2 Dataset images",),
}
_DEPTH = 2


def recognise(root: Path) -> list[str]:
    """Names of the data sets that lie in `root` itself or up to two folders below, in the order of `READERS`."""
    return list(_homes(root))


def open_dataset(root: Path, name: str | None = None) -> Dataset:
    """Read the one data set in `root`, or the one called `name` where there are several."""
    if name is not None and name not in READERS:
        raise CutisError(f"no data set named {name!r}; there are: {', '.join(READERS)}")
    homes = _homes(root)
    if name is None and len(homes) > 1:
        raise CutisError(f"{root} holds {', '.join(homes)}: name one of them")
    chosen = name or next(iter(homes), None)
    if chosen is None or chosen not in homes:
        wanted = name or "data set in a known layout"
        raise CutisError(f"{root} holds no {wanted}: give the folder its official archive unpacks to")
    return READERS[chosen](homes[chosen])


def open_all(root: Path) -> list[Dataset]:
    """Read every data set found in `root`, in the order of `READERS`."""
    homes = _homes(root)
    if not homes:
        raise CutisError(f"{root} holds no data set in a known layout; there are: {', '.join(READERS)}")
    return [READERS[name](home) for name, home in homes.items()]


def _homes(root: Path) -> dict[str, Path]:
    """Data set name -> the folder that holds its files; the nearest to `root`, then the first by name."""
    if not root.is_dir():
        raise CutisError(f"{root} is not a folder: give the folder that holds the data")
    found: dict[str, Path] = {}
    for folder in folders_below(root, _DEPTH):
        names = [entry.name.lower() for entry in folder.iterdir() if not entry.name.startswith(".")]
        for dataset, patterns in _MARKERS.items():
            if dataset not in found and any(fnmatch(name, pattern.lower()) for pattern in patterns for name in names):
                found[dataset] = folder
    return {name: found[name] for name in READERS if name in found}
