"""Rank loss where a side has few pixels or none, and in one scale of logits after another."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from cutis.losses.rank import hybrid_loss, rank_loss  # noqa: E402

PAPER = {"hardest": 30, "margin": 0.3}


def image(p):
    return torch.logit(torch.tensor(p)).reshape(1, 1, 2, -1)


def test_fewer_pixels_than_asked_count_the_pairs_there_are():
    mask = torch.tensor([1.0, 0.0, 0.0, 0.0]).reshape(1, 1, 2, 2)
    loss = rank_loss(image([0.5, 0.1, 0.4, 0.9]), mask, **PAPER)
    assert loss.item() == pytest.approx((0.0 + 0.2 + 0.7) / 3, abs=1e-6)


@pytest.mark.parametrize("side", [0.0, 1.0])
def test_an_empty_side_costs_nothing_and_moves_nothing(side):
    z = image([0.5, 0.1, 0.4, 0.9]).requires_grad_()
    loss = rank_loss(z, torch.full((1, 1, 2, 2), side), **PAPER)
    loss.sum().backward()
    assert loss.item() == 0 and torch.equal(z.grad, torch.zeros_like(z))


@settings(max_examples=25)
@given(seed=st.integers(0, 999), scale=st.floats(0.1, 100))
def test_lies_between_zero_and_one_plus_the_margin(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(2, 1, 12, 12, generator=generator) * scale
    mask = (torch.rand(2, 1, 12, 12, generator=generator) > 0.5).float()
    loss = rank_loss(z, mask, **PAPER)
    assert ((loss >= 0) & (loss <= 1.3)).all()
    assert (rank_loss(torch.where(mask > 0, 50.0, -50.0), mask, **PAPER) == 0).all()


def test_half_precision_logits_and_channels_last():
    generator = torch.Generator().manual_seed(0)
    z, mask = torch.randn(2, 1, 16, 16, generator=generator), (torch.rand(2, 1, 16, 16, generator=generator) > 0.5)
    every = {"rank_weight": 0.05, "smooth": 1e-5, **PAPER}
    expected = hybrid_loss(z.bfloat16().float(), mask.float(), **every)
    torch.testing.assert_close(hybrid_loss(z.bfloat16(), mask.to(torch.uint8), **every), expected)
    torch.testing.assert_close(
        hybrid_loss(z.to(memory_format=torch.channels_last), mask.float(), **every),
        hybrid_loss(z, mask.float(), **every),
    )
