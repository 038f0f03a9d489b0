"""Masks corrected by boxes and points, or refined: coordinates, records, what is refused. One promptable is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cutis import analyze
from cutis.analysis.pipeline import analyze_image
from cutis.analysis.prompted import Correction, correction_of, load_promptable_model, parse_box, parse_point
from cutis.analysis.runtime import load_model
from cutis.data.synthetic import draw_lesion
from cutis.errors import CutisError
from cutis.imaging.preprocessing import Preprocessing
from cutis.records import ModelInfo


class Echo:
    """Answers with the box, or with a disc round each point, drawn in its own square: what was asked can be seen."""

    points = 4
    info = ModelInfo(name="echo", version="1", precision="fp32", sha256="0" * 64)

    def __init__(self, size=128):
        self.preprocessing = Preprocessing(size=size, mean=(0, 0, 0), std=(1, 1, 1))
        self.asked = []

    def answer(self, square, box, points, mask, *, trusted):
        self.trusted = trusted
        self.asked.append((box, points, mask))
        y, x = np.mgrid[: square.shape[0], : square.shape[1]]
        out = np.full(square.shape[:2], 0.01, np.float32)
        if box:
            out[(x >= box[0]) & (x <= box[2]) & (y >= box[1]) & (y <= box[3])] = 0.99
        for px, py, on in points:
            out[(x - px) ** 2 + (y - py) ** 2 < 36] = 0.99 if on else 0.01
        return out, 0.875


@pytest.fixture(scope="module")
def picture():
    return draw_lesion(np.random.default_rng(3), width=400, height=300, symmetry=2).image


@pytest.fixture(scope="module")
def segmenter():
    return load_model()


def analysed(picture, segmenter, **asked):
    return analyze_image(picture, segmenter, name="drawn", correction=Correction(Echo(), **asked))


def test_a_persons_box_lands_where_it_was_drawn_whatever_the_squares(picture, segmenter):
    outcome = analysed(picture, segmenter, box=(40, 60, 199, 219))
    x0, y0, x1, y1 = outcome.analysis.lesion.box
    assert np.allclose((x0, y0, x1, y1), (40, 60, 200, 220), atol=4)  # 128 cells for 400 pixels
    told = outcome.analysis.refined
    assert told.model.name == "echo" and told.asked_by == "person" and told.score == 0.875
    assert np.allclose(told.box, (40, 60, 199, 219), atol=0.2) and told.points == []


def test_points_come_with_the_networks_own_mask_and_a_box_without(picture, segmenter):
    echo = Echo()
    for asked in ({"points": ((100, 100),), "not_points": ((300, 20),)}, {"box": (40, 60, 199, 219)}):
        analyze_image(picture, segmenter, name="drawn", correction=Correction(echo, **asked))
    (box, points, mask), (_, _, without) = echo.asked
    assert box is None and [on for _, _, on in points] == [True, False] and without is None
    own = analyze_image(picture, segmenter, name="drawn").mask
    assert (mask > 0.5).mean() == pytest.approx(own.mean() * 300 / 400, rel=0.1)  # of the square, with its bars
    at = points[0][:2]
    assert np.allclose(at, (100 * 128 / 400, 16 + 100 * 128 / 400), atol=0.5)


def test_refining_asks_by_the_box_and_the_surest_points_of_the_own_mask(picture, segmenter):
    own = analyze_image(picture, segmenter, name="drawn")
    outcome = analysed(picture, segmenter, refine=True)
    told = outcome.analysis.refined
    assert told.asked_by == "network" and 1 <= len(told.points) <= 5
    left, top, right, bottom = own.analysis.lesion.box
    assert np.allclose(told.box, (left, top, right - 1, bottom - 1), atol=6)
    assert all(own.mask[round(y), round(x)] and on for x, y, on in told.points)
    assert own.analysis.refined is None


class Nothing:
    """A segmenter that never finds anything."""

    info, threshold = Echo.info, 0.5
    preprocessing = Preprocessing(size=64, mean=(0, 0, 0), std=(1, 1, 1))

    def probability(self, square):
        return np.full((1, *square.shape[:2]), 0.01, np.float32)


class Everywhere(Echo):
    """Answers that all is lesion."""

    def answer(self, square, box, points, mask, *, trusted):
        return np.full(square.shape[:2], 0.99, np.float32), 0.5


class Halves:
    """A decoder's file: three masks, a small one that it thinks best of, one that fills the box, one beside it."""

    def run(self, outputs, feeds):
        logits = np.full((1, 3, 32, 32), -5, np.float32)
        logits[0, 0, 10:13, 10:13] = logits[0, 1, 5:20, 5:20] = logits[0, 2, 20:30, 20:30] = 5
        return [logits, np.array([[0.9, 0.6, 0.8]], np.float32)]


def test_a_persons_box_counts_when_the_mask_is_chosen():
    model = load_promptable_model()
    size, decoder = model.preprocessing.size, model._decoder
    blank, eighth = np.zeros((size, size, 3), np.uint8), size / 32
    box = (5 * eighth, 5 * eighth, 20 * eighth - 1, 20 * eighth - 1)
    try:
        model._decoder, model.mask_side = Halves(), 32
        for trusted, area, score in ((False, 3 * 3, 0.9), (True, 15 * 15, 0.6)):
            answer, said = model.answer(blank, box, [], None, trusted=trusted)
            assert (answer > 0.5).sum() == pytest.approx(area * eighth**2, rel=0.05)
            assert said == pytest.approx(score)
    finally:
        model._decoder = decoder


def test_nothing_is_lesion_beside_a_persons_box(picture, segmenter):
    mask = analyze_image(
        picture, segmenter, name="drawn", correction=Correction(Everywhere(), box=(100, 80, 220, 200))
    ).mask
    y, x = np.nonzero(mask)
    assert (x.min(), x.max(), y.min(), y.max()) == pytest.approx((82, 238, 62, 218), abs=4)  # three twentieths more


def test_the_bundled_promptable_corrects_from_python_too(picture, tmp_path):
    own = analyze(picture)
    left, top, right, bottom = own.lesion.box
    boxed = analyze(picture, box=(left, top, right - 1, bottom - 1))
    pointed = analyze(picture, points=[((left + right) / 2, (top + bottom) / 2)], not_points=[(3, 3)])
    refined = analyze(picture, refine=True)
    for found in (boxed, pointed, refined):
        assert found.lesion.box == pytest.approx(own.lesion.box, abs=12)
        assert found.refined.model.name == "promptable" and found.refined.model.precision == "int8"
    assert [found.refined.asked_by for found in (boxed, pointed, refined)] == ["person", "person", "network"]
    assert own.refined is None
    path = tmp_path / "drawn.png"
    Image.fromarray(picture).save(path)
    (written,) = analyze([path], box=(left, top, right - 1, bottom - 1), output=tmp_path / "out")
    assert written.refined == boxed.refined


def test_where_nothing_is_found_only_a_person_asks(picture):
    for asked, status in (({"refine": True}, "no_lesion"), ({"box": (40, 60, 199, 219)}, "lesion")):
        outcome = analysed(picture, Nothing(), **asked)
        assert outcome.analysis.status == status and outcome.mask.any() == (status == "lesion")
        assert (outcome.analysis.refined is None) == (status == "no_lesion")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"box": (40, 60, 400, 219)},
            "the box reaches 400,219, outside the picture of 400 x 300 pixels: give x from 0",
        ),
        ({"points": ((-1, 5),)}, "the point reaches -1,5, outside"),
        ({"not_points": ((5, 300),)}, "the point reaches 5,300, outside"),
        ({"points": ((5, 5),) * 5}, "5 points are given, echo takes 4"),
    ],
)
def test_prompts_outside_the_picture_are_refused(picture, segmenter, asked, message):
    with pytest.raises(CutisError, match=message):
        analysed(picture, segmenter, **asked)


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (parse_box, "1,2,3", "the box 1,2,3 is not x0,y0,x1,y1: give 4 numbers"),
        (lambda text: correction_of(parse_box(text), (), (), None), "5,2,3,9", "the box 5,2,3,9 is inside out"),
        (parse_point, "here", "the point here is not x,y"),
        (parse_point, "nan,1", "is not x,y"),
        (load_promptable_model, "no-encoder.onnx", "no model 'no-encoder.onnx'"),
    ],
)
def test_mistakes_are_named(parse, text, message):
    with pytest.raises(CutisError, match=message):
        parse(text)
