"""E-Layer: its four steps, that the map counts, and that every part of it learns."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402

from cutis.layers.e_layer import ELayer  # noqa: E402


@pytest.fixture
def fuse():
    torch.manual_seed(0)
    return ELayer(6)


def test_is_concatenate_convolve_normalise_rectify(fuse):
    features, activation = torch.randn(3, 6, 8, 8), torch.rand(3, 1, 13, 13)
    fuse.norm.running_mean.uniform_(), fuse.norm.running_var.uniform_(0.5, 2)
    resized = F.interpolate(activation, size=(8, 8), mode="bilinear", align_corners=False)
    kernel = fuse.fuse.weight[..., 0, 0]
    mixed = torch.einsum("oc,bchw->bohw", kernel, torch.cat([features, resized], 1))
    mean, std = (value.view(1, -1, 1, 1) for value in (fuse.norm.running_mean, (fuse.norm.running_var + 1e-5).sqrt()))
    torch.testing.assert_close(fuse.eval()(features, activation), ((mixed - mean) / std).relu())


def test_the_map_reaches_the_output_and_gradients_every_parameter(fuse):
    features, activation = torch.randn(2, 6, 4, 4), torch.rand(2, 1, 4, 4, requires_grad=True)
    assert not torch.allclose(fuse(features, activation), fuse(features, torch.zeros(2, 1, 4, 4)))
    fuse(features, activation).square().sum().backward()
    for tensor in (activation, *fuse.parameters()):
        assert tensor.grad is not None and tensor.grad.abs().sum() > 0
