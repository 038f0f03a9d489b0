"""Four looks at one image: turned back before they are compared, and how sure the mask is."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from cutis.imaging.preprocessing import Preprocessing
from cutis.label.flips import Flips, sureness

STEPS = Preprocessing(size=32, mean=(0, 0, 0), std=(1, 1, 1))


def model(answer):
    return SimpleNamespace(preprocessing=STEPS, threshold=0.5, probability=answer)


def test_a_network_that_moves_with_the_image_agrees_with_itself():
    looks = Flips(model(lambda batch: batch[..., 0].astype(np.float32) / 255))
    square = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    mean = looks.probability(square)
    assert mean.shape == (1, 32, 32)
    assert (looks.seen == square[..., 0].astype(np.float32) / 255).all()
    assert np.allclose(mean[0], looks.seen[0])


def test_a_network_that_does_not_is_found_out():
    fixed = np.zeros((32, 32), np.float32)
    fixed[4:12, 4:20] = 1  # whatever it is shown
    looks = Flips(model(lambda batch: np.repeat(fixed[None], 4, 0)))
    looks.probability(np.zeros((32, 32, 3), np.uint8))
    assert sureness(looks.seen, 0.2, 32, 32).agreement < 0.8
    assert sureness(np.repeat(fixed[None], 4, 0), 0.5, 32, 32) == (1.0, 1.0)


def test_doubt_lowers_the_promise_and_nothing_found_is_no_promise():
    seen = np.full((4, 32, 32), 0.01, np.float32)
    assert sureness(seen, 0.5, 32, 32) == (0.0, 0.0)
    promises = []
    for inside in (0.6, 0.8, 1.0):
        seen[:, 8:24, 8:24] = inside
        promises.append(sureness(seen, 0.5, 32, 32).product)
    assert promises == sorted(promises) and promises[-1] == pytest.approx(2 * 256 / (256 + 256 + 768 * 0.01))


def test_what_lies_outside_the_picture_does_not_count():
    seen = np.zeros((4, 32, 32), np.float32)
    seen[:, 10:20, 10:20] = 0.9
    wide = sureness(seen, 0.5, 64, 32)
    seen[:, :8] = 0.9  # the letterbox's bars: the picture is rows 8 to 24
    assert sureness(seen, 0.5, 64, 32) == wide


def test_the_expected_dice_is_the_one_that_comes_true_where_probabilities_are_right():
    rng = np.random.default_rng(1)
    probability = np.zeros((32, 32), np.float32)
    probability[6:26, 6:26] = 0.85
    probability[10:20, 10:20] = 0.99
    probability[2:6, 2:30] = 0.1
    drawn = []
    for _ in range(400):
        truth = rng.random((32, 32)) < probability
        mask = probability > 0.5
        drawn.append(2 * (truth & mask).sum() / (truth.sum() + mask.sum()))
    assert sureness(np.repeat(probability[None], 4, 0), 0.5, 32, 32).expected == pytest.approx(np.mean(drawn), abs=0.01)
