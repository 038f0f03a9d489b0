"""The INT8 twin: small loss, integer inside, honest about which way of quantising lost least."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from cutis.errors import CutisError
from cutis.export.int8 import CANDIDATES, Candidate, Trial, _kept_in_float, _worth_it, quantize
from cutis.export.parity import Parity, compare, open_session, probabilities
from cutis.export.shuffle import shuffle_in_blocks


@pytest.fixture(scope="module")
def quantized(tmp_path_factory, exported, images):
    told: list[tuple[int, int]] = []
    path = tmp_path_factory.mktemp("int8") / "toy-int8.onnx"
    facts = quantize(
        exported,
        path,
        calibration={"image": images[:24]},
        judging={"image": images[24:]},
        progress=lambda *at: told.append(at),
    )
    return facts, told


def test_loses_little_against_fp32_on_unseen_images(quantized, exported, images):
    facts, _ = quantized
    unseen = images[24:]
    found = compare(
        probabilities(open_session(exported), unseen), probabilities(open_session(facts.path), unseen), threshold=0.45
    )
    assert found.pixels < 0.02 and found.dice > 0.98
    assert found.largest > 0  # it really is another network
    assert found.pixels == pytest.approx(facts.chosen.loss.pixels)


def test_every_candidate_was_tried_and_the_best_is_chosen(quantized):
    facts, told = quantized
    plain, changed = facts.trials[: len(CANDIDATES)], facts.trials[len(CANDIDATES) :]
    assert [trial.candidate for trial in plain] == list(CANDIDATES)
    best = min(plain, key=lambda trial: trial.loss.order)
    changes = [{"signed": True}, {"alike": True}, {"bytes_first": True}, {"alike": True, "bytes_first": True}]
    assert [trial.candidate for trial in changed] == [best.candidate._replace(**change) for change in changes]
    lost = facts.chosen.loss.order[0]
    assert lost <= 1.1 * best.loss.order[0] and facts.chosen.time <= best.time
    for trial in facts.trials:  # nothing that was tried is both better and faster
        assert not (trial.loss.order < facts.chosen.loss.order and trial.time < 0.98 * facts.chosen.time)
    assert all(0.01 < trial.time < 100 for trial in facts.trials)
    assert facts.calibrated_on == 24
    assert told == [(i + 1, 24) for i in range(24)]


def test_only_the_ways_that_are_asked_for_are_tried(tmp_path, exported, images):
    facts = quantize(
        exported, tmp_path / "x.onnx", calibration={"image": images[:4]}, judging={"image": images[24:26]},
        candidates=CANDIDATES[3:],
    )  # fmt: skip
    assert [trial.candidate for trial in facts.trials] == [CANDIDATES[3]]
    assert facts.chosen == facts.trials[0] and facts.chosen.candidate.float_last


def test_weights_are_signed_bytes_a_channel_and_activations_unsigned(quantized):
    facts, _ = quantized
    model = onnx.load(facts.path)
    initializers = {entry.name: entry for entry in model.graph.initializer}
    zero_points = {
        kind: {initializers[node.input[2]].data_type for node in model.graph.node if node.op_type == kind}
        for kind in ("QuantizeLinear", "DequantizeLinear")
    }
    kind = onnx.TensorProto.INT8 if facts.chosen.candidate.signed else onnx.TensorProto.UINT8
    assert zero_points["QuantizeLinear"] == {kind}
    signed = [e for e in initializers.values() if e.data_type == onnx.TensorProto.INT8 and len(e.dims) == 4]
    scales = [initializers[n.input[1]] for n in model.graph.node if n.op_type == "DequantizeLinear"]
    assert signed and any(scale.dims and scale.dims[0] == 12 for scale in scales)


def test_the_first_convolution_stays_in_float(quantized):
    model = onnx.load(quantized[0].path)
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    weight = next(entry for entry in model.graph.initializer if entry.name == first.input[1])
    assert weight.data_type == onnx.TensorProto.FLOAT


@pytest.mark.parametrize("count", [1, 2, 3])
def test_as_many_first_convolutions_stay_in_float_as_wanted(exported, count):
    kept = _kept_in_float(exported, Candidate("mean", float_last=False, float_first=count))
    names = [node.name for node in onnx.load(exported).graph.node if node.op_type == "Conv"]
    assert [name in kept for name in names[:4]] == [place < count for place in range(4)]


def test_metadata_differs_from_fp32_in_the_precision_alone(quantized, exported):
    before, after = (open_session(p).get_modelmeta().custom_metadata_map for p in (exported, quantized[0].path))
    assert after.pop("cutis.precision") == "int8" and before.pop("cutis.precision") == "fp32"
    assert after.pop("cutis.seal") != before.pop("cutis.seal")
    assert before == after
    assert json.loads(after["cutis.preprocessing"])["size"] == 32


@pytest.mark.parametrize("batch", [1, 3])
def test_batch_is_free(quantized, images, batch):
    found = probabilities(open_session(quantized[0].path), images[:batch])
    alone = probabilities(open_session(quantized[0].path), images[:1])
    np.testing.assert_allclose(found[:1], alone, atol=1e-6)


def test_only_a_network_in_fp32_can_be_quantised(tmp_path, quantized, images):
    with pytest.raises(CutisError, match="not an fp32 network"):
        quantize(
            quantized[0].path,
            tmp_path / "again.onnx",
            calibration={"image": images[:2]},
            judging={"image": images[2:4]},
        )


def test_images_of_another_size_are_refused(tmp_path, exported, images):
    with pytest.raises(ValueError, match="calibration"):
        quantize(exported, tmp_path / "x.onnx", calibration={"image": images[:2, :16]}, judging={"image": images[2:4]})


def test_shuffle_in_blocks_changes_no_answer(tmp_path, exported, images):
    model = shuffle_in_blocks(onnx.load(exported))
    onnx.checker.check_model(model, full_check=True)
    assert "DepthToSpace" in [node.op_type for node in onnx.load(exported).graph.node]
    assert "DepthToSpace" not in [node.op_type for node in model.graph.node]
    found = probabilities(open_session(model.SerializeToString()), images[:3])
    np.testing.assert_allclose(found, probabilities(open_session(exported), images[:3]), atol=1e-6)


def test_a_candidate_reads_as_words():
    assert str(Candidate("mean", float_last=True)) == "mean ranges, float head"
    assert str(Candidate("mean", None, float_first=3)) == "mean ranges, first 3 float"
    assert str(Candidate("extreme", float_last=False, signed=True)) == "extreme ranges, int8 head, signed activations"


def trial(pixels, time):
    return Trial(CANDIDATES[0], Parity(1, 0.1, pixels, pixels, 1.0, 1.0), 1, time)


@pytest.mark.parametrize(
    ("pixels", "time", "worth"),
    [
        (0.9, 1.0, True),  # loses less, takes no longer
        (0.9, 1.01, False),
        (1.05, 0.98, True),  # saves two hundredths, loses less than six hundredths more
        (1.1, 0.98, False),
        (1.25, 0.9, True),
        (1.4, 0.5, False),  # whatever it saves
    ],
)
def test_a_change_is_worth_it(pixels, time, worth):
    best = trial(1.0, 1.0)
    assert _worth_it(trial(pixels, time), best, best) is worth


def test_what_is_joined_gets_one_range(tmp_path, exported, images):
    """Then onnxruntime's concatenation copies: all its scales are one."""
    feeds = {"calibration": {"image": images[:4]}, "judging": {"image": images[24:26]}}
    apart = CANDIDATES[0]
    scales = {}
    for name, candidate in {"apart": apart, "alike": apart._replace(alike=True)}.items():
        quantize(exported, tmp_path / f"{name}.onnx", **feeds, candidates=[candidate])
        model = onnx.load(tmp_path / f"{name}.onnx")
        weights = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
        made_by = {output: node for node in model.graph.node for output in node.output}
        (joint,) = [node for node in model.graph.node if node.op_type == "Concat"]
        (after,) = [n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == joint.output[0]]
        pairs = [*(made_by[value] for value in joint.input), after]
        scales[name] = {tuple(float(weights[value]) for value in node.input[1:]) for node in pairs}
    assert len(scales["apart"]) > 1 and len(scales["alike"]) == 1
