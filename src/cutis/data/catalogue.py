"""Every data set by name: which folder layout is which, and the reader that opens it."""

from __future__ import annotations

import os
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

from cutis.data.covid_qu_ex import read_covid_qu_ex
from cutis.data.derm7pt import read_derm7pt
from cutis.data.folder import read_folder
from cutis.data.ham10000 import read_ham10000
from cutis.data.isic import read_isic2016, read_isic2017, read_isic2018_task1, read_isic2018_task3, read_isic2019
from cutis.data.kvasir import read_kvasir_seg
from cutis.data.layout import IMAGE_SUFFIXES, folders_below, listing
from cutis.data.ph2 import read_ph2
from cutis.data.samples import Dataset
from cutis.data.symderm import read_symderm_v2
from cutis.errors import CutisError

__all__ = ["READERS", "open_all", "open_dataset", "recognise"]

_DEPTH = 2
_MARKERS: dict[str, tuple[str, ...]] = {
    "isic2016": ("*/ISBI2016_ISIC_Part?_*_Data",),
    "isic2017": ("*/ISIC-2017_*_Data",),
    "isic2018_task1": ("*/ISIC2018_Task1-2_*_Input",),
    "isic2018_task3": ("*/ISIC2018_Task3_*_Input",),
    "isic2019": ("*/ISIC_2019_*_Input",),
    "ham10000": ("*/HAM10000_metadata*",),
    "ph2": ("*/PH2 Dataset images",),
    "derm7pt": ("*/meta/meta.csv",),
    "symderm_v2": ("*/SymDerm_v2_labels.csv",),
    "kvasir_seg": ("kvasir*/masks", "*/kavsir_bboxes.json"),
    "covid_qu_ex": ("*/Lung Segmentation Data", "*/Infection Segmentation Data"),
}
"""Data set name -> `folder/entry` patterns, compared without case; any of them tells its folder."""
_SYMDERM_SOURCES = (
    "ham10000", "ph2", "isic2018_task1", "isic2017", "isic2016", "isic2018_task3", "isic2019", "derm7pt",
)  # fmt: skip


def read_symderm_with_siblings(root: Path) -> Dataset:
    """SymDerm v2 with the images of the data sets that lie beside its folder."""
    homes = _homes(Path(os.path.normpath(root / "..")))
    sources = [READERS[name](homes[name]) for name in _SYMDERM_SOURCES if name in homes]
    return read_symderm_v2(root, [sample for source in sources for sample in source])


READERS: dict[str, Callable[[Path], Dataset]] = {
    "isic2016": read_isic2016,
    "isic2017": read_isic2017,
    "isic2018_task1": read_isic2018_task1,
    "isic2018_task3": read_isic2018_task3,
    "isic2019": read_isic2019,
    "ham10000": read_ham10000,
    "ph2": read_ph2,
    "derm7pt": read_derm7pt,
    "symderm_v2": read_symderm_with_siblings,
    "kvasir_seg": read_kvasir_seg,
    "covid_qu_ex": read_covid_qu_ex,
    "folder": read_folder,
}
"""Data set name -> function that reads it from the folder holding its official files."""


def recognise(root: Path) -> list[str]:
    """Names of the data sets in `root` or up to two folders below, in the order of `READERS`.

    Where none is found and `root` holds images, it is a 'folder'.
    """
    return list(_homes(root))


def open_dataset(root: Path, name: str | None = None) -> Dataset:
    """Read the one data set in `root`, or the one called `name` where there are several."""
    if name is not None and name not in READERS:
        raise CutisError(f"no data set named {name!r}; there are: {', '.join(READERS)}")
    homes = {"folder": root} if name == "folder" else _homes(root)
    if name is None and len(homes) > 1:
        raise CutisError(f"{root} holds {', '.join(homes)}: name one of them")
    chosen = name or next(iter(homes), None)
    if chosen is None or chosen not in homes:
        raise CutisError(
            f"{root} holds no {name or 'data set in a known layout'}: give the folder its archive unpacks to"
        )
    return _read(chosen, homes[chosen])


def open_all(root: Path) -> list[Dataset]:
    """Read every data set found in `root`, in the order of `READERS`."""
    homes = _homes(root)
    if not homes:
        raise CutisError(f"{root} holds no images in a known layout; known are: {', '.join(READERS)}")
    return [_read(name, home) for name, home in homes.items()]


def _read(name: str, home: Path) -> Dataset:
    try:
        return READERS[name](home)
    except (KeyError, ValueError, OSError) as error:  # a table with other columns or values, a folder that is locked
        raise CutisError(f"{home} is not as {name} was published ({error!r}): unpack its archive again") from error


def _homes(root: Path) -> dict[str, Path]:
    """Data set name -> the folder that holds its files: the nearest to `root`, then the first by name."""
    if not root.is_dir():
        raise CutisError(f"{root} is not a folder: give the folder that holds the data")
    found: dict[str, Path] = {}
    for folder in folders_below(root, _DEPTH):
        entries = _entries(folder)
        for dataset, patterns in _MARKERS.items():
            if dataset not in found and any(fnmatch(name, pattern.lower()) for pattern in patterns for name in entries):
                found[dataset] = folder
    if not found and any(_is_image(path.name) for path in root.rglob("*")):
        found["folder"] = root
    return {name: found[name] for name in READERS if name in found}


def _entries(folder: Path) -> list[str]:
    """What is in the folder but images, as lower-case `folder/entry`; and in its `meta`, the only sign of Derm7pt."""
    name = folder.resolve().name
    names = [entry.name for entry in listing(folder)]
    if "meta" in names and (folder / "meta").is_dir():
        names += [f"meta/{entry.name}" for entry in listing(folder / "meta")]
    return [f"{name}/{entry}".lower() for entry in names if not _is_image(entry)]


def _is_image(name: str) -> bool:
    return name[name.rfind(".") :].lower() in IMAGE_SUFFIXES
