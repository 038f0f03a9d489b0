"""Rows, summaries, tables and pictures of an evaluation, from masks made by hand."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from cutis.data.samples import Sample
from cutis.errors import CutisError
from cutis.evaluation import tables
from cutis.evaluation.evaluate import Failure, Row, evaluate
from cutis.evaluation.predictors import NetworkModel, from_masks
from cutis.evaluation.selection import SplitRule, divide, thin_out
from cutis.evaluation.summary import BOOTSTRAP, Empties, compare, summarise
from cutis.evaluation.worst import PREDICTED, TRUTH, contact_sheet, draw_case, lowest
from cutis.metrics.segmentation import MEASURES, measure


def disc(height, width, radius, shift=0):
    y, x = np.mgrid[:height, :width]
    return (y - height / 2) ** 2 + (x - width / 2 - shift) ** 2 < radius**2


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, png = cv2.imencode(".png", pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels)
    assert done
    path.write_bytes(png.tobytes())
    return path


@pytest.fixture
def samples(tmp_path):
    """Six images of four lesions; the last truth is empty. Prediction: the truth moved by 2 pixels an index."""
    found = []
    for n in range(6):
        truth = disc(60, 80, 0 if n == 5 else 20)
        image = write(tmp_path / "images" / f"IMG_{n}.png", np.full((60, 80, 3), 150, np.uint8))
        mask = write(tmp_path / "truth" / f"IMG_{n}_segmentation.png", truth)
        found.append(Sample(f"IMG_{n}", image, "toy", mask, group=f"lesion_{n // 2}" if n < 4 else ""))
        write(tmp_path / "masks" / f"IMG_{n}.png", np.roll(truth, 2 * n, axis=1))
    return found


def test_rows_are_the_measures_of_each_image(samples, tmp_path):
    result = evaluate(from_masks(tmp_path / "masks"), samples, workers=2)
    assert result.failures == []
    assert [row.id for row in result.rows] == [sample.id for sample in samples]
    truth = disc(60, 80, 20)
    assert result.rows[3].measures == measure(np.roll(truth, 6, axis=1), truth)
    assert result.rows[3].group == "lesion_1"
    assert (result.rows[3].width, result.rows[3].height) == (80, 60)
    assert result.rows[3].truth_area == result.rows[3].predicted_area == truth.sum()
    assert result.rows[5].measures["dice"] == 1
    assert math.isnan(result.rows[5].measures["sensitivity"])


@pytest.mark.parametrize("workers", [1, 3])
def test_order_and_answer_do_not_depend_on_workers(samples, workers):
    late = threading.Event()

    def predict(sample):
        if sample.id == "IMG_0" and workers > 1:
            assert late.wait(10)  # the first image ends last
        if sample.id == "IMG_2":
            late.set()
        return disc(60, 80, 10 + int(sample.id[-1]))

    seen = []
    result = evaluate(predict, samples, workers=workers, done=lambda: seen.append(1))
    assert [row.id for row in result.rows] == [sample.id for sample in samples]
    assert len(seen) == len(samples)


def test_memory_does_not_grow_with_the_samples(samples):
    asked, measured, ahead = [], [], []

    def many():
        for n in range(60):
            asked.append(n)
            ahead.append(len(asked) - len(measured))
            yield samples[n % 6]

    evaluate(lambda sample: disc(60, 80, 9), many(), workers=2, done=lambda: measured.append(1))
    assert max(ahead) <= 7


def test_what_cannot_be_measured_is_named(samples, tmp_path):
    (tmp_path / "masks" / "IMG_0.png").unlink()
    write(tmp_path / "masks" / "IMG_1.png", disc(30, 40, 9))
    (tmp_path / "truth" / "IMG_2_segmentation.png").write_bytes(b"no image")
    write(tmp_path / "masks" / "IMG_3.png", np.arange(4800).reshape(60, 80).astype(np.uint8))
    samples[4] = Sample("IMG_4", samples[4].image, "toy")
    rows, failures = evaluate(from_masks(tmp_path / "masks"), samples, workers=2)
    assert [row.id for row in rows] == ["IMG_5"]
    assert [failure.id for failure in failures] == [f"IMG_{n}" for n in range(5)]
    reasons = [failure.reason for failure in failures]
    assert "no predicted mask IMG_0.png" in reasons[0]
    assert reasons[1] == "the predicted mask is 40 x 30 and the truth mask 80 x 60 pixels"
    assert "IMG_2_segmentation.png" in reasons[2]
    assert "IMG_3.png" in reasons[3]
    assert reasons[4] == "it has no truth mask"


def test_a_bug_in_a_predictor_is_not_a_failed_image(samples):
    with pytest.raises(ZeroDivisionError):
        evaluate(lambda sample: 1 / 0, samples, workers=2)


@pytest.mark.parametrize(
    "name",
    ["IMG_1.png", "deep/IMG_1.PNG", "IMG_1_segmentation.png", "IMG_1_Mask.png", "x/IMG_1_segmentation_prediction.png"],
)
def test_predicted_masks_are_found_by_name(tmp_path, name):
    write(tmp_path / name, disc(6, 8, 2))
    write(tmp_path / "._IMG_1.png", disc(6, 8, 3))
    assert (from_masks(tmp_path)(Sample("IMG_1", Path("IMG_1.jpg"))) == disc(6, 8, 2)).all()


def test_predicted_masks_of_one_name(tmp_path):
    write(tmp_path / "a" / "1.png", disc(6, 8, 2))
    write(tmp_path / "b" / "1.png", disc(6, 8, 3))
    predict = from_masks(tmp_path)
    assert (predict(Sample("b/1", Path("b/1.jpg"))) == disc(6, 8, 3)).all()
    assert (predict(Sample("1", Path("1.jpg"), dataset="a")) == disc(6, 8, 2)).all()
    assert (predict(Sample("1", Path("home/b/1.jpg"))) == disc(6, 8, 3)).all()
    with pytest.raises(CutisError, match="several predicted masks are called 1"):
        predict(Sample("1", Path("1.jpg")))
    with pytest.raises(CutisError, match=r"no predicted mask 2\.png"):
        predict(Sample("2", Path("2.jpg")))
    with pytest.raises(CutisError, match="not a folder"):
        from_masks(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CutisError, match="no PNG"):
        from_masks(tmp_path / "empty")


def test_a_network_answers_as_an_exported_model_would(tmp_path):
    import torch

    from cutis.analysis.pipeline import predict_mask
    from cutis.imaging.preprocessing import Preprocessing

    class Bright(torch.nn.Module):
        """Lesion where red is above its mean; checks the scale by the way."""

        def forward(self, image):
            assert image.shape[1:] == (3, 64, 64)
            assert not torch.is_grad_enabled()
            assert image.abs().max() <= 2.01
            return 50 * image[:, :1]

    pixels = np.full((120, 160, 3), 20, np.uint8)
    lesion = np.zeros((120, 160), bool)
    lesion[40:80, 50:110] = True
    pixels[lesion] = 230
    image = write(tmp_path / "a.png", pixels)
    steps = Preprocessing(size=64, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    model = NetworkModel(Bright(), steps, threshold=0.5, device="cpu")
    square = steps.apply(pixels).square
    assert model.probability(square).shape == (1, 64, 64)
    assert (model.probability(np.stack([square, square]))[1] == model.probability(square)[0]).all()
    pred = predict_mask(image, model)
    assert pred.shape == (120, 160)
    assert measure(pred, lesion)["dice"] > 0.95


def row(name, dice, dataset="toy", group=None, **known):
    values = dict.fromkeys(MEASURES, 0.5) | {"dice": dice} | known.pop("measures", {})
    known = {"width": 4, "height": 3, "truth_area": 5, "predicted_area": 5} | known
    return Row(dataset, name, group or name, measures=values, **known)


def test_summaries_count_images_lesions_sizes_and_empties():
    rows = [
        row("a", 0.9, group="x"),
        row("b", 0.7, group="x", predicted_area=0),
        row("c", 0.5, truth_area=0, width=8, measures={"sensitivity": np.nan}),
        row("d", 1.0, truth_area=0, predicted_area=0, measures={"sensitivity": np.nan}),
        row("a", 0.3, dataset="other"),
    ]
    toy, other = summarise(rows, BOOTSTRAP)
    assert (toy.dataset, toy.images, toy.lesions, toy.sizes) == ("toy", 4, 3, "4x3 to 8x3")
    assert toy.empty == Empties(truth=1, predicted=1, both=1)
    assert toy.measures["dice"].mean == pytest.approx(0.775)
    assert toy.measures["sensitivity"].n == 2
    assert (other.dataset, other.images, other.measures["dice"].mean) == ("other", 1, 0.3)
    table = tables.summary_table([toy, other])
    assert " 0.7750 [" in table
    assert "(n=2)" in table
    assert "1 / 1 / 1" in table
    assert "4 (3)" in table


def test_comparison_pairs_by_data_set_and_id():
    here = [row(str(n), 0.8 + n / 100) for n in range(10)] + [row("only here", 0)]
    there = [row(str(n), 0.7 + n / 100) for n in reversed(range(10))] + [row("3", 0, dataset="other")]
    (found,) = compare(here, there, BOOTSTRAP)
    assert (found.dataset, found.only_here, found.only_there) == ("toy", 1, 0)
    assert found.measures["dice"].n == 10
    assert found.measures["dice"].difference.mean == pytest.approx(0.1)
    assert found.measures["dice"].t_p < 1e-6
    assert found.measures["jaccard"].t_p == 1
    table = tables.comparison_table(found)
    assert "| +0.1000 [+0.1000, +0.1000] |" in table
    assert "< 0.0001" in table
    with pytest.raises(CutisError, match="share no two images"):
        compare(here, there[-1:], BOOTSTRAP)


def test_rows_survive_the_disk(tmp_path):
    rows = [row("ä, b", 1 / 3, measures={"sensitivity": np.nan}), row("c", 0.1 + 0.2)]
    tables.write_rows(tmp_path / "rows.csv", rows)
    back = tables.read_rows(tmp_path / "rows.csv")
    assert repr(back) == repr(rows)  # NaN is not equal to itself
    assert (tmp_path / "rows.csv").read_text("utf-8").count("\n") == 3
    import pandas

    table = pandas.read_csv(tmp_path / "rows.csv")
    assert table["dice"].tolist() == [1 / 3, 0.1 + 0.2]
    assert table["sensitivity"].isna().tolist() == [True, False]


HEADER = ",".join(("dataset", "id", "group", "width", "height", "truth_area", "predicted_area", *MEASURES))


@pytest.mark.parametrize(
    "text", ["", "dataset,id\na,b\n", f"{HEADER}\na,b,c,x,1,1,1,1,1,1,1,1,1,1,1\n", f"{HEADER}\na,b\n", "\0\1"]
)
def test_other_files_are_not_rows(tmp_path, text):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(CutisError, match=r"rows\.csv"):
        tables.read_rows(path)


def test_rows_of_one_image_twice_or_of_nothing(tmp_path):
    tables.write_rows(tmp_path / "rows.csv", [row("a", 1), row("a", 0)])
    with pytest.raises(CutisError, match="twice"):
        tables.read_rows(tmp_path / "rows.csv")
    with pytest.raises(CutisError, match="cannot be read"):
        tables.read_rows(tmp_path / "none.csv")


def test_json_is_plain(tmp_path):
    tables.write_json(tmp_path / "a.json", {"rows": [row("a", np.nan)], "failures": [Failure("d", "i", "r")]})
    back = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert back["rows"][0]["measures"]["dice"] is None
    assert back["failures"] == [{"dataset": "d", "id": "i", "reason": "r"}]


def test_the_worst_come_first():
    rows = [row("a", 0.5), row("b", 0.1), row("c", 0.5, measures={"hd95_256": 9.0}), row("d", 0.9)]
    assert [worst.id for worst in lowest(rows, 3)] == ["b", "c", "a"]


def test_a_case_shows_both_outlines():
    image = np.full((120, 160, 3), 128, np.uint8)
    tile = draw_case(image, disc(120, 160, 30), disc(120, 160, 30, shift=20), "IMG ü 0.5", side=128)
    assert tile.shape == (150, 128, 3)
    for colour in (TRUTH, PREDICTED):
        assert (np.abs(tile.astype(int) - colour).sum(2) < 60).sum() > 40
    sheet = contact_sheet([tile] * 3, columns=2)
    assert sheet.shape == (300, 256, 3)
    assert (sheet[150:, 128:] == 0).all()
    assert (image == 128).all()


def test_no_lesion_of_the_training_is_tested():
    rule = SplitRule(("a", "b"), {"train": 0.6, "validation": 0.1, "test": 0.3}, seed=3)
    own = [Sample(f"{n}", Path("x"), "ab"[n % 2], group=f"g{n // 3}") for n in range(90)]
    new = [Sample(f"{n}", Path("y"), "new") for n in range(80, 120)] + [Sample("n", Path("y"), "new", group="g0")]
    parts = {part: divide(own + new, part, rule) for part in ("train", "validation", "test")}
    trained = {s.group for name in ("train", "validation") for s in parts[name]}
    trained |= {s.id for name in ("train", "validation") for s in parts[name]}
    assert not {s.dataset for name in ("train", "validation") for s in parts[name]} & {"new"}
    assert all(s.id not in trained and s.group not in trained for s in parts["test"])
    tested = {s.id for s in parts["test"] if s.dataset == "new"}
    assert {str(n) for n in range(90, 120)} <= tested  # strangers are all tested
    assert sum(map(len, parts.values())) < len(own + new)
    assert len(divide(own + new, "all", rule)) == len(own + new)
    assert divide(own, "test", rule) == [s for s in parts["test"] if s.dataset != "new"]
    with pytest.raises(CutisError, match="no split 'tset'"):
        divide(own, "tset", rule)


def test_a_limit_is_spread_evenly():
    every = [Sample(str(n), Path("x")) for n in range(100)]
    assert [sample.id for sample in thin_out(every, 4)] == ["0", "25", "50", "75"]
    assert thin_out(every, None) == thin_out(every, 100) == every
    with pytest.raises(CutisError, match="at least 1"):
        thin_out(every, 0)
