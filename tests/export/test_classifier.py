"""The exported classifiers: they answer as torch does, open in the analysis, and know their own figures."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from cutis import cli
from cutis.analysis.cascade import load_cascade
from cutis.data.labels import label_indices
from cutis.errors import CutisError
from cutis.evaluation.class_report import read_class_rows
from cutis.export.agreement import compare_answers
from cutis.export.classifier import export_classifier, torch_answers
from cutis.export.decision import COVERAGE, best_threshold, fit_decision
from cutis.export.parity import answers, open_session
from cutis.export.unlikeness import Unlikeness, fit_whitening
from cutis.imaging.cells import Cells
from cutis.imaging.lesion_area import prepare_classifier_image
from cutis.imaging.read import read_image, read_mask
from cutis.metrics.calibration import prediction_sets, set_quality, softmax
from cutis.recipes.classification import class_parts, load_classifier_run


def call(*words: object) -> int:
    return cli.app([str(word) for word in words], result_action="return_value")


def facts_of(path):
    return open_session(path).get_modelmeta().custom_metadata_map


@pytest.fixture(scope="module")
def validation(symmetry_run, lesion_run, drawn_classes, exported_cascade):
    """The validation lesions, and both fp32 files' answers to them, made here step by step."""
    symmetry, lesion = load_classifier_run(symmetry_run), load_classifier_run(lesion_run)
    samples = class_parts(lesion.config, drawn_classes)["validation"]
    read = [(read_image(s.image).pixels, read_mask(s.mask)) for s in samples]
    first = np.stack([prepare_classifier_image(*pair, symmetry.preprocessing, symmetry.masking) for pair in read])
    second = np.stack([prepare_classifier_image(*pair, lesion.preprocessing, lesion.masking) for pair in read])
    found = answers(open_session(exported_cascade / "toy-symmetry-fp32.onnx"), {"image": first})
    feeds = {"image": second, "symmetry_activation": found["activation"]}
    return samples, first, feeds, found, answers(open_session(exported_cascade / "toy-lesion-fp32.onnx"), feeds)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_answers_are_torchs(symmetry_run, lesion_run, validation, exported_cascade, batch):
    _, first, feeds, _, _ = validation
    for folder, own in ((symmetry_run, {"image": first}), (lesion_run, feeds)):
        run = load_classifier_run(folder)
        part = {name: values[:batch] for name, values in own.items()}
        expected = torch_answers(run.network, run.preprocessing, part, None)
        found = answers(open_session(exported_cascade / f"{run.name}-fp32.onnx"), part)
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, atol=2e-3 if name == "activation" else 1e-4)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_analysis_opens_both_and_they_fit(exported_cascade, precision):
    files = [exported_cascade / f"toy-{name}-{precision}.onnx" for name in ("symmetry", "lesion")]
    cascade = load_cascade(*files)
    assert cascade.symmetry is not None and cascade.lesion is not None
    assert cascade.lesion.takes_map and cascade.lesion.symmetry_map_size == cascade.symmetry.map_size
    assert cascade.symmetry.masking == "lae" and 0 < cascade.symmetry.rule.threshold < 1
    assert cascade.lesion.rule.conformal.coverage == COVERAGE and cascade.lesion.info.precision == precision


def test_the_files_say_where_the_cells_of_their_maps_look(symmetry_run, lesion_run, exported_cascade):
    wanted = [load_classifier_run(run).network.cells for run in (symmetry_run, lesion_run)]
    assert Cells(first=15.5, step=16) in wanted  # one of them is SqueezeNet
    for precision in ("fp32", "int8"):
        paths = [exported_cascade / f"toy-{kind}-{precision}.onnx" for kind in ("symmetry", "lesion")]
        assert [network.cells for network in load_cascade(*paths)] == wanted


def test_the_figures_are_fitted_on_validation_answers_of_the_file_itself(validation, exported_cascade):
    samples, _, _, first, second = validation
    found = facts_of(exported_cascade / "toy-lesion-fp32.onnx")
    truth = label_indices(samples, "lesion_class", json.loads(found["cutis.classes"]))
    groups = [sample.group for sample in samples]
    wanted = fit_decision("lesion_class", second["logits"], truth, groups, second["unlikeness"])
    assert float(found["cutis.temperature"]) == pytest.approx(wanted.temperature, rel=1e-3)
    assert json.loads(found["cutis.conformal"])["quantile"] == pytest.approx(wanted.quantile, rel=1e-3)
    assert float(found["cutis.unlikeness_limit"]) == pytest.approx(wanted.unlikeness_limit, rel=1e-3)
    found = facts_of(exported_cascade / "toy-symmetry-fp32.onnx")
    truth = label_indices(samples, "symmetry", json.loads(found["cutis.classes"]))
    wanted = fit_decision("symmetry", first["logits"], truth, groups, None)
    assert float(found["cutis.threshold"]) == pytest.approx(wanted.threshold, abs=1e-4)
    both = [facts_of(exported_cascade / f"toy-lesion-{precision}.onnx") for precision in ("fp32", "int8")]
    assert both[0]["cutis.unlikeness_limit"] != both[1]["cutis.unlikeness_limit"]


def test_conformal_sets_reach_their_coverage_where_they_were_fitted():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 7, 400)
    logits = rng.normal(size=(400, 7)) + 2 * np.eye(7)[truth]
    decision = fit_decision("lesion_class", logits, truth, [str(n) for n in range(400)], rng.random(400))
    sets = prediction_sets(softmax(logits, decision.temperature), decision.quantile)
    assert COVERAGE <= set_quality(sets, truth).coverage <= COVERAGE + 0.01
    assert decision.threshold is None


def test_of_a_lesions_images_one_counts_for_the_quantile():
    logits = np.log([[0.9, 0.1]] * 19 + [[0.1, 0.9]] * 20)
    truth, groups = np.zeros(39, np.int64), [str(n) for n in range(19)] + ["one"] * 20
    once = fit_decision("lesion_class", logits, truth, groups, np.ones(39))
    apart = fit_decision("lesion_class", logits, truth, [str(n) for n in range(39)], np.ones(39))
    p = softmax(logits, once.temperature)
    assert once.quantile == pytest.approx(1 - p[0, 0]) and apart.quantile == pytest.approx(1 - p[-1, 0])


def test_threshold_is_the_best_there_is():
    rng = np.random.default_rng(1)
    truth = (rng.random(60) < 0.2).astype(np.int64)
    scores = np.clip(0.2 + 0.15 * truth + rng.normal(0, 0.08, 60), 0, 1)

    def balanced(cut):
        called = scores >= cut
        return (called[truth == 1].mean() + (~called[truth == 0]).mean()) / 2

    best = max(balanced(cut) for cut in np.linspace(0, 1, 5001))
    assert balanced(best_threshold(scores, truth)) == pytest.approx(best)


def test_int8_is_near_fp32_and_keeps_its_tail_in_float(validation, exported_cascade):
    _, _, feeds, _, fp32 = validation
    path = exported_cascade / "toy-lesion-int8.onnx"
    found = compare_answers(fp32, answers(open_session(path), feeds))
    assert 0 < found.mean < 0.02 and found.unlikeness < 0.2 and found.maps < 0.1
    model = onnx.load(path)
    made_by = {name: node for node in model.graph.node for name in node.output}
    waiting, tail = [made_by[output.name] for output in model.graph.output], set()
    while waiting:  # upwards until the last convolution
        node = waiting.pop()
        if node.op_type not in ("Conv", "QuantizeLinear") and node.output[0] not in tail:
            tail.add(node.output[0])
            waiting += [made_by[name] for name in node.input if name in made_by]
    kinds = {made_by[name].op_type for name in tail}
    assert {"Gemm", "ReduceMax", "ReduceMean"} <= kinds  # the head, the map and the pooled features are among them
    assert sum(node.op_type == "QuantizeLinear" for node in model.graph.node) > 10
    assert path.stat().st_size < 0.4 * (exported_cascade / "toy-lesion-fp32.onnx").stat().st_size


def test_what_is_printed(exported_cascade):
    said = (exported_cascade / "said.txt").read_text(encoding="utf-8")
    for words in ("torch = fp32", "fp32 = int8", "int8: balanced accuracy", "calibrated on 12 images", "opset 17"):
        assert said.count(words) == 2, said
    trials = [line for line in said.splitlines() if "ranges" in line]
    changes = ("signed activations", "joined ranges alike", "bytes first")
    plain = [line for line in trials if not any(change in line for change in changes)]
    assert sum("signed activations" in line for line in trials) == 2  # the best of each network is tried with them
    assert sum("first 3 float" in line for line in plain) == 2  # of the lesion network, with each kind of ranges


def test_unlikeness_is_one_on_average_over_the_training_features():
    import torch

    features = np.random.default_rng(0).normal(size=(300, 40)).astype(np.float32)
    head = Unlikeness(fit_whitening(features, 32))
    assert float(head(torch.from_numpy(features)).mean()) == pytest.approx(1, abs=1e-4)
    assert float(head(torch.from_numpy(features + 5)).mean()) > 5


def test_a_graph_that_answers_otherwise_is_not_written(symmetry_run, tmp_path, monkeypatch):
    run = load_classifier_run(symmetry_run)
    from cutis.export import classifier

    monkeypatch.setattr(classifier, "standardised", lambda images, steps: 1.1 * real(images, steps))
    real = __import__("cutis.export.onnx", fromlist=["standardised"]).standardised
    with pytest.raises(CutisError, match="differ from torch's"):
        export_classifier(
            run.network, run.preprocessing, tmp_path / "x.onnx", task="symmetry", classes=run.classes,
            masking="none", name="x", version="1", whitening=None, map_shape=None, cells=run.network.cells,
        )  # fmt: skip
    assert not (tmp_path / "x.onnx").exists()


def test_exported_files_and_runs_are_evaluated(
    symmetry_run, lesion_run, drawn_classes, exported_cascade, tmp_path, capsys
):
    """The INT8 cascade, the lesion run through torch, and fp32 through ONNX: the last two agree to the last image."""
    fp32 = [exported_cascade / f"toy-{name}-fp32.onnx" for name in ("symmetry", "lesion")]
    int8 = exported_cascade / "toy-symmetry-int8.onnx"
    assert call("evaluate", int8, "--data", drawn_classes, "--output", tmp_path / "symmetry") == 0
    for name, model, symmetry in (("run", lesion_run, symmetry_run), ("onnx", fp32[1], fp32[0])):
        words = ["--data", drawn_classes, "--symmetry-model", symmetry, "--output", tmp_path / name]
        assert call("evaluate", model, *words) == 0
    capsys.readouterr()
    symmetry, run, onnx_ = (read_class_rows(tmp_path / name / "rows.csv") for name in ("symmetry", "run", "onnx"))
    test = class_parts(load_classifier_run(lesion_run).config, drawn_classes)["test"]
    assert [row.id for row in run] == [row.id for row in onnx_] == [sample.id for sample in test]
    assert {row.id for row in symmetry} == {row.id for row in run} and set(symmetry[0].probabilities) == {
        "asymmetric", "symmetric",
    }  # fmt: skip
    temperature = float(facts_of(fp32[1])["cutis.temperature"])
    for one, other in zip(run, onnx_, strict=True):
        hot = np.log(list(one.probabilities.values())) / temperature
        np.testing.assert_allclose(list(other.probabilities.values()), np.exp(hot) / np.exp(hot).sum(), atol=1e-5)
        assert one.held is None and other.held is not None and other.unlikeness > 0
        assert one.maps["gaussian_iou"] == other.maps["gaussian_iou"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{symmetry}"], "is a classifier, whose answers are calibrated"),
        (["{lesion}", "--data", "{data}"], "takes the symmetry network's map"),
        (["{symmetry}", "--data", "{data}", "--symmetry-model", "{symmetry}/x.onnx"], "takes no map"),
        (["{lesion}", "--data", "{data}", "--symmetry-model", "{symmetry}/x.onnx"], "is not there"),
        (["{lesion}", "--data", "{data}", "--symmetry-model", "{made}/toy-lesion-int8.onnx"], "not a symmetry network"),
    ],
)
def test_a_wrong_call_is_one_line(symmetry_run, lesion_run, drawn_classes, exported_cascade, tmp_path, words, message):
    places = {"symmetry": symmetry_run, "lesion": lesion_run, "data": drawn_classes, "made": exported_cascade}
    with pytest.raises(CutisError, match=message):
        call("export", *[word.format(**places) for word in words], "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()
