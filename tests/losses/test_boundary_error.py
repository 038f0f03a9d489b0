"""B_error and R_EFFU: values by hand, what a displaced border costs, masks without a border."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cutis.data.batches import signed_distance  # noqa: E402
from cutis.layers.effu import EFFU  # noqa: E402
from cutis.losses.boundary_error import boundary_error  # noqa: E402
from cutis.losses.gate_sparsity import gate_sparsity  # noqa: E402


def columns(*values):
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, -1)


def half(side=64, column=32):
    """The left part of a square, and its signed distance."""
    mask = np.zeros((side, side), np.uint8)
    mask[:, :column] = 1
    return torch.from_numpy(mask)[None, None].float(), torch.from_numpy(signed_distance(mask))[None, None]


def test_by_hand():
    p, mask, distance = columns(0.9, 0.6, 0.3, 0.2), columns(1.0, 1.0, 0.0, 0.0), columns(-0.2, -0.1, 0.1, 0.3)
    found = boundary_error(torch.logit(p), mask, distance, band=0.2)
    assert found.item() == pytest.approx((0.2 * 0.1 + 0.1 * 0.4 + 0.1 * 0.3) / (0.2 + 0.1 + 0.1), abs=1e-6)


def test_right_is_0_and_wrong_is_1():
    mask, distance = half()
    assert boundary_error(mask * 80 - 40, mask, distance, band=0.1).item() < 1e-6
    assert boundary_error(40 - mask * 80, mask, distance, band=0.1).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("pixels", [4, 8])
def test_a_displaced_border_costs_half_its_share_of_the_band_squared(pixels):
    mask, distance = half(128, 64)
    moved, _ = half(128, 64 + pixels)
    found = boundary_error(moved * 80 - 40, mask, distance, band=16 / 128)
    assert found.item() == pytest.approx((pixels / 16) ** 2 / 2, rel=0.25)  # pixels are not a continuum


def test_nothing_outside_the_band_counts():
    mask, distance = half()
    far = torch.zeros_like(mask)
    far[..., 60:] = 80
    assert boundary_error(mask * 80 - 40 + far, mask, distance, band=0.2).item() < 1e-6


def test_masks_without_a_border_are_judged_by_every_pixel():
    mask = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])
    distance = torch.from_numpy(np.stack([signed_distance(m[0].numpy().astype(np.uint8)) for m in mask]))[:, None]
    logits = torch.full((2, 1, 8, 8), -40.0)
    logits[:, :, :2] = 40.0
    torch.testing.assert_close(boundary_error(logits, mask, distance, band=0.1), torch.tensor([0.25, 0.75]))


def test_has_no_gradient():
    mask, distance = half()
    assert not boundary_error(torch.zeros_like(mask).requires_grad_(), mask, distance, band=0.1).requires_grad


def test_gate_sparsity_is_the_mean_over_all_gates_and_pulls_every_one_down():
    gates = [EFFU(2, open=0.5), EFFU(6, open=0.8)]
    loss = gate_sparsity(gates)
    assert loss.item() == pytest.approx((2 * 0.5 + 6 * 0.8) / 8)
    loss.backward()
    torch.testing.assert_close(gates[0].phi.grad, torch.full((2,), 0.25 / 8))
    torch.testing.assert_close(gates[1].phi.grad, torch.full((6,), 0.16 / 8))
    assert gate_sparsity([]).item() == 0
