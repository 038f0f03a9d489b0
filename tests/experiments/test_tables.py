"""Ours beside the paper's, from files of answers whose measures scikit-learn knows too."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from sklearn import metrics as sk

from cutis.errors import CutisError
from cutis.experiments.answers import Answers, Pointing, read_answers, write_answers, write_pointing
from cutis.experiments.beside import beside, comparisons, fold_folder, runs_of
from cutis.experiments.measures import compare, measures_of, spread
from cutis.experiments.tables import comparison_markdown, csv_of, markdown_of

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


def answers(seed: int, right: float = 0.6, count: int = 140) -> Answers:
    """Answers of which about `right` are right; the images and their truth are always the same."""
    truth = np.arange(count) % 7
    rng = np.random.default_rng(seed)
    called = np.where(rng.random(count) < right, truth, rng.integers(7, size=count))
    table = np.full((count, 7), 0.05) + 0.65 * np.eye(7)[called]
    return Answers(CLASSES, tuple(("ham10000", f"i{n}", f"l{n // 2}") for n in range(count)), truth, table)


def grid(results, models, runs, right):
    for model in models:
        for seed, fold in runs:
            for part in ("validation", "test"):
                path = fold_folder(results, "lesion", seed, model, fold) / "evaluation" / f"{part}.csv"
                write_answers(path, answers(100 * model + 10 * seed + fold, right[model]))


def test_measures_are_scikit_learns():
    given = answers(0)
    args = given.truth, given.called
    kinds = {f"{a}_{k}": (a, k) for a in ("macro", "weighted") for k in ("precision", "recall", "f1")}
    found = measures_of(given, ["accuracy", "balanced_accuracy", "kappa", *kinds])
    expected = {
        "accuracy": sk.accuracy_score(*args),
        "balanced_accuracy": sk.balanced_accuracy_score(*args),
        "kappa": sk.cohen_kappa_score(*args),
    }
    for name, (average, kind) in kinds.items():
        function = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}[kind]
        expected[name] = function(*args, average=average, zero_division=0)
    assert found == pytest.approx(expected, abs=1e-12)


def test_answers_survive_the_disk(tmp_path):
    given = answers(3)
    write_answers(tmp_path / "a.csv", given)
    back = read_answers(tmp_path / "a.csv")
    assert back.classes == given.classes and back.names == given.names
    np.testing.assert_array_equal(back.truth, given.truth)
    np.testing.assert_array_equal(back.probabilities, given.probabilities)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "dataset,id,group,truth,p_a,p_b\nd,1,1,c,0.5,0.5\n"])
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    with pytest.raises(CutisError, match="run the experiment again"):
        read_answers(tmp_path / "a.csv")


def test_a_table_is_the_mean_and_deviation_over_runs(tmp_path):
    runs = [(seed, fold) for seed in (1, 2) for fold in range(4)]
    grid(tmp_path, [1, 3], runs, {1: 0.6, 3: 0.9})
    table = beside(tmp_path, "8b", planned=8)
    by_hand = [(answers(100 + 10 * s + f, 0.6).truth == answers(100 + 10 * s + f, 0.6).called).mean() for s, f in runs]
    assert table.ours[0]["accuracy"] == pytest.approx((np.mean(by_hand), np.std(by_hand), 8))
    assert table.ours[1] == {}
    page = markdown_of(table, ["128 px"])
    lines = page.splitlines()
    row = next(line for line in lines if line.startswith("| 1 "))
    assert f"{np.mean(by_hand):.3f} ± {np.std(by_hand):.3f} | 0.849 ± 0.012" in row
    assert "- 128 px" in lines and "- Not run yet: 10 of 12 rows." in lines
    values = {(r["row"], r["measure"]): r for r in csv.DictReader(io.StringIO(csv_of([table])))}
    assert len(values) == 60
    one = values["model=1 lesion=none symmetry=absent", "accuracy"]
    assert (float(one["mean"]), one["n"], one["paper_mean"]) == (
        pytest.approx(np.mean(by_hand), abs=1e-6),
        "8",
        "0.849",
    )
    assert values["model=2 lesion=none symmetry=none", "kappa"]["n"] == "0"


def test_runs_that_are_missing_are_counted(tmp_path):
    grid(tmp_path, [1], [(1, 0), (1, 1)], {1: 0.5})
    page = markdown_of(beside(tmp_path, "8a", planned=4), [])
    assert "(2) | 0.859 ± 0.014" in page and "so many of the 4 planned runs are there" in page


def test_maps_are_of_the_fold_that_validates_best(tmp_path):
    for fold, right in enumerate((0.3, 0.9, 0.5)):
        home = fold_folder(tmp_path, "lesion", 1, 5, fold) / "evaluation"
        write_answers(home / "validation.csv", answers(fold, right))
        rows = [
            Pointing(("ham10000", f"i{n}", ""), (0.1 * fold, 0.2 * fold, float(n % 2)), (0.5, 0.7, 1.0))
            for n in range(4)
        ]
        write_pointing(home / "maps.csv", rows)
    table = beside(tmp_path, "9")
    assert table.ours[4]["iou"] == pytest.approx((0.1, 0.0, 4))
    assert table.ours[4]["pointing_game"].mean == 0.5
    assert table.gaussian["overlap"].mean == pytest.approx(0.7)
    page = markdown_of(table, [])
    assert "| centred Gaussian |" in page and "0.500 ± 0.000" in page


def test_comparison_with_the_baseline(tmp_path):
    runs = [(seed, fold) for seed in (1, 2, 3) for fold in range(4)]
    grid(tmp_path, [1, 2, 3], runs, {1: 0.5, 2: 0.9, 3: 0.5})
    found = comparisons(tmp_path, "lesion")
    assert list(found) == [(2, 1), (3, 1)]
    better, same = found[2, 1], found[3, 1]
    here, there = runs_of(tmp_path, "lesion", 2, "test"), runs_of(tmp_path, "lesion", 1, "test")
    means = [np.mean([a.called == a.truth for a in side.values()]) for side in (here, there)]
    assert better.accuracy.difference.mean == pytest.approx(means[0] - means[1])
    assert better.balanced_accuracy.difference.mean == pytest.approx(np.mean(better.runs["balanced_accuracy"]))
    assert len(better.runs["accuracy"]) == 12 and min(better.runs["accuracy"]) > 0
    assert better.accuracy.t_p < 1e-6 < same.accuracy.t_p
    assert " 12 of 12 |" in comparison_markdown({(2, 1): better})


def test_balanced_accuracy_of_uneven_classes_is_compared_as_such():
    truth = np.array([0] * 18 + [1] * 2)
    names = tuple(("d", str(n), str(n)) for n in range(20))
    always_nv, all_right = np.tile([1.0, 0.0], (20, 1)), np.eye(2)[truth]
    sides = [{(1, 0): Answers(("nv", "mel"), names, truth, table)} for table in (all_right, always_nv)]
    found = compare(*sides)
    assert found.accuracy.difference.mean == pytest.approx(0.1)
    assert found.balanced_accuracy.difference.mean == pytest.approx(0.5)


def test_other_images_are_not_compared():
    one, other = answers(0), answers(0, count=70)
    with pytest.raises(CutisError, match="other images"):
        compare({(1, 0): one}, {(1, 0): other})
    with pytest.raises(CutisError, match="share no seed"):
        compare({(1, 0): one}, {(2, 0): one})


def test_deviation_is_that_of_the_population():
    assert spread([1.0, 3.0]) == (2.0, 1.0, 2)
