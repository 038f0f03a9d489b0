"""The papers' splits: counts where they give counts, lists where they give lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from cutis.data.catalogue import open_dataset
from cutis.data.paper_splits import by_lists, paper_split
from cutis.data.samples import Dataset, Sample
from cutis.data.splits import crossing, lesions
from cutis.errors import CutisError


def data_set(name: str, count: int, **known: str) -> Dataset:
    samples = tuple(Sample(id=f"IMG_{n}", image=Path(f"{n}.jpg"), dataset=name, **known) for n in range(count))  # type: ignore[arg-type]
    return Dataset(name, Path(), samples)


@pytest.mark.parametrize(
    ("name", "count", "sizes"),
    [
        ("isic2018_task1", 2594, (1811, 259, 524)),
        ("ph2", 200, (140, 20, 40)),
        ("ham10000", 10015, (1400, 200, 400, 8015)),
        ("ham10000", 2003, (280, 40, 80, 1603)),
        ("isic2018_task1", 1297, (906, 129, 262)),
    ],
)
def test_sparsesegnet_counts(name: str, count: int, sizes: tuple[int, ...]) -> None:
    parts = paper_split(data_set(name, count, split="train"), "sparsesegnet", seed=0)
    assert all(abs(len(part) - size) <= 1 for part, size in zip(parts.values(), sizes, strict=True))
    assert sum(map(len, parts.values())) == count
    if count in (2594, 200, 10015):
        assert tuple(map(len, parts.values())) == sizes


def test_sparsesegnet_keeps_ph2_diagnoses() -> None:
    labels = ["common_nevus"] * 80 + ["atypical_nevus"] * 80 + ["melanoma"] * 40
    samples = tuple(Sample(id=f"IMD{n}", image=Path("x"), dataset="ph2", label=label) for n, label in enumerate(labels))
    parts = paper_split(Dataset("ph2", Path(), samples), "sparsesegnet", seed=0)
    assert [sum(s.label == "melanoma" for s in part) for part in parts.values()] == [28, 4, 8]


def test_later_images_of_isic2018_are_in_no_part() -> None:
    training, later = data_set("isic2018_task1", 100, split="train"), data_set("isic2018_task1", 50, split="test")
    parts = paper_split(Dataset("isic2018_task1", Path(), training.samples + later.samples), "slsnet", seed=0)
    assert {name: len(part) for name, part in parts.items()} == {"train": 80, "validation": 20}


def test_official_splits_are_followed() -> None:
    parts = paper_split(data_set("isic2017", 5, split="validation"), "sparsesegnet", seed=0)
    assert {name: len(part) for name, part in parts.items()} == {"validation": 5}


def test_kvasir_is_dealt_where_no_list_lies_beside_it() -> None:
    parts = paper_split(data_set("kvasir_seg", 1000), "knowledge_mining", seed=0)
    assert {name: len(part) for name, part in parts.items()} == {"train": 800, "validation": 100, "test": 100}
    with pytest.raises(CutisError, match="holds no split of symderm_v2"):
        paper_split(data_set("symderm_v2", 4), "selcn", seed=0)


def test_lists(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("File,labels\nIMG_0.jpg,1\nIMG_99.jpg,1\n")
    (tmp_path / "test.csv").write_text("image_id\nIMG_2\n")
    lists = {"train": tmp_path / "train.csv", "test": tmp_path / "test.csv"}
    parts = by_lists(data_set("any", 4), lists)
    assert {name: [s.id for s in part] for name, part in parts.items()} == {"train": ["IMG_0"], "test": ["IMG_2"]}
    (tmp_path / "test.csv").write_text("image_id\nIMG_0\n")
    with pytest.raises(CutisError, match="IMG_0, which is on the list of 'train' too"):
        by_lists(data_set("any", 4), lists)
    (tmp_path / "test.csv").write_text("picture\nIMG_0\n")
    with pytest.raises(CutisError, match="none of the columns"):
        by_lists(data_set("any", 4), lists)


def test_what_no_paper_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CutisError, match="slsnet names no split of ph2"):
        paper_split(data_set("ph2", 4), "slsnet", seed=0)
    with pytest.raises(CutisError, match="needs `lists`"):
        paper_split(data_set("ham10000", 4), "selcn", seed=0)
    with pytest.raises(CutisError, match="holds not both"):
        paper_split(data_set("ham10000", 4), "selcn", seed=0, lists=tmp_path)


@pytest.mark.data
def test_published_split_of_ham10000_shares_lesions(data_root: Path) -> None:
    """39% of the 1,999 test images show a lesion that is in the training list."""
    ham = open_dataset(data_root, "ham10000")
    parts = paper_split(ham, "selcn", seed=0, lists=data_root / "selcn_published_predictions")
    assert len(parts["train"]) + len(parts["test"]) > 0.99 * len(ham)
    shared = crossing(parts).keys()
    share = sum(sample.group in shared for sample in parts["test"]) / len(parts["test"])
    assert 0.36 < share < 0.42
    ours = paper_split(ham, "sparsesegnet", seed=0)
    assert crossing(ours) == {} and len(lesions(ham)) < len(ham)
