"""Recalibrated batch norms: the statistics are those of the images, every weight keeps every bit."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from cutis.errors import CutisError  # noqa: E402
from cutis.models.sparsesegnet import SparseSegNet  # noqa: E402
from cutis.teachers.recalibration import recalibrate  # noqa: E402


def images(count, shift=0.0):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, 32, 32, generator=generator) * 2 + shift for _ in range(count)]


def test_weights_keep_every_bit_and_statistics_become_the_images():
    network = SparseSegNet((8, 8, 8, 8), (1, 1, 1, 1)).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    shifts = recalibrate(network, images(3, shift=1.5))
    after = network.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if name.endswith(("running_mean", "running_var"))}
    for name, parameter in network.named_parameters():
        assert parameter.detach().numpy().tobytes() == before[name].numpy().tobytes()
    first = torch.cat([network.encoder.stem[0](batch) for batch in images(3, shift=1.5)])
    norm = network.encoder.stem[1]
    torch.testing.assert_close(norm.running_mean, first.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, first.var((0, 2, 3), unbiased=False), rtol=1e-4, atol=1e-5)
    assert set(shifts) == {name.rpartition(".")[0] for name in moved}
    assert not any(module.training for module in network.modules())
    assert (norm.momentum, norm.num_batches_tracked.item()) == (0.1, 0)


def test_images_as_before_change_next_to_nothing():
    network = SparseSegNet((8, 8, 8, 8), (1, 1, 1, 1)).eval()
    recalibrate(network, images(3))
    assert max(recalibrate(network, images(3)).values()) < 1e-3


def test_nothing_to_recalibrate_or_to_see_is_named():
    with pytest.raises(CutisError, match="no batch norms"):
        recalibrate(nn.Conv2d(3, 1, 1), images(1))
    with pytest.raises(CutisError, match="no image was given to recalibrate 0 on"):
        recalibrate(nn.Sequential(nn.BatchNorm2d(3)), [])
