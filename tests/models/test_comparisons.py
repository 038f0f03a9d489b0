"""SLSNet's comparison networks: shapes, sizes as published, and max-unpooling as torch does it."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

import cutis.models  # noqa: E402, F401
from cutis.errors import CutisError  # noqa: E402
from cutis.layers.unpool import pool, unpool  # noqa: E402
from cutis.models.budget import budget  # noqa: E402
from cutis.registry import models  # noqa: E402

PUBLISHED = {"enet": 0.36e6, "segnet": 29.5e6}
"""Parameters: ENet's in SLSNet's Table 3; SegNet's as Badrinarayanan et al. give them."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_has_the_published_parameters(name):
    assert sum(p.numel() for p in models.build(name).parameters()) == pytest.approx(PUBLISHED[name], rel=0.02)


def test_enet_has_about_the_multiply_adds_that_are_printed():
    assert budget(models.build("enet"), 128).convolutions == pytest.approx(0.13e9, rel=0.15)


@pytest.mark.parametrize(
    ("name", "options"),
    [("enet", {}), ("segnet", {"widths": [4, 4, 8, 8, 8]}), ("fpn", {}), ("linknet", {}), ("fcn", {})],
)
def test_gives_logits_at_the_input_size(name, options):
    network = models.build(name, **options).eval()
    with torch.no_grad():
        logits = network(torch.zeros(1, 3, 64, 64))
    assert logits.shape == (1, 1, 64, 64) and torch.isfinite(logits).all()


@pytest.mark.parametrize(("name", "options"), [("enet", {}), ("segnet", {"widths": [4, 4, 8, 8, 8]})])
def test_any_size_is_answered_at_that_size(name, options):
    assert models.build(name, **options).eval()(torch.zeros(1, 3, 50, 37)).shape == (1, 1, 50, 37)


def test_unpooling_is_torchs_where_no_two_values_are_equal():
    x = torch.randperm(2 * 3 * 8 * 6, generator=torch.Generator().manual_seed(0)).float().view(2, 3, 8, 6)
    small, places = pool(x)
    expected, indices = F.max_pool2d(x, 2, return_indices=True)
    assert torch.equal(small, expected)
    assert torch.equal(unpool(-small, places), F.max_unpool2d(-small, indices, 2))


def test_an_unknown_backbone_is_named():
    with pytest.raises(CutisError, match="no FCN with the backbone 'vgg'"):
        models.build("fcn", backbone="vgg")
