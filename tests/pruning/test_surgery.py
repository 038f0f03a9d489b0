"""Surgery: the network without some channels answers as the network in which they are zero."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from cutis.models.sparsesegnet import SparseSegNet  # noqa: E402
from cutis.pruning.shape import channels_of, cut_to, difference  # noqa: E402
from cutis.pruning.surgery import owners, remove  # noqa: E402

EXAMPLE = torch.zeros(1, 3, 32, 32)
BLOCKS = {  # block -> the batch norms that write its channels; one before a pixel shuffle has four for each
    "encoder.stem": ["encoder.stem.1", "encoder.stage1.entry.1"],
    "encoder.stage1.entry": ["encoder.stage1.entry.4", "encoder.stage1.blocks.0.1", "encoder.stage1.blocks.0.4"],
    "encoder.stage1.aggregate": ["encoder.stage1.aggregate.1", "decoder.steps.1.up.1"],
    "encoder.stage2.entry": ["encoder.stage2.entry.1", "encoder.stage2.blocks.0.1", "encoder.stage2.blocks.1.1"],
    "encoder.stage2.aggregate": ["encoder.stage2.aggregate.1", "decoder.steps.0.up.1"],
    "encoder.stage3.entry": ["encoder.stage3.entry.1", "encoder.stage3.blocks.0.1"],
    "encoder.stage3.aggregate": ["encoder.stage3.aggregate.1", "decoder.bridge.1"],
    "encoder.stage4.aggregate": ["encoder.stage4.aggregate.1"],
    "decoder.steps.0.refine": ["decoder.steps.0.refine.1"],
    "decoder.steps.1.refine": ["decoder.steps.1.refine.1"],
    "decoder.steps.2.refine": ["decoder.steps.2.refine.1"],
}


def ratio_of(name):
    return 4 if ".up." in name else 1


def toy(widths=(8, 6, 8, 8), gates=None, seed=0):
    """With running statistics and affine weights that are not the initial ones, and some gates closed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = SparseSegNet(widths, (1, 2, 1, 1), gates).double().eval()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                for values in (module.weight, module.bias, module.running_mean, module.running_var):
                    values.data.uniform_(0.3, 1.5)
            if hasattr(module, "phi"):
                module.phi.data.normal_()
    return network


def image():
    return torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def zeroed(network, channels):
    """A copy in which the batch norms that write the channels write zeros there."""
    silent = copy.deepcopy(network)
    for block, going in channels.items():
        for name in BLOCKS[block]:
            norm, ratio = silent.get_submodule(name), ratio_of(name)
            places = [ratio * k + i for k in going for i in range(ratio)]
            norm.weight.data[places] = 0
            norm.bias.data[places] = 0
    return silent


@pytest.mark.parametrize("gates", [None, 0.9])
@pytest.mark.parametrize("block", list(BLOCKS))
def test_removed_is_zeroed(block, gates):
    network = toy(gates=gates)
    expected = zeroed(network, {block: [1, 2]})(image())
    assert (expected - network(image())).abs().max() > 1e-6  # these channels mattered
    remove(network, EXAMPLE.double(), {block: [2, 1]})
    torch.testing.assert_close(network(image()), expected, rtol=1e-10, atol=1e-12)


@settings(max_examples=8)
@given(st.data())
def test_any_channels_of_any_blocks_at_any_width(data):
    widths = data.draw(st.tuples(*[st.integers(2, 5).map(lambda n: 2 * n)] * 4))
    network = toy(widths, data.draw(st.sampled_from([None, 0.5])), seed=data.draw(st.integers(0, 9)))
    channels = {}
    for block in data.draw(st.lists(st.sampled_from(list(BLOCKS)), unique=True, max_size=6)):
        width = network.get_submodule(BLOCKS[block][0]).num_features
        channels[block] = data.draw(st.lists(st.integers(0, width - 1), unique=True, max_size=width - 1))
    expected, before = zeroed(network, channels)(image()), copy.deepcopy(network)
    remove(network, EXAMPLE.double(), channels)
    torch.testing.assert_close(network(image()), expected, rtol=1e-9, atol=1e-11)
    fresh = SparseSegNet(widths, (1, 2, 1, 1), None if not hasattr(network.decoder.steps[0].skip, "phi") else 0.5)
    cut_to(fresh, difference(network, before))
    fresh.double().eval().load_state_dict(network.state_dict())
    torch.testing.assert_close(fresh(image()), expected, rtol=1e-9, atol=1e-11)
    assert channels_of(fresh) == channels_of(network)
    assert sum(p.numel() for p in network.parameters()) <= sum(p.numel() for p in before.parameters())


@pytest.mark.parametrize("block", list(BLOCKS))
def test_owners_are_the_writers(block):
    network = toy()
    found = owners(network, EXAMPLE.double(), block)
    assert set(found) == set(BLOCKS[block])
    for name in BLOCKS[block]:
        width = len(found[name]) // ratio_of(name)
        assert found[name].tolist() == [k for k in range(width) for _ in range(ratio_of(name))]


def test_a_network_in_training_stays_in_training_and_still_learns():
    network = toy(gates=0.5).train()
    network.decoder.requires_grad_(False)
    remove(network, EXAMPLE.double(), {"encoder.stage2.entry": [0]})
    assert network.training
    assert network.encoder.stage2.entry[0].weight.requires_grad
    assert not network.decoder.steps[0].refine[0].weight.requires_grad
    network(image()).sum().backward()
    assert network.encoder.stage2.entry[0].weight.grad.abs().sum() > 0


def test_what_cannot_go_is_refused():
    network = toy()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for channels, reason in {
        "encoder.stage2.entry": (range(6), "lose all its channels"),
        "decoder.steps.2.up": ([0], "makes the network's answer"),
        "encoder.stage5": ([0], "no block 'encoder.stage5'"),
        "decoder.steps.0.skip": ([0], "no convolution"),
        "encoder.stage3.entry": ([8], "has channels 0 to 7, not 8 to 8"),
    }.items():
        with pytest.raises(ValueError, match=reason[1]):
            remove(network, EXAMPLE.double(), {channels: reason[0]})
    with pytest.raises(ValueError, match="share their channels"):
        remove(network, EXAMPLE.double(), {"encoder.stage3.aggregate": [0], "decoder.bridge": [1]})
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_a_shape_that_does_not_fit_is_named():
    for channels, reason in (
        ({"encoder.stage9.0": (2, 2)}, "is no module with channels"),
        ({"encoder.stage2.entry.0": (7, 8)}, r"has \[6, 8\]"),
        ({"encoder.stage2.entry.1": (2, 2)}, r"has \[6\]"),
        ({"encoder.stage1.entry.0": (1, 4)}, "only depthwise ones"),
    ):
        with pytest.raises(ValueError, match=reason):
            cut_to(toy(), channels)
