"""SLSNet: the budgets that the paper prints, its ablations, odd sizes, and the discriminator."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

import cutis.models  # noqa: E402, F401
from cutis.layers.dual_attention import ChannelAttention, PositionAttention  # noqa: E402
from cutis.models.budget import budget  # noqa: E402
from cutis.models.slsnet import slsnet  # noqa: E402
from cutis.models.slsnet_discriminator import slsnet_discriminator  # noqa: E402
from cutis.registry import models  # noqa: E402

ABLATIONS = {
    "baseline": ({"multiscale": False, "position": False, "channel": False}, 0.85),
    "position": ({"multiscale": False, "channel": False}, 0.88),
    "channel": ({"multiscale": False, "position": False}, 0.85),
    "both": ({"multiscale": False}, 0.88),
    "full": ({}, 0.90),
}
"""Keywords, and the multiply-adds in G that table 6 prints at 128 pixels."""


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_has_the_papers_multiply_adds(name):
    keywords, printed = ABLATIONS[name]
    assert budget(slsnet(**keywords), 128).convolutions / 1e9 == pytest.approx(printed, rel=0.05)


def test_the_full_generator_has_the_papers_budget():
    found = budget(slsnet(), 64)
    assert found.parameters == pytest.approx(2.35e6, rel=0.01)
    assert found.convolutions == pytest.approx(0.23e9, abs=0.005e9)  # the attention products are left out in the paper


def test_multiply_adds_are_those_that_torch_counts():
    network = slsnet().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        network(torch.zeros(1, 3, 32, 32))
    counted = {str(kind).split(".")[1]: flops // 2 for kind, flops in counter.get_flop_counts()["Global"].items()}
    found = budget(network, 32)
    assert (found.convolutions, found.attention) == (counted["convolution"], counted["bmm"])


def test_a_keyword_takes_out_its_modules_and_no_others():
    def count(network):
        return tuple(
            sum(isinstance(m, kind) for m in network.modules()) for kind in (PositionAttention, ChannelAttention)
        )

    assert count(slsnet()) == (6, 4 + 4 + 8 + 1 + 4)
    assert count(slsnet(multiscale=False)) == (6, 17)
    assert count(slsnet(channel=False)) == (6, 0)
    assert count(slsnet(position=False)) == (0, 21)
    assert count(slsnet_discriminator()) == (1, 1)
    assert count(slsnet_discriminator(position=False, channel=False)) == (0, 0)


@pytest.mark.parametrize("shape", [(1, 3, 50, 37), (2, 3, 64, 64), (1, 3, 33, 128)])
def test_any_size_is_answered_at_that_size(shape):
    logits = slsnet().eval()(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (shape[0], 1, *shape[2:])
    assert torch.isfinite(logits).all()


def test_an_odd_size_is_padded_by_its_last_column_and_cropped():
    network = slsnet().eval()
    image = torch.randn(1, 3, 64, 60, generator=torch.Generator().manual_seed(0))
    padded = torch.cat([image, image[..., -1:].expand(-1, -1, -1, 4)], 3)
    assert torch.equal(network(image), network(padded)[..., :60])


@pytest.mark.parametrize("size", [50, 64, 128])
def test_the_discriminator_looks_at_image_and_mask(size):
    critic = slsnet_discriminator(widths=(8, 16, 32)).eval()
    rng = torch.Generator().manual_seed(0)
    image, mask = torch.randn(2, 3, size, size, generator=rng), torch.rand(2, 1, size, size, generator=rng)
    found = critic(image, mask)
    assert found.shape == (2, 1, size // 8 - 1, size // 8 - 1)
    assert not torch.allclose(found, critic(image, 1 - mask))
    assert not torch.allclose(found, critic(-image, mask))


def test_both_are_in_the_registry():
    assert {"slsnet", "slsnet_discriminator"} <= set(models)
