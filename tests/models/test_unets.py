"""The library's U-Net, U-Net++ and DeepLabV3+ under our names: logits at the input's size, nothing fetched."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("segmentation_models_pytorch")

import cutis.models  # noqa: E402, F401
from cutis.errors import CutisError  # noqa: E402
from cutis.registry import models  # noqa: E402

NAMES = ("unet", "unetplusplus", "deeplabv3plus")


@pytest.mark.parametrize("encoder", ["resnet34", "mobilenet_v2"])
@pytest.mark.parametrize("name", NAMES)
def test_gives_logits_at_the_input_size(name, encoder):
    network = models.build(name, encoder=encoder).eval()
    with torch.no_grad():
        logits = network(torch.randn(2, 3, 64, 96))
    assert logits.shape == (2, 1, 64, 96) and torch.isfinite(logits).all()


@pytest.mark.parametrize("name", NAMES)
def test_trains_and_an_unknown_encoder_is_named(name):
    network = models.build(name)
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert all(p.grad is not None for p in network.parameters())
    with pytest.raises(CutisError, match="no encoder 'resnet35'"):
        models.build(name, encoder="resnet35")
