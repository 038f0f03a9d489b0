"""A folder with a few masks: every image gets one, the least sure come first, and what is written can be read back."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from cutis.analysis.pipeline import predict_mask
from cutis.data.samples import Sample
from cutis.data.synthetic import write_folder
from cutis.errors import CutisError
from cutis.imaging.preprocessing import Preprocessing
from cutis.imaging.read import read_mask
from cutis.label import verb
from cutis.label.export import read_labels, worst_first, write_coco, write_labels
from cutis.label.one import Asking, Row, label_one
from cutis.label.verb import Ask, label_folder, run, summary

ASK = Ask(model=None, refine=None, dataset=None, category="lesion", check=200, seed=0, workers=2)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """Six drawn lesions of which two have masks, and a file that is no image."""
    home = tmp_path_factory.mktemp("drawn") / "photos"
    write_folder(home, 6, 3, width=160, height=120)
    for number in range(2, 6):
        (home / "masks" / f"lesion_{number:03}.png").unlink()
    (home / "images" / "broken.jpg").write_bytes(b"no picture")
    return home


@pytest.fixture(scope="module")
def labelled(drawn) -> Path:
    output = drawn.parent / "labelled"
    assert run(drawn, output, ASK, resume=False) == 1  # the broken one
    return output


def test_every_image_has_a_line_and_the_least_sure_come_first(labelled):
    rows = read_labels(labelled / "labels.csv")
    assert [row.source for row in rows] == ["failed"] + ["predicted"] * 4 + ["given"] * 2
    sure = [row.confidence for row in rows[1:5]]
    assert sure == sorted(sure) and all(0 < value <= 1 for value in sure)
    assert "broken.jpg is not an image file" in rows[0].error
    assert all(row.confidence == pytest.approx(row.expected * row.flips, abs=1e-4) for row in rows[1:5])
    assert all(0.5 < row.dice <= 1 for row in rows[5:])  # drawn lesions, which it never saw


def test_your_own_masks_are_kept_as_they_are(drawn, labelled):
    for number in range(2):
        name = f"lesion_{number:03}.png"
        own, kept = (read_mask(folder / name) for folder in (drawn / "masks", labelled / "masks" / "images"))
        assert (own == kept).all()


def test_coco_says_what_the_masks_say(labelled):
    coco = json.loads((labelled / "coco.json").read_text(encoding="utf-8"))
    images = {image["id"]: image for image in coco["images"]}
    assert [image["file_name"] for image in coco["images"]] == [
        r.file for r in read_labels(labelled / "labels.csv")[1:]
    ]
    assert len(coco["annotations"]) == 6 and coco["categories"] == [{"id": 1, "name": "lesion"}]
    assert coco["info"]["model"] == "segmenter"
    for one in coco["annotations"]:
        image = images[one["image_id"]]
        height, width = one["segmentation"]["size"]
        assert (width, height) == (image["width"], image["height"]) == (160, 120)
        counts = one["segmentation"]["counts"]
        mask = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T
        name = Path(image["file_name"]).with_suffix(".png").name
        (path,) = (labelled / "masks").rglob(name)
        assert (mask == read_mask(path)).all()
        assert one["area"] == mask.sum() and one["iscrowd"] == 1
        left, top, across, down = one["bbox"]
        ys, xs = np.nonzero(mask)
        assert (left, top, left + across, top + down) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        assert ("score" in one) == (one["source"] != "given")


def test_the_sheet_of_the_worst_is_a_picture(labelled):
    sheet = cv2.imread(str(labelled / "worst.jpg"))
    assert sheet.shape[1] == 4 * 320


def test_a_run_that_was_cut_off_goes_on(drawn, labelled, monkeypatch):
    rows = read_labels(labelled / "labels.csv")
    write_labels(labelled / "labels.csv", [row for row in rows if row.file.endswith(("2.jpg", "3.jpg"))])
    asked = []
    inner = verb.label_one
    monkeypatch.setattr(verb, "label_one", lambda sample, *a, **k: asked.append(sample.id) or inner(sample, *a, **k))
    assert str(label_folder(drawn, labelled, ASK, resume=True)) == str(rows)
    assert sorted(asked) == ["broken", "lesion_000", "lesion_001", "lesion_004", "lesion_005"]
    with pytest.raises(CutisError, match=r"was begun with seed 0, not 1"):
        label_folder(drawn, labelled, ASK._replace(seed=1), resume=True)


def test_the_summary_tells_how_well_it_fits(labelled):
    text = summary(read_labels(labelled / "labels.csv"), labelled)
    assert text.startswith("7 images: 2 given, 4 predicted, 1 failed.")
    assert "Beside 2 masks of yours the predictions have a mean Dice of 0." in text and "fifth" not in text


def test_of_many_masks_the_surest_are_told_from_the_least_sure():
    rows = [_row(n, confidence=n / 20, dice=n / 20) for n in range(20)]
    assert "the least sure fifth 0.075, the surest 0.875" in summary(rows, Path("out"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": "photos/out"}, "lies in"),
        ({"folder": "nowhere"}, "is not a folder"),
        ({"folder": "empty"}, "holds no"),
    ],
)
def test_bad_folders_are_named(drawn, tmp_path, change, message):
    (drawn.parent / "empty").mkdir(exist_ok=True)
    folder = drawn.parent / change.get("folder", "photos")
    with pytest.raises(CutisError, match=message):
        label_folder(folder, drawn.parent / change.get("output", "out"), ASK, resume=False)


def test_a_mask_of_another_size_is_a_failure_and_not_the_end(tmp_path):
    write_folder(tmp_path / "photos", 1, 3, width=96, height=64)
    cv2.imwrite(str(tmp_path / "photos" / "masks" / "lesion_000.png"), np.zeros((32, 32), np.uint8))
    (row,) = label_folder(tmp_path / "photos", tmp_path / "out", ASK, resume=False)
    assert row.source == "failed" and "its mask is 32 x 32 and the image 96 x 64" in row.error


def test_a_mask_that_is_not_sure_is_marked_all_the_same(drawn):
    probability = np.full((4, 64, 64), 0.1, np.float32)
    probability[:, 24:40, 24:40] = 0.6  # under the confidence that `cutis analyze` wants
    steps = Preprocessing(size=64, mean=(0, 0, 0), std=(1, 1, 1))
    model = SimpleNamespace(preprocessing=steps, threshold=0.5, probability=lambda batch: probability[: len(batch)])
    sample = Sample("lesion_000", drawn / "images" / "lesion_000.jpg")
    assert not predict_mask(sample.image, model).any()
    row, mask = label_one(sample, "a.jpg", "masks/a.png", Asking(model, None), predict=True)
    assert mask.any() and row.source == "predicted" and row.confidence < 0.75


def test_an_image_without_an_object_has_no_annotation(tmp_path):
    write_coco(tmp_path / "coco.json", [_row(0, confidence=0.0)], "lesion", {})
    coco = json.loads((tmp_path / "coco.json").read_text(encoding="utf-8"))
    assert len(coco["images"]) == 1 and coco["annotations"] == []


def test_failures_come_first_and_your_own_last():
    rows = [_row(0, source="given", confidence=float("nan")), _row(1, confidence=0.5), _row(2, source="failed")]
    assert [row.source for row in worst_first(rows)] == ["failed", "predicted", "given"]


def _row(number, source="predicted", confidence=0.0, dice=float("nan")):
    nan = float("nan")
    return Row(f"{number}.jpg", source, confidence, nan, nan, nan, nan, 0.0, 8, 8, dice, f"masks/{number}.png", "")


@pytest.mark.slow
def test_a_run_finds_and_a_promptable_corrects(drawn, tmp_path):
    from cutis.recipes.config import SupervisedConfig, load_config
    from cutis.recipes.prompting_config import PromptingConfig
    from cutis.recipes.prompting_run import train_prompting
    from cutis.recipes.run import train_supervised

    configs = Path(__file__).parents[2] / "configs"
    write_folder(tmp_path / "learned", 24, 0, width=96, height=72)
    common = {"cache": tmp_path / "cache", "resume": False, "accelerator": "cpu", "say": lambda text: None}
    for train, kind, name in (
        (train_supervised, SupervisedConfig, "sparsesegnet"), (train_prompting, PromptingConfig, "promptable"),
    ):  # fmt: skip
        config = load_config(configs / name / "smoke.yaml", {}, kind)
        train(config, tmp_path / "learned", tmp_path / name, **common)
    ask = ASK._replace(model=str(tmp_path / "sparsesegnet"), refine=str(tmp_path / "promptable"))
    rows = label_folder(drawn, tmp_path / "out", ask, resume=False)
    refined = [row for row in rows if row.source == "refined"]
    assert refined and all(0 <= row.score <= 1 and 0 < row.refined <= 1 for row in refined)
    settings = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert "promptable stand-in" in settings["refined_by"] and len(settings["model_sha256"]) == 64
    assert all((tmp_path / "out" / row.mask).exists() for row in rows if row.source != "failed")
