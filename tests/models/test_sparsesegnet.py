"""SparseSegNet: shapes, budget, what the text's parts become."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import cutis.models  # noqa: E402, F401
from cutis.models.sparsesegnet import DecoderStep, sparsesegnet  # noqa: E402
from cutis.registry import models  # noqa: E402


@pytest.mark.parametrize("name", ["sparsesegnet"])
@pytest.mark.parametrize("shape", [(1, 3, 256, 256), (3, 3, 96, 160)])
def test_gives_logits_at_the_input_size(name, shape):
    logits = models.build(name).eval()(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (shape[0], 1, *shape[2:])
    assert torch.isfinite(logits).all()


def test_stays_under_the_papers_ceilings():
    network = sparsesegnet().eval()
    macs = 0

    def count(module, inputs, output):
        nonlocal macs
        macs += output.numel() * module.weight[0].numel()

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    network(torch.zeros(1, 3, 256, 256))
    parameters = sum(p.numel() for p in network.parameters())
    assert 1e6 < parameters < 7.0e6
    assert 0.5e9 < macs < 1.1e9


def test_pixel_shuffle_step_is_a_transposed_convolution():
    step = DecoderStep(6, None).double()
    conv = step.up[0]
    transposed = torch.nn.ConvTranspose2d(6, 1, 2, stride=2).double()
    with torch.no_grad():
        transposed.weight.copy_(conv.weight.view(1, 2, 2, 6).permute(3, 0, 1, 2))
        transposed.bias.zero_()
        conv.bias.zero_()
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(step.up(x), transposed(x))


def test_every_stage_reaches_the_logits_through_a_named_skip():
    network = sparsesegnet().eval()
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    whole = network(image)
    for step in network.decoder.steps:
        handle = step.skip.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
        assert not torch.allclose(network(image), whole)
        handle.remove()
