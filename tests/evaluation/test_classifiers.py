"""Classifiers judged image by image: the figures are counted by hand, the files hold what was printed."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from cutis.data.samples import Sample
from cutis.data.splits import lesions
from cutis.data.synthetic import write_folder
from cutis.errors import CutisError
from cutis.evaluation import class_report
from cutis.evaluation.class_report import read_class_rows, write_class_rows
from cutis.evaluation.class_summary import compare_classes, mcnemar, summarise_classes
from cutis.evaluation.classifiers import ClassRow, judge, of_model, select_labelled
from cutis.evaluation.summary import Bootstrap
from cutis.imaging.cells import Cells
from cutis.imaging.preprocessing import Preprocessing
from cutis.imaging.read import read_mask

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
FEW = Bootstrap(confidence=0.95, resamples=200, seed=1)
SIDE = 64


class Toy:
    """An exported lesion network, as the analysis opens one: sure of the class that the picture's number says.

    The lesion's middle is where it looks. It takes a map if told so, and adds what that map is to its first logit.
    """

    def __init__(self, *, takes_map: bool = False, masking: str = "none", division: dict | None = None) -> None:
        self.takes_map, self.masking, self.division = takes_map, masking, division
        self.preprocessing = Preprocessing(size=SIDE, mean=(0.5,) * 3, std=(0.2,) * 3)
        self.info = SimpleNamespace(name="toy", version="1", precision="int8", sha256="ab" * 32)
        self.cells = Cells(first=SIDE / 8, step=SIDE / 4)
        self.rule = SimpleNamespace(classes=CLASSES, temperature=1.0)
        self.seen: list[np.ndarray] = []

    def answer(self, square, activation=None):
        assert (activation is None) != self.takes_map
        self.seen.append(square)
        brightness = int(square.astype(int).sum())
        logits = 3.0 * np.eye(7, dtype=np.float32)[brightness % 7]
        if activation is not None:
            logits = logits + np.float32(100) * activation.mean() * np.eye(7, dtype=np.float32)[0]
        spot = np.zeros((4, 4), np.float32)
        spot[1:3, 1:3] = 1
        return SimpleNamespace(logits=logits, activation=spot, unlikeness=float(brightness % 5))


def decide(logits, unlikeness, rule):
    """Not sure of what is 4 away; two classes in each set."""
    order = np.argsort(-np.asarray(logits), kind="stable")
    held = [rule.classes[k] for k in order[:2]]
    return SimpleNamespace(label=None if unlikeness >= 4 else held[0], prediction_set=held)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    write_folder(folder, count=28, seed=2, width=80, height=60)
    lines = ["id,label,group", *(f"lesion_{n:03},{CLASSES[n % 7]},group_{n // 2}" for n in range(28))]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


DIVISION = {"datasets": ["folder"], "fractions": {"train": 0.4, "test": 0.6}, "seed": 3}


def made_rows(truth: str, answer: str, sure: str | None = None) -> list[ClassRow]:
    """One letter a class: n nv, m mel, b bkl; the answer has probability 0.8."""
    names = {"n": "nv", "m": "mel", "b": "bkl"}
    rows = []
    for number, (true, called) in enumerate(zip(truth, answer, strict=True)):
        p = dict.fromkeys(("bkl", "mel", "nv"), 0.1) | {names[called]: 0.8}
        is_sure = sure is None or sure[number] == "y"
        held = (names[called],) if is_sure else ("bkl", "mel", "nv")
        maps = {f"{prefix}{name}": 0.5 for prefix in ("", "gaussian_") for name in ("iou", "overlap", "hit")}
        rows.append(
            ClassRow("d", str(number), f"g{number // 2}", names[true], names[called], is_sure, held, 1.0, p, maps)
        )
    return rows


def test_measures_are_those_counted_by_hand():
    (found,) = summarise_classes(made_rows("nnnnmmbb", "nnnmmmbn", "yyyyyynn"), FEW)
    m = {name: interval.mean for name, interval in found.measures.items()}
    assert (found.images, found.lesions) == (8, 4)
    assert m["accuracy"] == pytest.approx(6 / 8)
    assert m["balanced_accuracy"] == pytest.approx((3 / 4 + 1 + 1 / 2) / 3)
    assert m["macro_precision"] == pytest.approx((3 / 4 + 2 / 3 + 1) / 3)
    assert m["kappa"] == pytest.approx((6 / 8 - 24 / 64) / (1 - 24 / 64))  # by chance: (4 * 4 + 2 * 3 + 2 * 1) / 64
    assert m["brier"] == pytest.approx((6 * (0.2**2 + 2 * 0.1**2) + 2 * (0.9**2 + 0.8**2 + 0.1**2)) / 8)
    assert m["ece"] == pytest.approx(0.05)  # all in one bin: 0.8 sure, 0.75 right
    assert m["coverage"] == pytest.approx(7 / 8) and m["set_size"] == pytest.approx((6 + 2 * 3) / 8)
    assert m["not_sure"] == pytest.approx(2 / 8) and m["accuracy_when_sure"] == pytest.approx(5 / 6)
    assert m["melanoma_sensitivity_at_0.8"] == pytest.approx(1.0)  # 5 of 6 others are kept out at 0.8
    assert m["melanoma_sensitivity_at_0.9"] == pytest.approx(0.0)  # one other scores as high as both
    assert m["map_iou"] == m["map_gaussian_iou"] == 0.5
    assert found.by_class["mel"].images == 2 and found.by_class["mel"].recall == 1
    assert found.confusion == [[1, 0, 1], [0, 2, 0], [0, 1, 3]]
    assert all(i.low <= i.mean <= i.high for i in found.measures.values() if not np.isnan(i.low))


def test_two_models_are_compared_on_the_images_that_both_have():
    here, there = made_rows("nnnnmmbb", "nnnnmmbb"), made_rows("nnnnmmbb", "nnnnnnnn")[:6]
    (found,) = compare_classes(here, there, FEW)
    assert (found.images, found.only_here, found.only_there) == (6, 2, 0)
    assert found.differences["accuracy"].mean == pytest.approx(2 / 6)
    assert (found.right_here_only, found.right_there_only) == (2, 0) and found.p == mcnemar(2, 0) == 0.5
    same = compare_classes(here, here, FEW)[0]
    assert same.differences["kappa"][:3] == (0, 0, 0) and same.p == 1
    with pytest.raises(CutisError, match="share no two images"):
        compare_classes(here, made_rows("n", "n"), FEW)


def test_rows_survive_the_disk(tmp_path):
    rows = made_rows("nnmb", "nmmb", "ynyy")
    write_class_rows(tmp_path / "rows.csv", rows)
    assert read_class_rows(tmp_path / "rows.csv") == rows
    (tmp_path / "rows.csv").write_text("dataset,id\nd,1\n", encoding="utf-8")
    with pytest.raises(CutisError, match="of a classifier's evaluation"):
        read_class_rows(tmp_path / "rows.csv")


def test_training_lesions_are_not_among_the_test_images(drawn):
    subject = of_model(Toy(division=DIVISION), None, decide, "lesion_class", 2)
    parts = {part: select_labelled(subject, drawn, datasets=None, part=part, limit=None)["folder"] for part in
             ("train", "test")}  # fmt: skip
    assert sum(map(len, parts.values())) == 28
    assert not {s.group for s in parts["train"]} & {s.group for s in parts["test"]}
    assert len(lesions(parts["test"])) * 2 == len(parts["test"])


def test_of_a_fold_only_the_run_knows_its_test_images(drawn):
    subject = of_model(Toy(division={"datasets": ["folder"], "count": 3, "fold": 0}), None, decide, "lesion_class", 1)
    with pytest.raises(CutisError, match="evaluate its run folder"):
        select_labelled(subject, drawn, datasets=None, part="test", limit=None)


def test_masking_is_by_the_mask_asked_for_and_maps_are_measured_on_the_true_one(drawn):
    model = Toy(masking="segmentation", division=DIVISION)
    subject = of_model(model, None, decide, "lesion_class", 1)
    sample = select_labelled(subject, drawn, datasets=None, part="test", limit=1)["folder"][0]
    own, _ = judge(subject, [sample], None)
    corner = np.zeros(read_mask(sample.mask).shape, bool)
    corner[:10, :10] = True
    other, _ = judge(subject, [sample], lambda _: corner)
    first, second = model.seen
    assert np.count_nonzero(second.any(2)) <= 64 < np.count_nonzero(first.any(2))
    assert own[0].maps == other[0].maps and 0 < own[0].maps["iou"] < 1
    rows, failures = judge(subject, [sample], lambda _: np.zeros_like(corner))
    assert not rows and failures[0].reason == "no lesion found in it"


def test_the_symmetry_networks_map_reaches_the_lesion_network(drawn):
    symmetry = SimpleNamespace(
        preprocessing=Preprocessing(size=32, mean=(0.5,) * 3, std=(0.2,) * 3), masking="none",
        answer=lambda square: SimpleNamespace(activation=np.ones((3, 3), np.float32)),
    )  # fmt: skip
    subject = of_model(Toy(takes_map=True, division=DIVISION), symmetry, decide, "lesion_class", 1)
    samples = select_labelled(subject, drawn, datasets=None, part="all", limit=5)["folder"]
    rows, _ = judge(subject, samples, None)
    assert {row.answer for row in rows} == {"akiec"}
    with pytest.raises(CutisError, match="--symmetry-model"):
        of_model(Toy(takes_map=True), None, decide, "lesion_class", 1)


def test_an_image_without_a_mask_is_named_if_one_is_needed(drawn):
    subject = of_model(Toy(masking="lae", division=DIVISION), None, decide, "lesion_class", 1)
    image = drawn / "images" / "lesion_000.jpg"
    rows, failures = judge(subject, [Sample("x", image, "folder", label="nv")], None)
    assert not rows and "no mask with a lesion" in failures[0].reason


def test_the_verb_prints_what_it_writes(drawn, tmp_path, capsys):
    subject = of_model(Toy(division=DIVISION), None, decide, "lesion_class", 2)
    options = {"datasets": None, "part": "test", "limit": None, "command": "cutis evaluate toy", "mask_of": None}
    first, second = tmp_path / "first", tmp_path / "second"
    assert class_report.run(subject, drawn, output=first, against=None, masks="own", **options) == 0
    capsys.readouterr()
    assert class_report.run(subject, drawn, output=second, against=first / "rows.csv", masks="own", **options) == 0
    said = capsys.readouterr().out
    for words in ("Balanced accuracy", "'Not sure'", "Centred Gaussian", "McNemar", "as vasc", "- masks: not used"):
        assert words in said
    assert said.split("\n\n", 1)[1] in (second / "summary.md").read_text(encoding="utf-8")
    summary = json.loads((second / "summary.json").read_text(encoding="utf-8"))
    rows = read_class_rows(second / "rows.csv")
    right = np.mean([row.answer == row.truth for row in rows])
    assert summary["datasets"][0]["measures"]["accuracy"]["mean"] == pytest.approx(right)
    assert summary["comparisons"][0]["differences"]["accuracy"]["mean"] == 0


def test_an_exported_model_is_judged_without_torch():
    import subprocess

    code = (
        "import sys; import cutis.evaluation.class_report, cutis.evaluation.classifiers, cutis.analysis.classifier; "
        "print([name for name in ('torch', 'scipy', 'sklearn', 'pandas') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
