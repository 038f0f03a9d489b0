"""LRASPP and SegFormer under our contract: one logit a pixel of the picture, trained like any other."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")
pytest.importorskip("transformers")

import cutis.models  # noqa: E402, F401
from cutis.registry import models  # noqa: E402


@pytest.mark.parametrize("name", ["lraspp", "segformer"])
def test_every_weight_learns_from_the_mask(name):
    network = models.build(name)
    logits = network(torch.randn(2, 3, 64, 96))
    assert logits.shape == (2, 1, 64, 96)
    torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.ones_like(logits)).backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_ways_to_compute_attention_agree():
    plain, fused = (models.build("segformer", attention=attention).eval() for attention in ("eager", "sdpa"))
    fused.load_state_dict(plain.state_dict())
    picture = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(plain(picture), fused(picture), rtol=1e-4, atol=1e-5)
    assert sum(weight.numel() for weight in plain.parameters()) == pytest.approx(3.7e6, rel=0.02)  # SegFormer, Table 6
