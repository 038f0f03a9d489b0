"""Attention over positions and channels: the fused kernel is the printed N x N form, forward and backward."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from cutis.layers.dual_attention import (  # noqa: E402
    ChannelAttention,
    PositionAttention,
    channel_attention,
    position_attention,
    textbook_position_attention,
)
from cutis.layers.factorized import FactorizedAttention, FactorizedConv  # noqa: E402


def _maps(*shape, count=3, dtype=torch.float32):
    return torch.randn(count, *shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(2, 16, 24, 20), (1, 128, 16, 16), (1, 5, 7, 3)])
def test_fused_attention_is_the_textbook_form(shape):
    b, c, d = _maps(*shape).unbind()
    torch.testing.assert_close(position_attention(b, c, d), textbook_position_attention(b, c, d), atol=1e-5, rtol=1e-5)


def test_fused_attention_has_the_textbook_gradients():
    found = []
    for attend in (position_attention, textbook_position_attention):
        maps = _maps(2, 6, 8, 9).requires_grad_()
        attend(*maps.unbind()).square().sum().backward()
        found.append(maps.grad)
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-4)


def test_position_and_channel_attention_start_as_the_identity_and_learn():
    x = _maps(2, 8, 6, 6, count=1)[0]
    for module in (PositionAttention(8), ChannelAttention()):
        assert torch.equal(module(x), x)
        module(x).square().sum().backward()
        scale = module.eta if isinstance(module, PositionAttention) else module.gamma
        assert scale.grad.abs() > 0


def test_attention_follows_positions_and_channels_when_they_are_moved():
    b, c, d = _maps(1, 4, 5, 6).unbind()
    flipped = position_attention(b.flip(3), c.flip(3), d.flip(3))
    torch.testing.assert_close(flipped, position_attention(b, c, d).flip(3))
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(channel_attention(b[:, order]), channel_attention(b)[:, order])


def test_channel_attention_is_computed_in_single_precision_for_half_maps():
    a = _maps(1, 4, 32, 32, count=1)[0] * 20  # products of whole maps pass float16's largest number
    assert torch.isfinite(channel_attention(a.half())).all()


def test_a_factorised_pair_sees_a_square_of_its_dilation():
    conv = FactorizedConv(1, dilation=3)
    with torch.no_grad():
        for weights in conv.parameters():
            weights.fill_(1.0 if weights.ndim > 1 else 0.0)
    point = torch.zeros(1, 1, 9, 9)
    point[0, 0, 4, 4] = 1
    rows, columns = torch.nonzero(conv(point)[0, 0]).unbind(1)
    assert sorted(set(rows.tolist())) == sorted(set(columns.tolist())) == [1, 4, 7]


def test_dropout_acts_while_training_only():
    module = FactorizedAttention(4, channel=True, dropout=0.5)
    x = _maps(2, 4, 8, 8, count=1)[0]
    assert not torch.equal(module(x), module(x))
    module.eval()
    assert torch.equal(module(x), module(x))
