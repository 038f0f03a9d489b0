"""The splits that the papers name, on whatever share of a data set is here.

SparseSegNet, Sec. 4.1; SLSNet, Sec. 4.1; knowledge mining, Sec. 2.6; SE-LCN, Sec. 5.2. Where a paper gives counts but
no list, the counts are dealt with a seed, by lesion and stratified (`splits.deal`), and kept as proportions where
images are absent: the numbers come out, but not the paper's very images. Where a list is published, it is followed.
Differences: SparseSegNet counts 1,500 Derm7pt images, the published set has 1,011; its HAM10000 selection of 2,000 is
not named either, so it is dealt, and the rest is the part 'teacher'. SE-LCN's published lists share lesions between
training and test (`splits.crossing` names them).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from cutis.data.layout import first_match, read_table
from cutis.data.samples import Dataset, Sample
from cutis.data.splits import deal, official
from cutis.errors import CutisError

__all__ = ["by_lists", "paper_split"]

_OFFICIAL = frozenset({
    ("sparsesegnet", "isic2017"), ("slsnet", "isic2017"), ("selcn", "symderm_v2"), ("knowledge_mining", "kvasir_seg"),
    ("knowledge_mining", "covid_qu_ex"),
})  # fmt: skip
_COUNTS: dict[tuple[str, str], dict[str, float]] = {
    ("sparsesegnet", "isic2018_task1"): {"train": 1811, "validation": 259, "test": 524},
    ("sparsesegnet", "ph2"): {"train": 140, "validation": 20, "test": 40},
    ("sparsesegnet", "ham10000"): {"train": 1400, "validation": 200, "test": 400, "teacher": 8015},
    ("sparsesegnet", "derm7pt"): {"train": 1050, "validation": 150, "test": 300},
    ("slsnet", "isic2018_task1"): {"train": 80, "validation": 20},
    ("knowledge_mining", "kvasir_seg"): {"train": 80, "validation": 10, "test": 10},
}
_SELCN_LISTS = {"train": "HAM10000_metadata_train.csv", "test": "HAM10000_metadata_test.csv"}
_ID_COLUMNS = ("image_id", "image", "File", "id")


def paper_split(
    data_set: Dataset, paper: str, *, seed: int, lists: Path | None = None
) -> dict[str, tuple[Sample, ...]]:
    """The split of `data_set` in `paper` ('sparsesegnet', 'slsnet', 'knowledge_mining', 'selcn').

    `seed` deals what the paper only counts. `lists` is the folder of SE-LCN's published metadata (HAM10000 only).
    Images that the paper does not use (ISIC 2018's later validation images, what a list leaves out) are in no part.
    """
    case = (paper, data_set.name)
    if case == ("selcn", "ham10000"):
        return by_lists(data_set, _published(lists))
    placed = [sample for sample in data_set if sample.split is not None]
    if case in _OFFICIAL and placed:
        return official(placed)
    if case in _COUNTS:
        samples = [sample for sample in data_set if data_set.name != "isic2018_task1" or sample.split == "train"]
        return deal(samples, _COUNTS[case], seed)
    if case in _OFFICIAL:
        raise CutisError(f"{data_set.root} holds no split of {data_set.name}: keep the data set's own folders or lists")
    known = ", ".join(" ".join(pair) for pair in sorted({*_OFFICIAL, *_COUNTS, ("selcn", "ham10000")}))
    raise CutisError(f"{paper} names no split of {data_set.name}; known are: {known}")


def by_lists(samples: Iterable[Sample], lists: Mapping[str, Path]) -> dict[str, tuple[Sample, ...]]:
    """Divide as published tables do: part -> CSV file with a column of image names (image_id, image, File or id).

    Listed images that are not here are skipped; an image on two lists is refused.
    """
    part_of: dict[str, str] = {}
    for part, table in lists.items():
        for name in _names(table):
            if part_of.setdefault(name, part) != part:
                raise CutisError(f"{table} lists {name}, which is on the list of '{part_of[name]}' too: correct one")
    parts: dict[str, list[Sample]] = {part: [] for part in lists}
    for sample in samples:
        if sample.id in part_of:
            parts[part_of[sample.id]].append(sample)
    return {part: tuple(found) for part, found in parts.items()}


def _names(table: Path) -> list[str]:
    rows = read_table(table)
    column = next((name for name in _ID_COLUMNS if rows and name in rows[0]), None)
    if column is None:
        raise CutisError(f"{table} has none of the columns {', '.join(_ID_COLUMNS)}: give a list of images")
    return [PurePosixPath(row[column]).stem for row in rows]


def _published(folder: Path | None) -> dict[str, Path]:
    found = {part: first_match(folder, name) for part, name in _SELCN_LISTS.items()} if folder is not None else {}
    lists = {part: path for part, path in found.items() if path is not None}
    if len(lists) < 2:
        where = (
            f"{folder} holds not both of"
            if folder is not None
            else "SE-LCN's HAM10000 split needs `lists`, a folder of"
        )
        raise CutisError(f"{where} {' and '.join(_SELCN_LISTS.values())}: both are with its published predictions")
    return lists
