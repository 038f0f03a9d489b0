"""Predictions of anyone: the published files give the known figures; wrong files are named."""

from __future__ import annotations

import pytest

from cutis.data.ham10000 import CLASSES
from cutis.errors import CutisError
from cutis.evaluation.predictions import measures, read_folds, read_labels, share_seen


@pytest.mark.data
def test_the_published_baseline_gives_the_known_figures(data_root):
    folder = data_root / "selcn_published_predictions"
    labels = read_labels(folder / "HAM10000_metadata_test.csv")
    folds = read_folds(folder / "test_set" / "predictions_test_none.csv", labels, CLASSES)
    found = measures(folds, len(CLASSES))
    known = {"accuracy": 0.846, "kappa": 0.716, "macro_precision": 0.751, "macro_recall": 0.815, "macro_f1": 0.779}
    for name, value in known.items():
        assert found[name].shape == (4,)
        assert found[name].mean() == pytest.approx(value, abs=0.001)
    assert share_seen(folds, read_labels(folder / "HAM10000_metadata_train.csv")) == pytest.approx(0.394, abs=0.001)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image_name,fold_1_pred\na,nv\n", "1 images are missing from it.*: b"),
        ("image_name,fold_1_pred\na,nv\nb,nv\nc,nv\n", "1 images are unknown to the labels.*: c"),
        ("image_name,fold_1_pred\na,nv\na,mel\n", "in it twice.*: a"),
        ("image_name,fold_1_pred\na,nv\nb,wart\n", "b has the unknown class 'wart'"),
        ("image_name,fold_1_pred,fold_3_pred\na,nv,nv\nb,nv,nv\n", "no column fold_2_pred"),
        ("a,b\n1,2\n", "needs the columns"),
    ],
)
def test_wrong_files_are_named(tmp_path, text, said):
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(CutisError, match=said):
        read_folds(path, {"a": ("nv", "L1"), "b": ("mel", "L2")}, CLASSES)


def test_an_image_in_two_classes_is_named(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("lesion_id,image_id,dx\nL,a,nv\nL,a,mel\n")
    with pytest.raises(CutisError, match="a is both nv and mel"):
        read_labels(path)
