"""The exported steps against the Python that they stand for, in the runtime that both use."""

from __future__ import annotations

import cv2
import numpy as np
import onnxruntime
import pytest

pytest.importorskip("onnx")

from cutis.analysis.cascade import on_picture
from cutis.analysis.decision import ClassRule, Conformal, SymmetryRule, decide_class, decide_symmetry
from cutis.data.synthetic import draw_lesion
from cutis.imaging.cells import Cells, spread
from cutis.imaging.frame import letterbox
from cutis.page import graphs

SIZES = {"large": 256, "middle": 224, "small": 128}


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def letterboxed():
    return session(graphs.letterbox(SIZES))


@pytest.mark.parametrize(
    ("width", "height"), [(768, 576), (450, 600), (512, 384), (1022, 767), (640, 480), (1023, 51), (3, 700), (256, 256)]
)
def test_a_picture_is_letterboxed_to_the_same_pixels(letterboxed, width, height):
    drawn = draw_lesion(np.random.default_rng(1), width=max(width, 60), height=max(height, 60), symmetry=0, hairs=9)
    picture = np.ascontiguousarray(drawn.image[:height, :width])
    found = letterboxed.run(None, {"image": np.dstack([picture, np.full((height, width), 255, np.uint8)])})
    for square, size in zip(found, SIZES.values(), strict=False):
        expected, frame = letterbox(picture, size)
        wrong = np.abs(square[0].astype(int) - expected)
        assert wrong.max() <= 1 and (wrong > 0).mean() < 1e-4
        if size == 256:
            assert found[-1].tolist() == [frame.left, frame.top, frame.inner_width, frame.inner_height]


@pytest.mark.parametrize(("width", "height"), [(200, 150), (100, 75), (41, 90)])
def test_an_enlarged_picture_differs_by_rounding_alone(letterboxed, width, height):
    picture = draw_lesion(np.random.default_rng(1), width=width, height=height, symmetry=0).image
    found = letterboxed.run(None, {"image": np.dstack([picture, np.full((height, width), 255, np.uint8)])})
    for square, size in zip(found, SIZES.values(), strict=False):
        wrong = np.abs(square[0].astype(int) - letterbox(picture, size)[0])
        assert wrong.max() <= 1 and (wrong > 0).mean() < 0.01


@pytest.mark.parametrize(
    ("size", "cells", "count"), [(224, Cells(first=15.5, step=16), 13), (128, Cells(first=0.5, step=32), 4)]
)
@pytest.mark.parametrize(("width", "height"), [(1024, 768), (300, 300), (77, 301)])
def test_a_map_is_laid_as_in_python(size, cells, count, width, height):
    values = np.random.default_rng(2).random((count, count)).astype(np.float32)
    expected = on_picture(spread(values, size, cells), np.zeros((height, width, 3), np.uint8))
    given = {"activation": values[None, None], "picture": np.array([height, width])}
    (laid,) = session(graphs.laid_map(size, cells)).run(None, given)
    assert laid.shape == expected.shape
    assert np.abs(laid.astype(int) - expected).max() <= 1 and (laid != expected).mean() < 1e-3


@pytest.mark.parametrize(("width", "height"), [(600, 450), (1024, 768), (200, 150), (256, 192)])
def test_a_mask_grows_as_in_opencv(width, height):
    y, x = np.mgrid[:192, :256]
    probability = np.clip(300 - 3 * np.hypot(x - 120, y - 90), 0, 255).astype(np.uint8)
    expected = cv2.resize(probability, (width, height), interpolation=cv2.INTER_LINEAR) > 127
    given = {"probability": probability[None, None], "size": np.array([height, width])}
    (mask,) = session(graphs.full_mask(127)).run(None, given)
    assert 0 < mask.sum() < mask.size and (mask != expected).mean() < 5e-4


@pytest.mark.parametrize("logits", [[0.3, 0.2], [-2.0, 1.0], [0.0, 0.06]])
def test_symmetry_is_decided_as_in_python(logits):
    rule = SymmetryRule(("asymmetric", "symmetric"), 0.88, 0.5154)
    expected = decide_symmetry(logits, rule)
    probabilities, answer = session(graphs.symmetry_decision(rule)).run(None, {"logits": np.float32([logits])})
    assert rule.classes[int(answer)] == expected.label
    assert probabilities.tolist() == pytest.approx(list(expected.probabilities.values()), abs=1e-4)


def test_of_three_symmetries_the_likeliest_is_the_answer():
    rule = SymmetryRule(("asymmetric", "one_axis", "two_axes"), 1.0, None)
    _, answer = session(graphs.symmetry_decision(rule)).run(None, {"logits": np.float32([[0.1, 0.2, 0.7]])})
    assert rule.classes[int(answer)] == decide_symmetry([0.1, 0.2, 0.7], rule).label == "two_axes"


@pytest.mark.parametrize(
    ("logits", "unlikeness"),
    [([4, 0, 0], 1.0), ([1, 0.9, 0], 1.0), ([1, 0.9, 0.8], 1.0), ([4, 0, 0], 3.5), ([0.1, 0, 0], 9.0)],
)
@pytest.mark.parametrize("quantile", [0.82, 0.2])
def test_a_class_is_decided_as_in_python(logits, unlikeness, quantile):
    rule = ClassRule(("mel", "nv", "bkl"), 0.96, Conformal(coverage=0.9, quantile=quantile, widest=2), 3.0)
    expected = decide_class(logits, unlikeness, rule)
    run = session(graphs.class_decision(rule))
    given = {"logits": np.float32([logits]), "unlikeness": np.float32([unlikeness])}
    found = dict(zip([output.name for output in run.get_outputs()], run.run(None, given), strict=True))
    assert found["probabilities"].tolist() == pytest.approx(list(expected.probabilities.values()), abs=1e-4)
    assert [rule.classes[k] for k in found["ranked"] if found["fits"][k]] == expected.prediction_set
    assert bool(found["too_many"] or found["too_few"] or found["unlike"]) == (expected.label is None)
    assert bool(found["unlike"]) == ("unlike the images it was trained on" in expected.reasons)
    assert float(found["distance"]) == pytest.approx(expected.unlikeness, abs=1e-4)
