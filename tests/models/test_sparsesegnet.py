"""SparseSegNet: shapes, budget, what the text's parts become."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import cutis.models  # noqa: E402, F401
from cutis.layers.effu import gates_of  # noqa: E402
from cutis.models.sparsesegnet import DecoderStep, SparseSegNet, sparsesegnet  # noqa: E402
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


WIDTHS, DEPTHS = (8, 16, 24, 32), (1, 1, 2, 2)


def gated(*patterns):
    """A gated network with batch statistics that are not trivial; `patterns`: which channels each skip leaves open."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SparseSegNet(WIDTHS, DEPTHS, gates=0.9)
        network(2 * torch.randn(4, 3, 64, 64) - 1)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias, 0, 0.2)
        network.decoder.steps[-1].up[0].weight.data *= 20
    for gate, opened in zip(gates_of(network), patterns, strict=True):
        gate.phi.data = torch.where(opened, 2.0, -2.0)
    return network.eval()


def some(channels, seed):
    return torch.rand(channels, generator=torch.Generator().manual_seed(seed)) > 0.4


def none_of(channels):
    return torch.zeros(channels, dtype=torch.bool)


PATTERNS = {
    "some of each": (some(24, 1), some(16, 2), some(8, 3)),
    "all": (~none_of(24), ~none_of(16), ~none_of(8)),
    "none": (none_of(24), none_of(16), none_of(8)),
    "mixed": (none_of(24), some(16, 5), ~none_of(8)),
}


@pytest.mark.parametrize("patterns", PATTERNS.values(), ids=PATTERNS)
def test_deployed_without_gates_it_answers_the_same(patterns):
    network, image = gated(*patterns), torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    deployed = network.deployed()
    assert not gates_of(deployed) and len(gates_of(network)) == 3
    with torch.no_grad():
        wanted = network(image)
        torch.testing.assert_close(deployed(image), wanted, atol=1e-5, rtol=0)
        closed = not all(opened.all() for opened in patterns)
        assert (wanted - gated(*PATTERNS["all"])(image)).abs().max() > 0.01 or not closed  # the gates do something


def test_gates_change_nothing_of_a_plain_network():
    plain, with_gates = SparseSegNet(WIDTHS, DEPTHS), SparseSegNet(WIDTHS, DEPTHS, gates=0.5)
    own = {f"decoder.steps.{i}.skip.phi" for i in range(3)}
    assert set(with_gates.state_dict()) - set(plain.state_dict()) == own
    assert set(plain.state_dict()) < set(with_gates.state_dict())
    plain.load_state_dict({key: value for key, value in with_gates.state_dict().items() if key not in own})
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    assert torch.equal(plain.eval()(image), with_gates.eval()(image))  # 0.5 is open


def test_the_names_of_the_bundled_networks_weights_are_still_these():
    """Checkpoints of earlier runs hold them: the first and last of each part, and how many there are."""
    names = list(sparsesegnet().state_dict())
    assert len(names) == 152
    assert names[0] == "encoder.stem.0.weight" and names[-1] == "decoder.steps.2.up.0.bias"
    assert "encoder.stage2.aggregate.1.running_var" in names and "decoder.steps.1.up.1.weight" in names


def test_embedding_is_the_encoders_last_map_and_the_logits_are_the_networks():
    network, image = gated(*PATTERNS["mixed"]), torch.randn(2, 3, 64, 96)
    embedded = network.embed(image)
    assert embedded.embedding.shape == (2, 32, 4, 6)
    assert torch.equal(embedded.embedding, network.encoder(image)[-1])
    assert torch.equal(embedded.logits, network(image))


def test_a_short_tail_gives_logits_at_stride_four_and_its_finest_map_skips_nowhere():
    network, image = SparseSegNet(WIDTHS, DEPTHS, tail=4).eval(), torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        maps = network.encoder(image)
        assert network.decoder(maps).shape == (2, 1, 16, 24)
        assert network(image).shape == (2, 1, 64, 96)
        other = [torch.zeros_like(maps[0]), *maps[1:]]
        assert torch.equal(network.decode(other), network.decode(maps))
        gated = SparseSegNet(WIDTHS, DEPTHS, gates=0.9, tail=4).eval()
        gates_of(gated)[0].phi.data[::2] = -2.0  # closed
        assert len(gates_of(gated)) == 2 and gates_of(gated)[0].closed().any()
        torch.testing.assert_close(gated.deployed()(image), gated(image), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="stride 2 or 4, not 3"):
        SparseSegNet(WIDTHS, DEPTHS, tail=3)


def test_one_pass_of_the_encoder_serves_several_patterns():
    network, image = gated(*PATTERNS["all"]).train(), torch.randn(2, 3, 32, 32)
    for gate in gates_of(network):
        gate.phi.data.zero_()
    maps = network.encoder(image)
    first, drawn = network.decode(maps), [gate.pattern for gate in gates_of(network)]
    second = network.decode(maps)
    assert not torch.equal(first, second)
    assert any(not torch.equal(old, gate.pattern) for old, gate in zip(drawn, gates_of(network), strict=True))
