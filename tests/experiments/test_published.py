"""The authors' own predictions against what they print: models 1 to 4 fit, 5 to 12 do not."""

from __future__ import annotations

import pytest

from cutis.data.catalogue import open_dataset
from cutis.errors import CutisError
from cutis.experiments.measures import measures_of, spread
from cutis.experiments.paper import selcn_tables
from cutis.experiments.published import CLASSES, published_runs


def write(folder, model_row, lines):
    lesion = {"none": "none", "segmentation": "mask", "lae": "lae"}[model_row.what["lesion"]]
    symmetry = {"absent": "", "none": "_none", "segmentation": "_mask", "lae": "_lae"}[model_row.what["symmetry"]]
    (folder / f"predictions_test_{lesion}{symmetry}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_drawn_folder_is_read(tmp_path):
    for row in selcn_tables()["8b"].rows:
        lines = ["image_name,true_label,fold_1_pred,fold_2_pred", "ISIC_1,0,nv,mel", "ISIC_2,1,mel,mel"]
        write(tmp_path, row, lines)
    runs = published_runs(tmp_path)
    assert list(runs) == list(range(1, 13)) and list(runs[1]) == [(0, 0), (0, 1)]
    assert [measures_of(run, ["accuracy"])["accuracy"] for run in runs[7].values()] == [1.0, 0.5]


def test_what_is_missing_or_unknown_is_named(tmp_path):
    with pytest.raises(CutisError, match=r"holds no predictions_test_none\.csv"):
        published_runs(tmp_path)
    for row in selcn_tables()["8b"].rows:
        write(tmp_path, row, ["image_name,true_label,fold_1_pred", "ISIC_1,0,scc"])
    with pytest.raises(CutisError, match=r"predictions_test_none\.csv is not as the authors published it"):
        published_runs(tmp_path)


@pytest.fixture(scope="module")
def published(data_root):
    return published_runs(data_root / "selcn_published_predictions")


@pytest.mark.data
def test_the_order_of_classes_is_ham10000s_own(data_root, published):
    labels = {sample.id: sample.label for sample in open_dataset(data_root, "ham10000")}
    run = published[1][0, 0]
    pairs = {
        (CLASSES[truth], labels[name[1]]) for name, truth in zip(run.names, run.truth, strict=True) if name[1] in labels
    }
    assert pairs == {(name, name) for name in CLASSES}


@pytest.mark.data
def test_model_1_is_what_the_notes_say(published):
    names = ["accuracy", "kappa", "macro_precision", "macro_recall", "macro_f1"]
    values = [measures_of(run, names) for run in published[1].values()]
    means = [spread([v[name] for v in values]).mean for name in names]
    assert means == pytest.approx([0.846, 0.716, 0.751, 0.815, 0.779], abs=0.001)


@pytest.mark.data
def test_printed_and_published_agree_for_models_1_to_4_only(published):
    table = selcn_tables()["8b"]
    for model, runs in published.items():
        values = [measures_of(run, table.measures) for run in runs.values()]
        printed = table.row(model=model).values
        off = {m: spread([v[m] for v in values]).mean - printed[m].mean for m in table.measures}
        if model <= 4:
            assert max(map(abs, off.values())) < 0.0045
        else:
            assert off["accuracy"] < -0.003 and off["macro_f1"] < -0.011


@pytest.mark.data
def test_the_papers_deviation_is_the_populations(published):
    """Models 2 and 4, whose means agree: dividing by n gives the printed deviations, by n - 1 does not."""
    accuracy = {m: [measures_of(run, ["accuracy"])["accuracy"] for run in published[m].values()] for m in (3, 4)}
    for model, values in accuracy.items():
        assert round(spread(values).sd, 3) == selcn_tables()["8b"].row(model=model).values["accuracy"].sd
