"""`cutis data check`: each fault is planted in a folder of drawn lesions, found, and named; nothing else is."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from cutis.cli import main
from cutis.data.catalogue import open_all, open_dataset
from cutis.data.check import KINDS, Report, check
from cutis.data.check_report import as_record, check_folder, show
from cutis.data.synthetic import write_folder
from cutis.errors import CutisError


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    write_folder(folder, 4, seed=0, width=96, height=72)
    return folder


@pytest.fixture
def lesions(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "lesions"))


def write_mask(path: Path, pixels: object) -> None:
    assert cv2.imwrite(str(path), np.asarray(pixels, np.uint8))


def read_mask(folder: Path, number: int) -> np.ndarray:
    return cv2.imread(str(folder / "masks" / f"lesion_{number:03}.png"), cv2.IMREAD_UNCHANGED)  # type: ignore[return-value]


def found(report: Report) -> list[tuple[str, tuple[str, ...]]]:
    return [(finding.kind, finding.ids) for finding in report.findings]


FAULTS: dict[str, Callable[[Path], object]] = {
    "image_unreadable": lambda root: (root / "images/lesion_001.jpg").write_bytes(
        b"\xff\xd8\xff\xe0 not much of a JPEG"
    ),
    "mask_missing": lambda root: (root / "masks/lesion_001.png").unlink(),
    "mask_orphan": lambda root: (root / "images/lesion_001.jpg").unlink(),
    "mask_unreadable": lambda root: (root / "masks/lesion_001.png").write_bytes(b""),
    "mask_size": lambda root: write_mask(root / "masks/lesion_001.png", read_mask(root, 1)[:60]),
    "mask_empty": lambda root: write_mask(root / "masks/lesion_001.png", np.zeros((72, 96))),
    "mask_full": lambda root: write_mask(root / "masks/lesion_001.png", np.full((72, 96), 255)),
    "mask_not_binary": lambda root: write_mask(
        root / "masks/lesion_001.png", cv2.GaussianBlur(read_mask(root, 1), (0, 0), 3)
    ),
    "mask_zero_one": lambda root: write_mask(root / "masks/lesion_001.png", read_mask(root, 1) // 255),
}


def test_a_clean_folder_is_clean(lesions: Path) -> None:
    report = check([open_dataset(lesions)])
    assert report.findings == () and report.problems == 0 and report.images == 4


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_named(kind: str, lesions: Path) -> None:
    FAULTS[kind](lesions)
    report = check([open_dataset(lesions)])
    assert found(report) == [(kind, ("lesion_001",))]
    assert report.problems == 1
    assert kind == "mask_orphan" or "lesion_001" in str(report.findings[0].file)


def test_a_mask_file_that_is_a_colour_picture_is_no_mask(lesions: Path) -> None:
    shutil.copy(lesions / "images/lesion_000.jpg", lesions / "masks/lesion_001.png")
    assert [kind for kind, _ in found(check([open_dataset(lesions)]))] == ["mask_not_binary"]


def test_a_folder_of_images_alone_lacks_no_masks(lesions: Path) -> None:
    shutil.rmtree(lesions / "masks")
    assert check([open_dataset(lesions)]).findings == ()


def test_copies_under_another_name(lesions: Path) -> None:
    pixels = cv2.imread(str(lesions / "images/lesion_002.jpg"))
    assert cv2.imwrite(str(lesions / "images/again.png"), cv2.resize(pixels, None, fx=0.75, fy=0.75))
    shutil.copy(lesions / "masks/lesion_001.png", lesions / "masks/again.png")
    kinds = dict(found(check([open_dataset(lesions)])))
    assert kinds["duplicate"] == ("folder/again", "folder/lesion_002")
    assert kinds.keys() == {"duplicate", "mask_size"}


def test_what_crosses_the_split(lesions: Path) -> None:
    shutil.copy(lesions / "images/lesion_000.jpg", lesions / "images/copy.jpg")
    shutil.copy(lesions / "masks/lesion_000.png", lesions / "masks/copy.png")
    rows = ["id,group,split", "lesion_000,,train", "copy,,test", "lesion_001,one,train", "lesion_002,one,test"]
    (lesions / "labels.csv").write_text("\n".join(rows))
    report = check([open_dataset(lesions)])
    assert found(report) == [
        ("lesion_across_split", ("one",)),
        ("duplicate_across_split", ("folder/copy", "folder/lesion_000")),
    ]
    assert report.findings[1].detail == "test and train"
    assert report.problems == 2
    rows[1:3] = ["lesion_000,same,train", "copy,same,train"]
    (lesions / "labels.csv").write_text("\n".join(rows))
    assert [kind for kind, _ in found(check([open_dataset(lesions)]))] == ["lesion_across_split", "duplicate"]


def test_absent_and_shared_images_are_notes(lesions: Path, tmp_path: Path) -> None:
    for name, numbers in (("ISIC-2017_Training_Data", (0, 1)), ("ISIC2018_Task1-2_Validation_Input", (1, 2))):
        for number in numbers:
            (tmp_path / "isic" / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(lesions / f"images/lesion_{number:03}.jpg", tmp_path / f"isic/{name}/ISIC_{number:07}.jpg")
    (tmp_path / "isic" / "ISIC-2017_Training_Part3_GroundTruth.csv").write_text(
        "image_id,melanoma,seborrheic_keratosis\nISIC_0000000,1,0\nISIC_0000009,0,0\n"
    )
    report = check(open_all(tmp_path / "isic"))
    assert found(report) == [("shared", ("ISIC_0000001",)), ("absent", ("ISIC_0000009",))]
    assert "1 images are in isic2018_task1 too, 1 of them in another split there" in report.findings[0].detail
    assert report.problems == 0


def test_a_file_of_two_data_sets_is_looked_at_once(lesions: Path) -> None:
    (lesions / "images/lesion_000.jpg").write_bytes(b"")
    data_set = open_dataset(lesions)
    report = check([data_set, type(data_set)("other", data_set.root, data_set.samples)])
    assert report.images == 4
    assert [finding.kind for finding in report.findings] == ["image_unreadable", "shared"]


def test_progress_counts_every_image(lesions: Path) -> None:
    seen: list[tuple[int, int]] = []
    check([open_dataset(lesions)], workers=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_stop_ends_the_work(lesions: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check([open_dataset(lesions)], workers=1, progress=stop)


def test_people_see_the_findings(lesions: Path) -> None:
    FAULTS["mask_empty"](lesions)
    (lesions / "masks/lesion_003.png").unlink()
    console = Console(width=200)
    with console.capture() as capture:
        show(check([open_dataset(lesions)]), console)
    said = capture.get()
    assert KINDS["mask_missing"][1] in said and "lesion_003" in said
    assert KINDS["mask_empty"][1] in said and "lesion_001" in said
    assert "4 images looked at" in said and "2 problems, 0 notes" in said


def test_programs_get_the_findings(lesions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    FAULTS["mask_zero_one"](lesions)
    assert check_folder(lesions, json_file=tmp_path / "out" / "report.json", workers=1) == 1
    record = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert record["problems"] == 1 and record["notes"] == 0
    assert record["data_sets"][0] | {"root": ""} == {
        "name": "folder", "root": "", "images": 4, "masks": 4, "lesions": 4, "classes": {}, "splits": {}, "absent": 0,
    }  # fmt: skip
    (finding,) = record["findings"]
    assert (finding["kind"], finding["severity"], finding["ids"]) == ("mask_zero_one", "problem", ["lesion_001"])
    assert "1 problem, 0 notes" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
def test_exit_codes(
    lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def code(*arguments: object) -> int | str | None:
        monkeypatch.setattr(sys, "argv", ["cutis", "data", "check", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code

    assert code(lesions) == 0
    (lesions / "masks/lesion_001.png").unlink()
    assert code(lesions) == 1
    capsys.readouterr()
    assert code(tmp_path / "nowhere") == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert code(lesions, "--workers", 0) == 2
    (tmp_path / "file").write_text("")
    assert code(lesions, "--json", tmp_path / "file" / "report.json") == 2


def test_no_workers_are_refused(lesions: Path) -> None:
    with pytest.raises(CutisError, match="-1 workers"):
        check([open_dataset(lesions)], workers=-1)


def test_every_kind_is_planted_somewhere() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{kind}"' in here for kind in KINDS)


def test_the_record_holds_plain_values(lesions: Path) -> None:
    report = check([open_dataset(lesions)])
    assert json.loads(json.dumps(as_record(report, lesions)))["images"] == 4
