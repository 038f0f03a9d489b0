"""SLSNet's equations 1 to 11 and 17, each against values worked by hand or written out as loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cutis.layers.dual_attention import ChannelAttention, PositionAttention, position_attention  # noqa: E402
from cutis.layers.factorized import FactorizedConv, rank_one_kernels  # noqa: E402
from cutis.losses.adversarial import (  # noqa: E402
    discriminator_loss,
    generator_loss,
    jaccard_gradient,
    jaccard_loss,
    l1_loss,
)
from cutis.metrics.overlap import Counts, count, jaccard, thresholded_jaccard  # noqa: E402


def _random(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_eq_1_and_2_channel_attention_by_hand():
    a = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]], dtype=torch.float64)  # A_1.A_1 = 1, A_2.A_2 = 4, A_1.A_2 = 0
    module = ChannelAttention().double()
    with torch.no_grad():
        module.gamma.fill_(0.5)
    x11, x12 = math.exp(1) / (math.exp(1) + 1), 1 / (math.exp(4) + 1)  # x_ji over i: own row's sum
    x21 = 1 / (math.exp(1) + 1)
    x22 = math.exp(4) / (math.exp(4) + 1)
    expected = [[0.5 * x11 + 1, 0.5 * x21 * 2], [0.5 * x12, 0.5 * x22 * 2 + 2]]
    torch.testing.assert_close(module(a)[0, :, 0], torch.tensor(expected, dtype=torch.float64))


def test_eq_3_and_4_position_attention_as_loops():
    b, c, d = _random(3, 1, 2, 2, 3).unbind()
    B, C, D = (x.reshape(2, 6) for x in (b, c, d))
    expected = torch.zeros(2, 6, dtype=torch.float64)
    for j in range(6):
        weights = [math.exp(float(B[:, i] @ C[:, j])) for i in range(6)]
        for i in range(6):
            expected[:, j] += weights[i] / sum(weights) * D[:, i]
    torch.testing.assert_close(position_attention(b, c, d).reshape(2, 6), expected)
    module = PositionAttention(2).double().eval()
    with torch.no_grad():
        module.eta.fill_(0.25)
        a = _random(1, 2, 2, 3)
        summed = position_attention(module.b(a), module.c(a), module.d(a))
        torch.testing.assert_close(module(a), 0.25 * summed + a)


def test_eq_5_a_kernel_is_the_sum_of_its_rank_one_terms():
    kernel = _random(3, 3)
    sigma, v, h = rank_one_kernels(kernel)
    total = sum(sigma[k] * torch.outer(v[k], h[k]) for k in range(3))
    torch.testing.assert_close(total, kernel)


def test_eq_6_a_factorised_layer_as_loops():
    conv = FactorizedConv(2, dilation=1).double()
    a = _random(1, 2, 4, 5)
    v, bv = conv.vertical.weight[..., 0], conv.vertical.bias
    h, bh = conv.horizontal.weight[:, :, 0], conv.horizontal.bias
    inner = torch.zeros(2, 4, 5, dtype=torch.float64)
    for layer in range(2):
        for y in range(4):
            for x in range(5):
                terms = (
                    v[layer, c, k] * a[0, c, y + k - 1, x] for c in range(2) for k in range(3) if 0 <= y + k - 1 < 4
                )
                inner[layer, y, x] = torch.relu(bv[layer] + sum(terms))
    expected = torch.zeros(2, 4, 5, dtype=torch.float64)
    for i in range(2):
        for y in range(4):
            for x in range(5):
                terms = (h[i, c, k] * inner[c, y, x + k - 1] for c in range(2) for k in range(3) if 0 <= x + k - 1 < 5)
                expected[i, y, x] = bh[i] + sum(terms)
    torch.testing.assert_close(conv(a)[0], expected)


def test_eq_6_is_a_separable_two_dimensional_convolution_where_nothing_is_cut_off():
    conv = FactorizedConv(1, dilation=1).double()
    with torch.no_grad():
        conv.vertical.weight.abs_()
        conv.vertical.bias.zero_()
        kernel = torch.einsum("i,j->ij", conv.vertical.weight.flatten(), conv.horizontal.weight.flatten())
        a = _random(1, 1, 6, 6).abs()
        whole = torch.nn.functional.conv2d(a, kernel[None, None], conv.horizontal.bias, padding=1)
        torch.testing.assert_close(conv(a), whole)


def test_eq_7_the_generators_three_terms():
    logits = torch.tensor([0.0, math.log(3)], dtype=torch.float64).view(2, 1, 1, 1)  # D = 1/2 and 3/4
    torch.testing.assert_close(generator_loss(logits), torch.tensor([math.log(2), math.log(4 / 3)]).double())
    p = torch.tensor([0.25, 1.0], dtype=torch.float64).view(1, 1, 1, 2)
    g = torch.tensor([1.0, 0.0], dtype=torch.float64).view(1, 1, 1, 2)
    assert l1_loss(p, g).item() == pytest.approx((0.75 + 1) / 2)


def test_eq_8_is_eq_9_for_masks_of_0_and_1():
    rng = np.random.default_rng(0)
    truth, found = rng.random((5, 8, 8)) < 0.4, rng.random((5, 8, 8)) < 0.5
    loss = jaccard_loss(*(torch.from_numpy(x).double().unsqueeze(1) for x in (found, truth)))
    np.testing.assert_allclose(loss.numpy(), 1 - jaccard(count(found, truth)))


def test_eq_9_by_hand():
    p = torch.tensor([0.5, 0.8, 0.2], dtype=torch.float64).view(1, 1, 1, 3)
    g = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64).view(1, 1, 1, 3)
    shared, squares = 0.5 + 0.8, 0.25 + 0.64 + 0.04
    assert jaccard_loss(p, g).item() == pytest.approx(1 - shared / (2 + squares - shared))


def test_eq_10_is_the_gradient_of_eq_9():
    p = torch.rand(2, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    g = (_random(2, 1, 4, 4) > 0).double()
    jaccard_loss(p, g).sum().backward()
    torch.testing.assert_close(p.grad, jaccard_gradient(p.detach(), g))


def test_the_jaccard_loss_of_two_empty_masks_is_0():
    p = torch.zeros(1, 1, 2, 2, requires_grad=True)
    loss = jaccard_loss(p, torch.zeros(1, 1, 2, 2))
    loss.sum().backward()
    assert loss.item() == 0 and torch.isfinite(p.grad).all()


def test_eq_11_the_discriminators_two_terms():
    real = torch.tensor([0.0, math.log(3)], dtype=torch.float64).view(1, 1, 1, 2)  # D = 1/2, 3/4
    fake = torch.tensor([math.log(3)], dtype=torch.float64).view(1, 1, 1, 1)  # D = 3/4
    expected = (-math.log(1 / 2) - math.log(3 / 4)) / 2 - math.log(1 - 3 / 4)
    assert discriminator_loss(real, fake).item() == pytest.approx(expected)
    extreme = torch.full((1, 1, 1, 1), 200.0)  # a sigmoid would be exactly 1 here, and its logarithm's partner infinite
    assert discriminator_loss(extreme, extreme).item() == pytest.approx(200.0)


def test_eq_17_thresholded_jaccard():
    counts = Counts(*np.array([[649, 650, 1000], [351, 350, 0], [0, 0, 0], [0, 0, 0]]))
    assert thresholded_jaccard(counts).tolist() == [0.0, 0.65, 1.0]
