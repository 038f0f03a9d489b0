"""SE-LCN, Eq. 1-9: values worked by hand and by independent implementations (Eq. of Grad-CAM++: tests/layers)."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cutis.losses.classification import class_weights, symmetry_weights, weighted_cross_entropy  # noqa: E402
from cutis.losses.rank import hybrid_loss, rank_loss, two_sided_dice_loss  # noqa: E402
from cutis.metrics.localization import localize  # noqa: E402

PAPER = {"hardest": 30, "margin": 0.3}


def drawn(seed, batch=3, size=24):
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.01, 0.99, (batch, 1, size, size))
    mask = (rng.uniform(size=p.shape) > 0.7).astype(np.float64)
    return p, mask


def logits(p):
    return torch.logit(torch.from_numpy(p))


def square(side, top, left, height, width):
    mask = np.zeros((side, side), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_eq_1_pointing_game_is_the_share_of_hits():
    mask = square(100, 40, 40, 20, 20)  # dilated twice by 5 x 5: rows and columns 36 to 63
    hits = []
    for row, column in ((50, 50), (36, 63), (35, 50), (5, 5)):
        activation = np.zeros((100, 100), np.float32)
        activation[row, column] = 1
        hits.append(localize(activation, mask).hit)
    assert hits == [1, 1, 0, 0]
    assert sum(hits) / len(hits) == 0.5


def test_eq_2_is_dice_plus_a_twentieth_of_rank():
    p, mask = drawn(0)
    z, g = logits(p), torch.from_numpy(mask)
    found = hybrid_loss(z, g, rank_weight=0.05, smooth=1e-5, **PAPER)
    expected = two_sided_dice_loss(z, g, smooth=1e-5) + 0.05 * rank_loss(z, g, **PAPER)
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, hybrid_loss(z, g, rank_weight=0.0, smooth=1e-5, **PAPER))


def test_eq_3_is_the_mean_of_both_sides_dice():
    p, mask = drawn(1)
    expected = []
    for q, g in zip(p, mask, strict=True):
        lesion = 2 * (q * g).sum() / (q.sum() + g.sum())
        background = 2 * ((1 - q) * (1 - g)).sum() / ((1 - q).sum() + (1 - g).sum())
        expected.append(1 - (lesion + background) / 2)
    found = two_sided_dice_loss(logits(p), torch.from_numpy(mask), smooth=1e-5)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_eq_3_as_printed_would_not_be_zero_for_a_perfect_mask():
    g = square(8, 2, 2, 4, 4)
    assert 1 - (g & g).sum() / (g.sum() + g.sum()) == 0.5
    z = torch.where(torch.from_numpy(g), 50.0, -50.0)[None, None]
    assert two_sided_dice_loss(z, (z > 0).float(), smooth=1e-5).item() == pytest.approx(0, abs=1e-6)


def test_eq_4_by_two_loops_over_900_pairs():
    p, mask = drawn(2)
    expected = []
    for q, g in zip(p, mask, strict=True):
        background, lesion = sorted(q[g == 0])[-30:], sorted(q[g == 1])[:30]
        pairs = [max(0.0, zero - one + 0.3) for zero in background for one in lesion]
        assert len(pairs) == 900
        expected.append(sum(pairs) / 30**2)
    np.testing.assert_allclose(rank_loss(logits(p), torch.from_numpy(mask), **PAPER).numpy(), expected, atol=1e-6)


def test_eq_4_moves_only_the_hard_pixels_up_in_the_lesion_and_down_outside():
    p, mask = drawn(3, batch=1)
    z, g = logits(p).requires_grad_(), torch.from_numpy(mask)
    rank_loss(z, g, **PAPER).sum().backward()
    moved = z.grad != 0
    assert moved.sum() == 60
    assert (z.grad[g == 1] <= 0).all() and (z.grad[g == 0] >= 0).all()
    assert p[moved.numpy() & (mask == 1)].max() <= np.sort(p[mask == 1])[29]


def test_eq_5_by_hand():
    counts = [327, 514, 1099, 115, 1113, 6705, 142]  # HAM10000, alphabetical
    weights = class_weights(counts)
    assert weights[0].item() == pytest.approx(10015 / (327 * 7), rel=1e-6)
    assert weights[5].item() == pytest.approx(10015 / (6705 * 7), rel=1e-6)
    assert sum(w.item() * n for w, n in zip(weights, counts, strict=True)) == pytest.approx(10015, rel=1e-6)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.97])
def test_eq_6_by_hand(label, p):
    counts = [936, 1064]
    w = 2000 / (1064 * 2)
    expected = -(w * label * math.log(p) + (1 - label) * math.log(1 - p))
    scores = torch.tensor([[math.log(1 - p), math.log(p)]])
    found = weighted_cross_entropy(scores, torch.tensor([label]), symmetry_weights(counts))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_eq_7_by_hand_and_not_divided_by_the_weights():
    rng = np.random.default_rng(4)
    scores, labels, weights = rng.normal(size=(5, 7)), rng.integers(0, 7, 5), rng.uniform(0.2, 5, 7)
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    expected = [-sum(weights[i] * (i == y) * math.log(q[i]) for i in range(7)) for q, y in zip(p, labels, strict=True)]
    given = (torch.from_numpy(values) for values in (scores, labels, weights.astype(np.float32)))
    np.testing.assert_allclose(weighted_cross_entropy(*given).numpy(), expected, rtol=1e-5)


def test_eq_8_and_9_by_hand():
    mask = square(100, 40, 40, 20, 20)  # Y: 28 x 28
    activation = np.where(square(100, 40, 30, 20, 20), 0.8, 0.5).astype(np.float32)  # X: 400, of which 20 x 14 in Y
    found = localize(activation, mask)
    assert found.iou == pytest.approx(280 / (400 + 784 - 280))
    assert found.overlap == pytest.approx(280 / 400)
