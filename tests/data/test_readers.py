"""Each data set is read from a tiny tree in its official layout, with the traps that the real archives hold."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cutis.data.catalogue import READERS, open_all, open_dataset, recognise
from cutis.data.samples import Dataset, Sample
from cutis.data.splits import crossing, lesions
from cutis.data.synthetic import write_folder
from cutis.errors import CutisError


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(zlib.crc32(path.name.encode())).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def mask(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((6, 8), np.uint8)
    pixels[2:4, 3:6] = 255
    Image.fromarray(pixels).save(path)


def table(path: Path, rows: Iterable[Iterable[object]], delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8-sig") as stream:
        csv.writer(stream, delimiter=delimiter).writerows(rows)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def isic2016(root: Path) -> None:
    for word, ids in {"Training": ("ISIC_0000000", "ISIC_0000002"), "Test": ("ISIC_0000003",)}.items():
        for name in ids:
            image(root / f"ISBI2016_ISIC_Part1_{word}_Data" / f"{name}.jpg")
            mask(root / f"ISBI2016_ISIC_Part1_{word}_GroundTruth" / f"{name}_Segmentation.png")
    table(
        root / "ISBI2016_ISIC_Part3_Training_GroundTruth.csv",
        [("ISIC_0000000", "benign"), ("ISIC_0000002", "malignant")],
    )
    table(root / "ISBI2016_ISIC_Part3_Test_GroundTruth.csv", [("ISIC_0000003", "1.0")])


def isic2017(root: Path) -> None:
    for word, name in (("Training", "ISIC_0000000"), ("Training", "ISIC_0000002"), ("Validation", "ISIC_0001769")):
        image(root / f"ISIC-2017_{word}_Data" / f"{name}.jpg")
        image(root / f"ISIC-2017_{word}_Data" / f"{name}_superpixels.png")
        mask(root / f"ISIC-2017_{word}_Part1_GroundTruth" / f"{name}_segmentation.png")
    image(root / "ISIC-2017_Test_v2_Data" / "ISIC_0012086.jpg")
    head = ("image_id", "melanoma", "seborrheic_keratosis")
    table(
        root / "ISIC-2017_Training_Part3_GroundTruth.csv",
        [head, ("ISIC_0000000", "0.0", "0.0"), ("ISIC_0000002", "1.0", "0.0")],
    )
    table(
        root / "ISIC-2017_Validation_Part3_GroundTruth.csv",
        [head, ("ISIC_0001769", "0.0", "1.0"), ("ISIC_0009999", "0.0", "0.0")],
    )


def isic2018_task1(root: Path) -> None:
    for name in ("ISIC_0000000", "ISIC_0000001"):
        image(root / "ISIC2018_Task1-2_Training_Input" / f"{name}.jpg")
        image(root / "ISIC2018_Task1-2_Training_Input" / f"._{name}.jpg")
    mask(root / "ISIC2018_Task1_Training_GroundTruth" / "ISIC_0000000_segmentation.png")
    mask(root / "ISIC2018_Task1_Training_GroundTruth" / "ISIC_0000003_segmentation.png")
    image(root / "ISIC2018_Task1-2_Validation_Input" / "ISIC_0012255.jpg")
    text(root / "ISIC2018_Task1-2_Training_Input" / "ATTRIBUTION.txt", "CC")


def isic2018_task3(root: Path) -> None:
    head = ("image", "MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
    for word, name in (("Training", "ISIC_0024306"), ("Training", "ISIC_0024307"), ("Test", "ISIC_0034524")):
        image(root / f"ISIC2018_Task3_{word}_Input" / f"{name}.jpg")
    folder = root / "ISIC2018_Task3_Training_GroundTruth"
    rows = [head, ("ISIC_0024306", 0, 1, 0, 0, 0, 0, 0), ("ISIC_0024307", 0, 0, 0, 0, 0, 0, 1)]
    table(folder / "ISIC2018_Task3_Training_GroundTruth.csv", rows)
    table(
        folder / "ISIC2018_Task3_Training_LesionGroupings.csv",
        [("image", "lesion_id"), ("ISIC_0024306", "HAM_0000550")],
    )


def isic2019(root: Path) -> None:
    head = ("image", "MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
    folder = root / "ISIC_2019_Training_Input" / "ISIC_2019_Training_Input"
    for name in ("ISIC_0000001", "ISIC_0000002_downsampled", "ISIC_0000003"):
        image(folder / f"{name}.jpg")
    rows = [
        ("ISIC_0000001", *"000000010"), ("ISIC_0000002_downsampled", *"000100000"), ("ISIC_0000004", *"100000000"),
    ]  # fmt: skip
    table(root / "ISIC_2019_Training_GroundTruth.csv", [head, *rows])
    table(
        root / "ISIC_2019_Training_Metadata.csv",
        [
            ("image", "age_approx", "anatom_site_general", "lesion_id", "sex"),
            ("ISIC_0000001", "55.0", "anterior torso", "BCN_0000001", "female"),
            ("ISIC_0000002_downsampled", "", "", "", "male"),
        ],
    )


def ham10000(root: Path, suffix: str = ".csv", delimiter: str = ",") -> None:
    image(root / "HAM10000_images_part_1" / "ISIC_0024306.jpg")
    image(root / "HAM10000_images_part_2" / "HAM10000_images_part_2" / "ISIC_0029306.jpg")
    for name in ("ISIC_0024306", "ISIC_0029306"):
        mask(root / "HAM10000_segmentations_lesion_tschandl" / f"{name}_segmentation.png")
    rows = [
        ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"),
        ("HAM_0000118", "ISIC_0024306", "bkl", "histo", "80.0", "male", "scalp"),
        ("HAM_0000118", "ISIC_0029306", "bkl", "histo", "", "male", "scalp"),
        ("HAM_0000119", "ISIC_0030000", "nv", "histo", "40.0", "male", "back"),
    ]
    table(root / f"HAM10000_metadata{suffix}", rows, delimiter)


def ph2(root: Path) -> None:
    for name in ("IMD002", "IMD058"):
        case = root / "PH2Dataset" / "PH2 Dataset images" / name
        image(case / f"{name}_Dermoscopic_Image" / f"{name}.bmp")
        mask(case / f"{name}_lesion" / f"{name}_lesion.bmp")
        mask(case / f"{name}_roi" / f"{name}_R1_Label1.bmp")
    text(
        root / "PH2Dataset" / "PH2_dataset.txt",
        "||   Name   ||   Histological Diagnosis   || Clinical Diagnosis || Asymmetry || Pigment Network || Colors ||\n"
        "|| IMD002   ||                            ||         1          ||     1     ||        T        ||  4     ||\n"
        "|| IMD058   ||          Melanoma          ||         2          ||     2     ||        AT       ||  3  4  ||\n"
        "|| IMD061   ||                            ||         0          ||     0     ||        T        ||  3     ||\n"
        "\nLegends for Asymmetry\n0 - Fully Symmetric\n1 - Symmetric in 1 axe\n2 - Fully Asymmetric\n",
    )


def derm7pt(root: Path) -> None:
    image(root / "release_v0" / "images" / "NEL" / "NEL026.jpg")
    image(root / "release_v0" / "images" / "NEL" / "Nel027.jpg")
    image(root / "release_v0" / "images" / "Fgl" / "Fgl067.jpg")
    head = ("case_num", "diagnosis", "streaks", "clinic", "derm")
    rows = [
        (1, "reed or spitz nevus", "absent", "NEL/NEL025.JPG", "NEL/Nel026.jpg"),
        (2, "melanoma (in situ)", "irregular", "NEL/NEL028.JPG", "NEL/Nel027.jpg"),
        (3, "lentigo", "absent", "x.jpg", "Gbl/Gbl001.jpg"),
        (4, "basal cell carcinoma", "absent", "y.jpg", "Fgl/Fgl067.jpg"),
    ]
    table(root / "release_v0" / "meta" / "meta.csv", [head, *rows])
    for name, index in (("train", 0), ("valid", 3), ("test", 1)):
        table(root / "release_v0" / "meta" / f"{name}_indexes.csv", [("indexes",), (index,)])


def symderm_v2(root: Path) -> None:
    ham10000(root / "ham")
    ph2(root / "ph2")
    head = ("File", "Mask", "Dataset", "labels_symmetry")
    rows = [
        ("ISIC_0024306.jpg", "ISIC_0024306.png", "HAM10000", 2),
        ("ISIC_0029306.jpg", "ISIC_0029306.png", "HAM10000", 1),
        ("IMD058.bmp", "IMD058.png", "PH2", 0),
        ("10_orig.jpg", "10_orig.png", "dermis", 2),
    ]
    table(root / "symderm" / "SymDerm_v2_labels.csv", [head, *rows])
    table(root / "symderm" / "SymDerm_v2_train.csv", [head, (*rows[0][:3], 1), rows[2]])
    table(root / "symderm" / "SymDerm_v2_test.csv", [head, rows[1], rows[3]])


def kvasir_seg(root: Path) -> None:
    for name in ("cju0", "cju1"):
        image(root / "Kvasir-SEG" / "images" / f"{name}.jpg")
        mask(root / "Kvasir-SEG" / "masks" / f"{name}.jpg")
    table(
        root / "Kvasir-SEG" / "split.csv", [("image_id", "split"), ("cju0", "train"), ("cju1", "val"), ("cju2", "test")]
    )


def covid_qu_ex(root: Path) -> None:
    lung = root / "Lung Segmentation Data" / "Lung Segmentation Data"
    infection = root / "Infection Segmentation Data" / "Infection Segmentation Data"
    for home, word, kinds in ((lung, "Train", ["lung masks"]), (infection, "Test", ["lung masks", "infection masks"])):
        image(home / word / "COVID-19" / "images" / "covid_1.png")
        for kind in kinds:
            mask(home / word / "COVID-19" / kind / "covid_1.png")
    image(lung / "Val" / "Normal" / "images" / "Normal (7).png")


def folder(root: Path) -> None:
    write_folder(root, 3, seed=0, width=32, height=24)


TREES = {
    "isic2016": isic2016, "isic2017": isic2017, "isic2018_task1": isic2018_task1, "isic2018_task3": isic2018_task3,
    "isic2019": isic2019, "ham10000": ham10000, "ph2": ph2, "derm7pt": derm7pt, "symderm_v2": symderm_v2,
    "kvasir_seg": kvasir_seg, "covid_qu_ex": covid_qu_ex, "folder": folder,
}  # fmt: skip


def by_id(dataset: Dataset) -> dict[str, Sample]:
    return {sample.id: sample for sample in dataset}


def test_every_reader_has_a_tree() -> None:
    assert list(TREES) == list(READERS)


@pytest.mark.parametrize("name", TREES)
def test_each_layout_is_recognised_and_read(name: str, tmp_path: Path) -> None:
    home = tmp_path / "parent" / name
    TREES[name](home)
    for root in (home,) if name == "folder" else (home, tmp_path / "parent"):
        assert name in recognise(root)
        dataset = open_dataset(root, name)
        assert dataset.name == name and len(dataset) > 0
        assert len(by_id(dataset)) == len(dataset)
        for sample in dataset:
            assert sample.dataset == name and sample.image.is_file()
            assert sample.mask is None or sample.mask.is_file()
            assert sample.label is None or sample.label in dataset.classes
            assert sample.split in {None, "train", "validation", "test"}
    if name != "symderm_v2":
        assert recognise(home) == [name] and open_dataset(home) == open_dataset(home, name)


def test_isic2016(tmp_path: Path) -> None:
    isic2016(tmp_path)
    found = by_id(open_dataset(tmp_path))
    assert {name: (s.split, s.label) for name, s in found.items()} == {
        "ISIC_0000000": ("train", "benign"),
        "ISIC_0000002": ("train", "malignant"),
        "ISIC_0000003": ("test", "malignant"),
    }
    assert all(sample.mask is not None for sample in found.values())


def test_isic2017(tmp_path: Path) -> None:
    isic2017(tmp_path)
    dataset = open_dataset(tmp_path)
    assert {name: (s.split, s.label, s.mask is not None) for name, s in by_id(dataset).items()} == {
        "ISIC_0000000": ("train", "nevus", True),
        "ISIC_0000002": ("train", "melanoma", True),
        "ISIC_0001769": ("validation", "seborrheic_keratosis", True),
        "ISIC_0012086": ("test", None, False),
    }
    assert dataset.absent == ("ISIC_0009999",)


def test_isic2018_task1(tmp_path: Path) -> None:
    isic2018_task1(tmp_path)
    dataset = open_dataset(tmp_path)
    found = by_id(dataset)
    assert {name: (s.split, s.mask is not None) for name, s in found.items()} == {
        "ISIC_0000000": ("train", True),
        "ISIC_0000001": ("train", False),
        "ISIC_0012255": ("validation", False),
    }
    assert dataset.absent == () and dataset.orphans == ("ISIC_0000003",)


def test_isic2018_task3(tmp_path: Path) -> None:
    isic2018_task3(tmp_path)
    found = by_id(open_dataset(tmp_path))
    assert {name: (s.split, s.label, s.group) for name, s in found.items()} == {
        "ISIC_0024306": ("train", "nv", "HAM_0000550"),
        "ISIC_0024307": ("train", "vasc", "ISIC_0024307"),
        "ISIC_0034524": ("test", None, "ISIC_0034524"),
    }


def test_isic2019(tmp_path: Path) -> None:
    isic2019(tmp_path)
    dataset = open_dataset(tmp_path)
    found = by_id(dataset)
    assert {name: (s.label, s.group) for name, s in found.items()} == {
        "ISIC_0000001": ("scc", "BCN_0000001"),
        "ISIC_0000002": ("akiec", "ISIC_0000002"),
        "ISIC_0000003": (None, "ISIC_0000003"),
    }
    assert found["ISIC_0000001"].extra == {
        "age_approx": "55.0",
        "sex": "female",
        "anatom_site_general": "anterior torso",
    }
    assert dataset.absent == ("ISIC_0000004",)


@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".tab", "\t"), ("", ",")])
def test_ham10000(tmp_path: Path, suffix: str, delimiter: str) -> None:
    ham10000(tmp_path, suffix, delimiter)
    dataset = open_dataset(tmp_path)
    one, other = dataset.samples
    assert one.group == other.group == "HAM_0000118" and one.label == "bkl"
    assert one.extra == {"age": "80.0", "sex": "male", "localization": "scalp", "dx_type": "histo"}
    assert "age" not in other.extra
    assert dataset.absent == ("ISIC_0030000",)


def test_ph2_counts_axes_as_symderm_does(tmp_path: Path) -> None:
    ph2(tmp_path)
    dataset = open_dataset(tmp_path)
    assert {name: (s.label, s.symmetry, s.extra["asymmetry"]) for name, s in by_id(dataset).items()} == {
        "IMD002": ("atypical_nevus", 1, "1"),
        "IMD058": ("melanoma", 0, "2"),
    }
    assert dataset.samples[0].mask == (
        dataset.root / "PH2 Dataset images" / "IMD002" / "IMD002_lesion" / "IMD002_lesion.bmp"
    )
    assert dataset.absent == ("IMD061",)


def test_derm7pt(tmp_path: Path) -> None:
    derm7pt(tmp_path)
    dataset = open_dataset(tmp_path)
    assert {name: (s.label, s.split, s.extra["streaks"]) for name, s in by_id(dataset).items()} == {
        "Nel026": ("nevus", "train", "absent"),
        "Nel027": ("melanoma", "test", "irregular"),
        "Fgl067": ("basal_cell_carcinoma", "validation", "absent"),
    }
    assert dataset.absent == ("Gbl001",)


def test_symderm_joins_images_masks_and_lesions(tmp_path: Path) -> None:
    symderm_v2(tmp_path)
    dataset = open_dataset(tmp_path, "symderm_v2")
    assert open_dataset(tmp_path / "symderm") == dataset
    found = by_id(dataset)
    assert {name: (s.symmetry, s.label, s.split, s.group, s.extra["source"]) for name, s in found.items()} == {
        "ISIC_0024306": (2, "two_axes", "train", "HAM_0000118", "ham10000"),
        "ISIC_0029306": (1, "one_axis", "test", "HAM_0000118", "ham10000"),
        "IMD058": (0, "asymmetric", "train", "IMD058", "ph2"),
    }
    assert found["IMD058"].symmetry == by_id(open_dataset(tmp_path, "ph2"))["IMD058"].symmetry
    assert all(sample.mask is not None for sample in dataset)
    assert dataset.absent == ("10_orig",)
    parts = {name: [sample for sample in dataset if sample.split == name] for name in ("train", "test")}
    assert crossing(parts) == {"HAM_0000118": ("test", "train")}


def test_kvasir_seg(tmp_path: Path) -> None:
    kvasir_seg(tmp_path)
    dataset = open_dataset(tmp_path)
    assert [(s.id, s.split, s.mask is not None) for s in dataset] == [
        ("cju0", "train", True),
        ("cju1", "validation", True),
    ]
    assert dataset.absent == ("cju2",)


def test_covid_qu_ex(tmp_path: Path) -> None:
    covid_qu_ex(tmp_path)
    found = by_id(open_dataset(tmp_path))
    assert {name: (s.label, s.split) for name, s in found.items()} == {
        "lung/covid_1": ("COVID-19", "train"),
        "lung/Normal (7)": ("Normal", "validation"),
        "infection/covid_1": ("COVID-19", "test"),
    }
    infection = found["infection/covid_1"]
    assert infection.mask is not None and infection.mask.parent.name == "infection masks"
    assert Path(infection.extra["lung_mask"]).parent.name == "lung masks"
    assert len(lesions(found.values())) == 2


def test_folder_with_masks_beside(tmp_path: Path) -> None:
    image(tmp_path / "left" / "a.jpg")
    mask(tmp_path / "left" / "a_mask.png")
    image(tmp_path / "a.jpg")
    mask(tmp_path / "a_Segmentation.png")
    image(tmp_path / "face_mask.jpg")
    image(tmp_path / ".trash" / "b.jpg")
    found = by_id(open_dataset(tmp_path))
    assert {name: s.mask and s.mask.name for name, s in found.items()} == {
        "left/a": "a_mask.png", "a": "a_Segmentation.png", "face_mask": None,
    }  # fmt: skip


def test_folder_with_masks_apart_and_labels(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png", "b.tif", "c.bmp"):
        image(tmp_path / "images" / name)
    mask(tmp_path / "masks" / "a.png")
    mask(tmp_path / "masks" / "c_seg.png")
    mask(tmp_path / "masks" / "gone.png")
    rows = [("id", "label", "group", "split"), ("a.jpg", "nevus", "patient 1", "train"), ("c", "", "patient 1", "")]
    table(tmp_path / "labels.csv", rows)
    dataset = open_dataset(tmp_path)
    assert {s.id: (s.mask and s.mask.name, s.label, s.group, s.split) for s in dataset} == {
        "a": ("a.png", "nevus", "patient 1", "train"),
        "b.png": (None, None, "b.png", None),
        "b.tif": (None, None, "b.tif", None),
        "c": ("c_seg.png", None, "patient 1", None),
    }
    assert dataset.classes == ("nevus",) and dataset.orphans == ("gone",)


@pytest.mark.parametrize(
    ("rows", "message"),
    [([("name",), ("a",)], "no column 'id'"), ([("id", "symmetry"), ("a", "yes")], "0, 1 or 2 axes")],
)
def test_folder_with_wrong_labels(tmp_path: Path, rows: list[tuple[str, ...]], message: str) -> None:
    image(tmp_path / "a.jpg")
    table(tmp_path / "labels.csv", rows)
    with pytest.raises(CutisError, match=message):
        open_dataset(tmp_path)


def test_symmetry_of_drawn_lesions_is_read(tmp_path: Path) -> None:
    folder(tmp_path)
    assert [sample.symmetry for sample in open_dataset(tmp_path)] == [2, 1, 0]


def test_several_data_sets_under_one_root(tmp_path: Path) -> None:
    isic2017(tmp_path / "a")
    isic2018_task1(tmp_path / "b")
    assert [dataset.name for dataset in open_all(tmp_path)] == ["isic2017", "isic2018_task1"]
    with pytest.raises(CutisError, match="holds isic2017, isic2018_task1: name one"):
        open_dataset(tmp_path)
    shared = [sample for dataset in open_all(tmp_path) for sample in dataset if sample.id == "ISIC_0000000"]
    assert len(shared) == 2 and len(lesions(shared)) == 1


def test_wrong_roots_are_named(tmp_path: Path) -> None:
    with pytest.raises(CutisError, match="is not a folder"):
        recognise(tmp_path / "nowhere")
    with pytest.raises(CutisError, match="no data set named 'ham'"):
        open_dataset(tmp_path, "ham")
    assert recognise(tmp_path) == []
    for call in (open_dataset, open_all):
        with pytest.raises(CutisError, match=r"holds no .* known layout"):
            call(tmp_path)
    with pytest.raises(CutisError, match="holds no ph2"):
        open_dataset(tmp_path, "ph2")


def test_a_broken_table_is_named(tmp_path: Path) -> None:
    ham10000(tmp_path)
    (tmp_path / "HAM10000_metadata.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(CutisError, match=r"HAM10000_metadata\.csv cannot be read as a table"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    "rows",
    [
        [("lesion", "image", "dx"), ("HAM_1", "ISIC_0024306", "nv")],
        [("lesion_id", "dx"), ("HAM_1", "nv")],
    ],
)
def test_a_table_with_other_columns_is_named(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    ham10000(tmp_path)
    table(tmp_path / "HAM10000_metadata.csv", rows)
    with pytest.raises(CutisError, match=r"is not as ham10000 was published .*image_id"):
        open_dataset(tmp_path)


@pytest.mark.data
def test_research_data(data_root: Path) -> None:
    sets = {dataset.name: dataset for dataset in open_all(data_root)}
    assert {"isic2017", "isic2018_task1", "ham10000", "ph2", "symderm_v2", "kvasir_seg"} <= sets.keys()
    for name in ("isic2017", "isic2018_task1", "ham10000", "ph2", "kvasir_seg"):
        assert all(sample.mask is not None for sample in sets[name])
    assert {sample.split for sample in sets["isic2017"]} == {"train", "validation"}
    assert len({sample.group for sample in sets["ham10000"]}) < len(sets["ham10000"])
    asymmetric = {sample.id: sample.symmetry for sample in sets["ph2"]}
    for sample in sets["symderm_v2"]:
        assert sample.id not in asymmetric or sample.symmetry == asymmetric[sample.id]
