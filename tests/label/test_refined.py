"""A promptable in a segmenter's place: asked about what was found, and never asked where nothing was."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from cutis.data.samples import Sample
from cutis.data.synthetic import write_folder
from cutis.imaging.preprocessing import Preprocessing
from cutis.imaging.read import read_mask
from cutis.label.one import Asking, label_one
from cutis.label.refined import PROMPTS, Refined, by_file, by_network
from cutis.metrics.overlap import count, dice
from cutis.mining.settings import PromptSettings
from cutis.records import ModelInfo
from cutis.teachers.promptable import Answered

SIDE = 64


class BoxTeller:
    """Says that the box itself is the object; or, where `mistaken`, a corner that nobody asked about."""

    name, fingerprint = "box teller", "none"
    preprocessing = Preprocessing(size=SIDE, mean=(0, 0, 0), std=(1, 1, 1))

    def __init__(self, mistaken=False):
        self.mistaken, self.asked = mistaken, []

    def embed(self, image):
        assert image.shape[1:] == (3, SIDE, SIDE) and image.min() >= 0 and image.max() <= 1
        return image[:, :1, ::4, ::4]

    def segment(self, embedding, prompts):
        self.asked.append(prompts)
        logits = torch.full((len(embedding), 3, SIDE, SIDE), -8.0)
        for row, box in enumerate(prompts.boxes.round().long().tolist()):
            x0, y0, x1, y1 = (0, 0, 8, 8) if self.mistaken else box
            logits[row, 1, y0 : y1 + 1, x0 : x1 + 1] = 8.0
        return Answered(logits, torch.tensor([[0.1, 0.9, 0.2]]).expand(len(embedding), 3))


def refined(promptable, found):
    settings = PromptSettings(**PROMPTS)
    return Refined(promptable, found, settings, np.random.default_rng(0), "cpu")


def test_it_is_asked_with_points_and_the_box_of_what_was_found():
    found = np.full((32, 32), 0.01, np.float32)
    found[8:16, 4:20] = 0.9
    teller = BoxTeller()
    one = refined(teller, found)
    answer = one.probability(np.zeros((SIDE, SIDE, 3), np.uint8))
    assert answer.shape == (1, SIDE, SIDE)
    expected = np.zeros((SIDE, SIDE), bool)
    expected[16:32, 8:40] = True
    assert ((answer[0] > 0.5) == expected).all()
    (prompts,) = teller.asked
    assert prompts.boxes.tolist() == [[8, 16, 39, 31]] and prompts.masks is None
    assert prompts.points.shape == (1, 5, 2) and (prompts.labels == 1).all()
    assert one.score == pytest.approx(0.9)


def test_where_nothing_was_found_nothing_is_asked():
    teller = BoxTeller()
    one = refined(teller, np.full((32, 32), 0.01, np.float32))
    assert one.probability(np.zeros((SIDE, SIDE, 3), np.uint8)).max() < 0.5
    assert teller.asked == [] and math.isnan(one.score)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    home = tmp_path_factory.mktemp("drawn")
    write_folder(home, 1, 3, width=96, height=72)
    return home


def knowing(home):
    """A segmenter that answers with the drawn mask."""
    from cutis.imaging.frame import letterbox

    square = letterbox(read_mask(home / "masks" / "lesion_000.png").view(np.uint8) * np.uint8(255), 64)[0] / 255
    looks = [square, square[:, ::-1], square[::-1], square[::-1, ::-1]]
    steps = Preprocessing(size=64, mean=(0, 0, 0), std=(1, 1, 1))
    return SimpleNamespace(
        preprocessing=steps, threshold=0.5, probability=lambda batch: np.stack(looks[: len(batch)]).astype(np.float32)
    )


@pytest.mark.parametrize("mistaken", [False, True])
def test_agreement_lowers_the_confidence(drawn, mistaken):
    asking = Asking(knowing(drawn), by_network(BoxTeller(mistaken), PromptSettings(**PROMPTS), 0, "cpu"))
    sample = Sample("lesion_000", drawn / "images" / "lesion_000.jpg")
    row, mask = label_one(sample, "a.jpg", "masks/a.png", asking, predict=True)
    assert row.source == "refined" and row.score == pytest.approx(0.9)
    truth = read_mask(drawn / "masks" / "lesion_000.png")
    assert row.refined == pytest.approx(float(dice(count(mask, truth))), abs=0.03)
    assert row.confidence == pytest.approx(row.expected * row.flips * row.refined, abs=1e-3)
    assert row.refined == 0 if mistaken else row.refined > 0.6


def test_an_exported_promptable_is_asked_with_the_same(drawn):
    asked = []

    def answer(square, box, points, mask, *, trusted):
        asked.append((box, points, mask))
        found = np.zeros((SIDE, SIDE), np.float32)
        left, top, right, bottom = (round(edge) for edge in box)
        found[top : bottom + 1, left : right + 1] = 1
        return found, 0.8

    info = ModelInfo(name="box teller", version="0", precision="int8", sha256="0")
    exported = SimpleNamespace(preprocessing=BoxTeller.preprocessing, points=8, info=info, answer=answer)
    segmenter = knowing(drawn)
    asking = Asking(segmenter, by_file(exported, segmenter.preprocessing))
    row, mask = label_one(Sample("a", drawn / "images" / "lesion_000.jpg"), "a.jpg", "a.png", asking, predict=True)
    assert (row.source, row.score) == ("refined", 0.8)
    truth = read_mask(drawn / "masks" / "lesion_000.png")
    rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    boxed = np.zeros_like(truth)
    boxed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    assert float(dice(count(mask, boxed))) > 0.93  # the outer box of what was found, at the image's own size
    ((_, points, prompt),) = asked
    assert prompt is None and 1 <= len(points) <= 5 and all(on for *_, on in points)
