"""Dice and boundary losses: values by hand, agreement with MONAI and with the definition."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from cutis.losses.boundary import boundary_loss  # noqa: E402
from cutis.losses.overlap import dice_loss  # noqa: E402


def logit(p):
    return torch.logit(torch.tensor(p, dtype=torch.float64)).reshape(1, 1, 2, 2)


def test_dice_by_hand():
    mask = torch.tensor([1.0, 1.0, 0.0, 0.0]).reshape(1, 1, 2, 2)
    loss = dice_loss(logit([0.9, 0.5, 0.2, 0.4]), mask)
    assert loss.item() == pytest.approx(1 - (2 * 1.4 + 1) / (2.0 + 2.0 + 1), abs=1e-6)


def test_dice_equals_monai():
    monai = pytest.importorskip("monai.losses")
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 1, 16, 16, generator=generator)
    mask = (torch.rand(5, 1, 16, 16, generator=generator) > 0.6).float()
    theirs = monai.DiceLoss(sigmoid=True, smooth_nr=1.0, smooth_dr=1.0, reduction="none")(logits, mask).flatten()
    torch.testing.assert_close(dice_loss(logits, mask), theirs)


def test_empty_mask_and_empty_answer_cost_nothing():
    nothing = torch.full((1, 1, 8, 8), -60.0)
    assert dice_loss(nothing, torch.zeros(1, 1, 8, 8)).item() == pytest.approx(0, abs=1e-6)
    assert boundary_loss(nothing, torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8), band=0.1).item() < 1e-6


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_boundary_has_kervadecs_gradient(seed):
    """|phi| |p - g| and phi (p - g) differ by a constant in p, so their gradients are the same (band wide enough)."""
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.rand(2, 1, 6, 6, generator=generator) > 0.5).double()
    distance = torch.rand(2, 1, 6, 6, generator=generator, dtype=torch.float64) * torch.where(mask > 0, -1.0, 1.0)
    logits = torch.randn(2, 1, 6, 6, generator=generator, dtype=torch.float64)
    ours = logits.clone().requires_grad_()
    boundary_loss(ours, mask, distance, band=1.0).sum().backward()
    theirs = logits.clone().requires_grad_()
    (distance * (theirs.sigmoid() - mask)).flatten(1).mean(1).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-9)


def test_boundary_counts_far_errors_more():
    from cutis.data.batches import signed_distance

    truth = np.zeros((64, 64), np.uint8)
    truth[20:44, 20:44] = 1
    distance = torch.from_numpy(signed_distance(truth))[None, None]
    mask = torch.from_numpy(truth)[None, None].float()

    def cost(wrong):
        return boundary_loss((mask + wrong).clamp(max=1) * 80 - 40, mask, distance, band=0.2).item()

    near, far = torch.zeros_like(mask), torch.zeros_like(mask)
    near[..., 20:44, 44:46] = 1
    far[..., 20:44, 60:62] = 1
    assert 0 < 4 * cost(near) < cost(far)
