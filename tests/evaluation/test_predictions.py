"""Predictions of anyone: published files give the known figures; all kinds of file are read, wrong ones are named."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from cutis import cli
from cutis.data.ham10000 import CLASSES
from cutis.data.synthetic import write_folder
from cutis.errors import CutisError
from cutis.evaluation.class_report import read_class_rows
from cutis.evaluation.prediction_truth import read_labels, share_seen
from cutis.evaluation.predictions import Classes, read_predictions

SEVEN = Classes(CLASSES, gave=False)
LABELS = "image_id,dx,lesion_id\na,nv,L1\nb,nv,L1\nc,mel,L2\nd,bkl,L3\n"
PREDICTED = "image,prediction\na,nv\nb,mel\nc,mel\nd,bkl\n"


@pytest.fixture
def file(tmp_path):
    """Text -> a file that holds it."""

    def write(text, name="predictions.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


@pytest.fixture
def call(monkeypatch, capsys):
    """Exit code, stdout and stderr of `cutis evaluate` with these arguments."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["cutis", "evaluate", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code, *capsys.readouterr()

    return run


def line(out, title):
    """The cells of the first table line with this title."""
    return [cell.strip() for cell in next(x for x in out.splitlines() if x.startswith(f"| {title} ")).split("|")[2:-1]]


def probabilities(*, columns="{}"):
    """Four images: sure of nv, of mel (wrong), of mel, of bkl, at 0.7 and 0.05 for each other class."""
    rows = [
        [name, *(0.7 if known == called else 0.05 for known in CLASSES)]
        for name, called in zip("abcd", ("nv", "mel", "mel", "bkl"), strict=True)
    ]
    header = ["image", *(columns.format(name) for name in CLASSES)]
    return "\n".join(",".join(map(str, row)) for row in [header, *rows]) + "\n"


@pytest.mark.data
def test_the_published_baseline_gives_the_known_figures(data_root, tmp_path, call):
    folder = data_root / "selcn_published_predictions"
    code, out, err = call(
        "--predictions", folder / "test_set" / "predictions_test_none.csv",
        "--labels", folder / "HAM10000_metadata_test.csv",
        "--train", folder / "HAM10000_metadata_train.csv",
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert (code, err) == (0, "")
    known = {
        "Accuracy": 0.846, "Cohen's kappa": 0.716, "Precision, macro": 0.751, "Recall, macro": 0.815,
        "F1, macro": 0.779,
    }  # fmt: skip
    for title, value in known.items():
        mean, sd = line(out, title)[0].split(" ± ")
        assert float(mean) == pytest.approx(value, abs=0.001)
        assert 0 < float(sd) < 0.03
    assert "39% of the images (788 of 1,999)" in out
    assert "2,000 resamples of lesions)" in out
    assert "AUROC" not in out
    assert len(read_class_rows(tmp_path / "out" / "rows.csv")) == 4 * 1999
    saved = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert len(saved["datasets"]) == 4
    accuracy = saved["folds"]["measures"]["accuracy"]
    assert accuracy["sd"] == pytest.approx(np.std(accuracy["values"]))
    assert accuracy["mean"] == pytest.approx(
        np.mean([one["measures"]["accuracy"]["mean"] for one in saved["datasets"]])
    )
    assert saved["folds"]["support"]["nv"] == 1337


@pytest.mark.data
def test_the_data_sets_labels_are_those_of_the_published_split(data_root, call):
    folder = data_root / "selcn_published_predictions"
    file = folder / "test_set" / "predictions_test_none.csv"
    code, out, _ = call("--predictions", file, "--data", data_root, "--train", folder / "HAM10000_metadata_train.csv")
    assert code == 0
    assert line(out, "Accuracy")[0].startswith("0.846 ± ")
    assert "seen in training: 39% of the images" in out
    seen = int(re.search(r"of ([\d,]+)\) show a lesion", out)[1].replace(",", ""))
    left = int(re.search(r"left out: (\d+) ", f"{out} left out: 0 ")[1])
    assert seen + left == 1999 and left < 100


def test_names_and_intervals_by_lesion(file, call, tmp_path):
    labels, output = file(LABELS, "labels.csv"), tmp_path / "out"
    code, out, _ = call("--predictions", file(PREDICTED), "--labels", labels, "--output", output)
    assert code == 0
    assert line(out, "Accuracy")[0].startswith("0.7500 [")
    assert line(out, "Images (lesions)") == ["4 (3)"]
    assert line(out, "Precision, weighted")[0].startswith(f"{(2 * 1 + 0.5 + 1) / 4:.4f}")
    assert line(out, "F1, weighted")[0].startswith(f"{(2 * 2 / 3 + 2 / 3 + 1) / 4:.4f}")
    assert line(out, "nv")[:4] == ["2", "1.000", "0.500", "0.667"]
    assert "resamples of lesions)" in out and "AUROC" not in out and "Brier" not in out
    assert out.strip() in (output / "summary.md").read_text("utf-8")
    with (output / "rows.csv").open(encoding="utf-8") as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream)}
    assert (rows["b"]["truth"], rows["b"]["answer"], rows["b"]["group"], rows["b"]["p_nv"]) == ("nv", "mel", "L1", "")
    assert read_class_rows(output / "rows.csv")[0].answer == "nv"


def test_two_files_of_predictions_are_compared(file, call, tmp_path):
    labels = ("--labels", file(LABELS, "labels.csv"))
    call("--predictions", file(probabilities()), *labels, "--output", tmp_path / "out")
    right = file("image,prediction\na,nv\nb,nv\nc,mel\nd,bkl\n", "right.csv")
    code, out, _ = call("--predictions", right, *labels, "--against", tmp_path / "out" / "rows.csv")
    assert code == 0
    assert "Right here alone: 1, there alone: 0" in out
    assert "+0.2500 [" in out


@pytest.mark.parametrize("columns", ["{}", "p_{}", "prob_{}"])
def test_probabilities_rank_and_are_calibrated(file, call, columns):
    text = probabilities(columns=columns)
    if columns == "{}":  # as the ISIC challenges write them
        text = text.replace(text.splitlines()[0], text.splitlines()[0].upper())
    code, out, _ = call("--predictions", file(text), "--labels", file(LABELS, "labels.csv"))
    assert code == 0
    assert line(out, "Accuracy")[0].startswith("0.7500 [")
    off, wrong = 0.3**2 + 6 * 0.05**2, 0.95**2 + 0.7**2 + 5 * 0.05**2
    assert line(out, "Brier score")[0].startswith(f"{(3 * off + wrong) / 4:.4f}")
    assert line(out, "Expected calibration error")[0].startswith("0.0500")
    # one of three others scores as the melanoma does: no cut keeps 0.8 of them and calls it
    assert line(out, "Melanoma: sensitivity at specificity 0.8")[0].startswith("0.0000")
    nv, mel, bkl = (2 + 2 * 0.5) / 4, (2 + 0.5) / 3, 1.0
    assert line(out, "AUROC, macro")[0].startswith(f"{(nv + mel + bkl) / 3:.4f}")


def test_true_labels_in_the_file_itself(file, call):
    names = "id,true_label,pred\na.jpg,nv,nv\nb.jpg,mel,nv\n"
    code, out, _ = call("--predictions", file(names))
    assert code == 0
    assert line(out, "Accuracy")[0].startswith("0.5000")
    assert "resamples of images, as their lesions are unknown)" in out
    codes = "image_name,true_label,fold_1_pred,fold_2_pred\na,0,nv,nv\nb,1,nv,1\n"
    code, _, err = call("--predictions", file(codes))
    assert code == 2
    assert "b, column fold_2_pred, has the unknown class '1'" in err and "--classes nv,mel" in err
    code, _, err = call("--predictions", file(codes.replace(",1\n", ",mel\n")))
    assert code == 2
    assert "a, column true_label, has the unknown class '0'" in err
    code, out, _ = call("--predictions", file(codes), "--classes", "nv,mel")
    assert code == 0
    assert line(out, "Accuracy")[0] == "0.750 ± 0.250"  # divisor n
    assert line(out, "Accuracy")[2:] == ["0.500", "1.000"]
    assert "divisor n" in out


def test_codes_that_mean_something_else_are_not_believed(file, call):
    codes = "image_name,true_label,fold_1_pred\na,0,nv\nb,0,nv\nc,1,mel\nd,2,bkl\n"
    arguments = ("--predictions", file(codes), "--labels", file(LABELS, "labels.csv"), "--classes")
    assert call(*arguments, "nv,mel,bkl")[0] == 0
    code, _, err = call(*arguments, "mel,nv,bkl")
    assert code == 2
    assert err.startswith("cutis: a is mel in ") and "and nv in" in err and err.count("\n") == 1


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Six drawn lesions with classes, two images a lesion."""
    folder = tmp_path_factory.mktemp("drawn")
    write_folder(folder, count=6, seed=2, width=80, height=60)
    lines = ["id,label,group", *(f"lesion_{n:03},{CLASSES[n % 2]},group_{n // 2}" for n in range(6))]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_labels_of_a_data_set(drawn, file, call, tmp_path):
    text = "image,prediction\nlesion_000,mel\nlesion_001,mel\nlesion_004,mel\nstranger,nv\n"
    train = file("lesion_id\ngroup_0\n", "train.csv")
    code, out, _ = call(
        "--predictions", file(text), "--data", drawn, "--train", train, "--output", tmp_path / "o"
    )  # fmt: skip
    assert code == 0
    assert line(out, "Images (lesions)") == ["3 (2)"]
    assert line(out, "Accuracy")[0].startswith("0.6667")
    assert "left out: 1 predicted images that have no class there, in no mean: stranger" in out
    assert "67% of the images (2 of 3)" in out
    assert json.loads((tmp_path / "o" / "summary.json").read_text("utf-8"))["left_out"] == ["stranger"]
    assert {row.dataset for row in read_class_rows(tmp_path / "o" / "rows.csv")} == {"folder"}
    code, _, err = call("--predictions", file("image,prediction\nx,nv\ny,nv\n"), "--data", drawn)
    assert code == 2
    assert "has a class for none of the 2 images" in err and "(x, y)" in err


def test_lesions_come_from_the_data_where_the_labels_have_none(drawn, file, call):
    predictions = file("image,pred\nlesion_000,mel\nlesion_001,nv\n")
    labels = file("image_id,true_label\nlesion_000,mel\nlesion_001,nv\n", "labels.csv")
    train = file("lesion_id\ngroup_0\n", "train.csv")
    code, _, err = call("--predictions", predictions, "--labels", labels, "--train", train)
    assert code == 2
    assert "the lesion of 2 predicted images is unknown; give --labels with lesion_id, or --data" in err
    code, out, _ = call("--predictions", predictions, "--labels", labels, "--train", train, "--data", drawn)
    assert code == 0
    assert "100% of the images (2 of 2)" in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no predictions: give a header line"),
        ("image,prediction\n", "holds no predictions"),
        ("a,b\n1,2\n", "has no column of image ids: name one image_name, image"),
        ("image,b\n1,2\n", "has no predictions: it needs fold_1_pred"),
        ("image,pred\na,nv\n,nv\n", "line 3, has no image id: fill it"),
        ("image_name,fold_1_pred\na,nv\na,mel\n", "1 images are in it twice: keep one row of each: a"),
        ("image_name,fold_1_pred\na,nv\nb,wart\n", "b, column fold_1_pred, has the unknown class 'wart'; known: mel"),
        ("image_name,fold_1_pred\na,nv\nb,\n", "b, column fold_1_pred, has no class: fill"),
        ("image_name,fold_1_pred,fold_3_pred\na,nv,nv\nb,nv,nv\n", "no column fold_2_pred: add it"),
        ("image_name,fold_2_pred\na,nv\n", "no column fold_1_pred"),
        ("image,fold_1_pred,pred\na,nv,nv\n", "has fold_1_pred and pred: keep one kind"),
        ("image,nv,mel\na,0.5,0.5\n", "has probabilities of mel, nv but not of bcc, .*: --classes mel,nv"),
        (probabilities().replace("0.7", "1.2", 1), "a has '1.2' for nv: probabilities are numbers from 0 to 1"),
        (probabilities().replace("0.7", "-0.1", 1), "a has '-0.1' for nv"),
        (probabilities().replace("0.7", "nan", 1), "a has 'nan' for nv"),
        (probabilities().replace("0.7", "high", 1), "a has 'high' for nv"),
        (probabilities().replace("0.7", "0.6", 1), "the probabilities of a sum to 0.9, not 1: divide"),
    ],
)
def test_wrong_files_are_named(file, text, said):
    with pytest.raises(CutisError, match=said) as raised:
        read_predictions(file(text), SEVEN)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lesion_id,image_id,dx\nL,a,nv\nL,a,mel\n", "a is both nv and mel: keep the right row"),
        ("image_id,dx\na,wart\n", "a has the unknown class 'wart'"),
        ("image_id,sex\na,male\n", "needs the columns image_id and dx"),
        ("", "holds no labels"),
    ],
)
def test_wrong_labels_are_named(file, text, said):
    with pytest.raises(CutisError, match=said):
        read_labels(file(text), SEVEN)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("image_id,dx\na,nv\nb,nv\nc,nv\n", "1 images are unknown to .*: add their labels or remove their rows: d"),
        (LABELS + "e,nv,L9\nf,nv,L9\n", "2 images of .* are missing from it: .*: e, f"),
    ],
)
def test_labels_and_predictions_are_of_the_same_images(file, call, labels, said):
    code, out, err = call("--predictions", file(PREDICTED), "--labels", file(labels, "labels.csv"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.search(said, err)


def test_wrong_calls_are_named(file, call, tmp_path):
    predictions = file(PREDICTED)
    for arguments, said in (
        (
            ("--predictions", predictions),
            "has no true_label: give the true classes with --labels FILE or --data FOLDER",
        ),
        (("--predictions", predictions, "--limit", "3"), "--limit, --symmetry-model and --segmenter are for models"),
        (("--predictions", predictions, "--classes", "nv"), "--classes nv: give two or more"),
        (("--predictions", tmp_path), "give the folder of data sets with --data"),
        (("--predictions", tmp_path, "--data", tmp_path, "--classes", "a,b"), "are for --predictions FILE.csv"),
        (("--predictions", tmp_path / "none.csv"), "none.csv cannot be read as a table"),
        ((), "give the folder of data sets with --data"),
    ):
        code, out, err = call(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), arguments
        assert said in err


def test_a_training_file_without_lesions_is_named(file):
    with pytest.raises(CutisError, match="has no lesion_id"):
        share_seen(["L1"], file("image_id,dx\na,nv\n"))
    assert share_seen(["L1", "L1", "L2"], file("image_id,lesion_id\na,L1\n")) == (2, 3)


def test_it_needs_no_torch(file):
    code = (
        "import sys; from cutis import cli\n"
        f"sys.argv = ['cutis', 'evaluate', '--predictions', {str(file(PREDICTED))!r}, '--labels', "
        f"{str(file(LABELS, 'labels.csv'))!r}]\n"
        "try: cli.main()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "print(sorted({'torch', 'scipy', 'pandas', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
