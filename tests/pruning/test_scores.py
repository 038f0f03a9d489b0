"""Eq. 1, 2, 5 and 6 of SparseSegNet: by hand, and by an independent implementation on a whole network."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from cutis.data.batches import Batch  # noqa: E402
from cutis.models.sparsesegnet import SparseSegNet  # noqa: E402
from cutis.pruning.dice_sensitivity import dice_sensitivity_scores  # noqa: E402
from cutis.pruning.fisher import fisher_scores  # noqa: E402
from cutis.pruning.selection import below, least  # noqa: E402
from cutis.pruning.semantic import cosine, semantic_scores  # noqa: E402

WRITTEN = {  # block -> what writes its channels (surgery is tested on its own)
    "encoder.stage2.entry": ("encoder.stage2.entry.1", "encoder.stage2.blocks.0.1"),
    "encoder.stage3.aggregate": ("encoder.stage3.aggregate.1", "decoder.bridge.1"),
    "decoder.steps.1.refine": ("decoder.steps.1.refine.1",),
}


class TwoChannels(nn.Module):
    """logit = 2 a - b + 0.5 with a = image's red, b = 3 times its green: everything can be worked by hand."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Conv2d(3, 2, 1, bias=False)
        self.head = nn.Conv2d(2, 1, 1)
        self.hidden.weight.data = torch.tensor([[1.0, 0, 0], [0, 3.0, 0]]).view(2, 3, 1, 1)
        self.head.weight.data = torch.tensor([[2.0, -1.0]]).view(1, 2, 1, 1)
        self.head.bias.data.fill_(0.5)

    def forward(self, image):
        return self.head(self.hidden(image))


def one_pixel(red, green, truth):
    image = torch.tensor([red, green, 0.0]).view(1, 3, 1, 1)
    mask = torch.tensor([float(truth)]).view(1, 1, 1, 1)
    return Batch(image, mask, mask, torch.zeros(1, dtype=torch.long))


def test_fisher_by_hand():
    """d log p / d gate_a = (y - p) 2a, d log p / d gate_b = (y - p)(-b); the mean of the squares over two images."""
    batches = [one_pixel(1.0, 0.5, 1), one_pixel(-0.5, 1.0, 0)]
    p1, p2 = (1 / (1 + math.exp(-z)) for z in (2 * 1 - 1.5 + 0.5, 2 * -0.5 - 3 + 0.5))
    a = (((1 - p1) * 2) ** 2 + ((0 - p2) * -1) ** 2) / 2
    b = (((1 - p1) * -1.5) ** 2 + ((0 - p2) * -3) ** 2) / 2
    found = fisher_scores(TwoChannels(), batches, ["hidden"])["hidden"]
    assert found.tolist() == pytest.approx([a, b], rel=1e-5)


def test_dice_sensitivity_by_hand():
    """L = 1 - (2 p g + 1) / (p + g + 1): for g = 1, dL/dp = -3 / (p + 2)^2; for g = 0, 1 / (p + 1)^2."""
    batches = [one_pixel(1.0, 0.5, 1), one_pixel(-0.5, 1.0, 0)]
    p1, p2 = (1 / (1 + math.exp(-z)) for z in (1.0, -3.5))
    d1, d2 = -3 / (p1 + 2) ** 2 * p1 * (1 - p1), 1 / (p2 + 1) ** 2 * p2 * (1 - p2)
    wanted = [(abs(d1 * 2) + abs(d2 * -1)) / 2, (abs(d1 * -1.5) + abs(d2 * -3)) / 2]
    found = dice_sensitivity_scores(TwoChannels(), batches, ["hidden"])["hidden"]
    assert found.tolist() == pytest.approx(wanted, rel=1e-5)


def test_cosine_by_hand():
    """Maps (3, 4), (4, -3), (0, 0) against the anchor (3, 4): the same, at a right angle, and none."""
    maps = torch.tensor([[[[3.0, 4.0]], [[4.0, -3.0]], [[0.0, 0.0]]]])
    found = cosine(maps, torch.tensor([[[[3.0, 4.0]]]]))
    assert found[0].tolist() == pytest.approx([1, 0, 0], abs=1e-7)


def test_semantic_scores_are_means_over_images_and_tau_decides():
    network = TwoChannels()
    image = torch.zeros(2, 3, 1, 2)
    image[0, 0], image[0, 1] = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0])
    image[1, 0], image[1, 1] = torch.tensor([1.0, 1.0]), torch.tensor([0.0, 1.0])
    anchor = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2).expand(2, 1, 1, 2)
    batch = Batch(image, anchor, anchor, torch.arange(2))
    found = semantic_scores(network, [batch, batch], ["hidden"], lambda batch: batch.mask)["hidden"]
    half = 1 / math.sqrt(2)
    assert found.tolist() == pytest.approx([(1 + half) / 2, half / 2], rel=1e-6)
    assert below(found, threshold=0.35, multiple=1) == []
    assert below(found, threshold=0.36, multiple=1) == [1]


def test_images_without_an_anchor_do_not_count():
    network, lesion = TwoChannels(), one_pixel(1.0, 1.0, 1)
    nothing = lesion._replace(mask=torch.zeros(1, 1, 1, 1))
    found = semantic_scores(network, [lesion, nothing], ["hidden"], lambda batch: batch.mask)["hidden"]
    assert found.tolist() == pytest.approx([1, 1])
    with pytest.raises(ValueError, match="empty in every image"):
        semantic_scores(network, [nothing], ["hidden"], lambda batch: batch.mask)


def toy():
    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = SparseSegNet((4, 6, 8, 8), (1, 1, 1, 1)).double().eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                for values in (module.weight, module.bias, module.running_mean, module.running_var):
                    values.data.uniform_(0.3, 1.5)
    return network


def batch_of(count):
    generator = torch.Generator().manual_seed(5)
    image = torch.randn(count, 3, 32, 32, dtype=torch.float64, generator=generator)
    mask = (torch.rand(count, 1, 32, 32, dtype=torch.float64, generator=generator) > 0.6).double()
    return Batch(image, mask, mask, torch.arange(count))


def by_differences(network, batch, block, value):
    """(B, C): the same derivatives from two evaluations a channel, its batch norms scaled by 1 +- h."""
    norms = [network.get_submodule(name) for name in WRITTEN[block]]
    h, columns = 1e-5, []
    for k in range(norms[0].num_features):
        ends = []
        for sign in (1, -1):
            for norm in norms:
                norm.weight.data[k] *= 1 + sign * h
                norm.bias.data[k] *= 1 + sign * h
            with torch.no_grad():
                ends.append(value(network(batch.image), batch.mask))
            for norm in norms:
                norm.weight.data[k] /= 1 + sign * h
                norm.bias.data[k] /= 1 + sign * h
        columns.append((ends[0] - ends[1]) / (2 * h))
    return torch.stack(columns, 1)


def numpy_log_likelihood(logits, mask):
    z, y = logits.numpy(), mask.numpy()
    return torch.tensor((y * -np.logaddexp(0, -z) + (1 - y) * -np.logaddexp(0, z)).sum((1, 2, 3)))


def numpy_dice_loss(logits, mask):
    p, y = 1 / (1 + np.exp(-logits.numpy())), mask.numpy()
    return torch.tensor(1 - (2 * (p * y).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + y.sum((1, 2, 3)) + 1))


@pytest.mark.parametrize("block", list(WRITTEN))
def test_scores_of_a_network_equal_finite_differences(block):
    network, batch = toy(), batch_of(3)
    parts = [Batch(*(values[:1] for values in batch)), Batch(*(values[1:] for values in batch))]
    fisher = by_differences(network, batch, block, numpy_log_likelihood).square().mean(0)
    torch.testing.assert_close(fisher_scores(network, parts, [block])[block], fisher, rtol=1e-4, atol=1e-8)
    # dice_loss computes in float32: compared with differences of the same formula in float64
    dice = by_differences(network, batch, block, numpy_dice_loss).abs().mean(0)
    torch.testing.assert_close(dice_sensitivity_scores(network, parts, [block])[block], dice, rtol=1e-3, atol=1e-9)


def test_scoring_leaves_the_network_as_it_was():
    network, batch = toy().train(), batch_of(2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first = fisher_scores(network, [batch], list(WRITTEN))
    semantic_scores(network, [batch], ["decoder.steps.0.refine"], lambda batch: batch.mask)
    again = fisher_scores(network, [batch], list(WRITTEN))
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())
    for block in WRITTEN:
        torch.testing.assert_close(first[block], again[block])
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name])


@given(
    st.lists(st.integers(-50, 50), min_size=1, max_size=40),
    st.floats(0.01, 1),
    st.integers(1, 16),
    st.integers(-60, 60),
)
def test_what_goes_is_the_least_and_what_stays_is_a_multiple(values, keep, multiple, threshold):
    scores = torch.tensor(values, dtype=torch.float64)
    for going, wanted in (
        (least(scores, keep=keep, multiple=multiple), math.ceil(keep * len(values) - 1e-9)),
        (below(scores, threshold=threshold, multiple=multiple), int((scores >= threshold).sum())),
    ):
        staying = sorted(set(range(len(values))) - set(going))
        assert len(going) == len(set(going))
        assert len(staying) >= max(1, wanted)
        assert len(staying) % multiple == 0 or len(staying) == len(values)
        assert len(staying) - max(1, wanted) < multiple
        assert not going or scores[going].max() <= scores[staying].min()
