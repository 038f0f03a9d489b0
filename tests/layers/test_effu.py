"""EFFU: the gate, the REINFORCE estimator against the enumerated gradient, what closes and what stays open."""

from __future__ import annotations

import itertools

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from cutis.layers.effu import EFFU, MovingBaseline, gates_of, reinforce  # noqa: E402
from cutis.losses.boundary_error import boundary_error  # noqa: E402
from cutis.losses.gate_sparsity import gate_sparsity  # noqa: E402

PATTERNS = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)))  # all eight of three gates
ERRORS = torch.tensor([0.9, 0.7, 0.8, 0.2, 0.5, 0.6, 0.1, 0.3])  # nothing like a sum over gates
PLACE = torch.tensor([4, 2, 1])  # a pattern's place in both


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def three_gates():
    gate = EFFU(3, open=0.5)
    gate.phi.data = torch.tensor([0.4, -0.6, 1.1])
    return gate


def exact_gradient(gate):
    """d / d phi of the expected error, over all eight patterns."""
    p = gate.probabilities()
    chances = (PATTERNS * p + (1 - PATTERNS) * (1 - p)).prod(1)
    return torch.autograd.grad((chances * ERRORS).sum(), gate.phi)[0]


def estimates(gate, baseline, count, images=512):
    """(count, 3): the estimator's gradient for `count` batches of `images` patterns."""
    found = []
    for _ in range(count):
        gate(torch.ones(images, 3, 1, 1))
        error = ERRORS[(gate.pattern.long() * PLACE).sum(1)]
        loss = reinforce(error, baseline(error), gate.log_likelihood())
        found.append(torch.autograd.grad(loss, gate.phi)[0])
    return torch.stack(found)


@pytest.mark.parametrize("baseline", [lambda error: 0.0, lambda error: 0.5, MovingBaseline(0.9)])
def test_the_estimators_mean_is_the_enumerated_gradient_within_its_standard_error(baseline):
    gate = three_gates()
    exact = exact_gradient(gate)
    found = estimates(gate, baseline, count=300)
    error = found.std(0) / len(found) ** 0.5
    assert (found.mean(0) - exact).abs().div(error).max() < 3
    assert (error < exact.abs() / 5).all()  # exact enough to tell it from half of it, from 0, from its negative


def test_the_baseline_takes_variance_away():
    gate = three_gates()
    with_one, without = (estimates(gate, b, count=150).var(0) for b in (MovingBaseline(0.9), lambda error: 0.0))
    assert (with_one < 0.5 * without).all()


def test_an_errors_own_images_baseline_may_be_another_pattern_of_the_same_image():
    """Images differ more than patterns: the error under a second pattern takes that away, and adds no bias."""
    gate, hardness = three_gates(), 5 * torch.rand(256)
    exact = exact_gradient(gate)

    def errors():
        gate(torch.ones(256, 3, 1, 1))
        return hardness + ERRORS[(gate.pattern.long() * PLACE).sum(1)], gate.log_likelihood()

    moving, second = MovingBaseline(0.9), []
    first = []
    for _ in range(200):
        other, _ = errors()
        error, likelihood = errors()
        second.append(torch.autograd.grad(reinforce(error, other, likelihood), gate.phi, retain_graph=True)[0])
        first.append(torch.autograd.grad(reinforce(error, moving(error), likelihood), gate.phi)[0])
    found = torch.stack(second)
    assert (found.mean(0) - exact).abs().div(found.std(0) / len(found) ** 0.5).max() < 3
    assert (found.var(0) < 0.2 * torch.stack(first).var(0)).all()


def test_phi_learns_from_reinforce_alone():
    gate = EFFU(4, open=0.5)
    features = torch.ones(8, 4, 2, 2, requires_grad=True)
    out = gate(features)
    out.square().sum().backward()
    assert gate.phi.grad is None
    torch.testing.assert_close(features.grad, 2 * gate.pattern[:, :, None, None].expand(8, 4, 2, 2))
    error = torch.rand(8, requires_grad=True)
    reinforce(error, 0.5, gate.log_likelihood()).backward()
    assert error.grad is None
    by_hand = ((error - 0.5)[:, None] * (gate.pattern - 0.5)).mean(0)  # d log p / d phi = g - sigmoid(phi)
    torch.testing.assert_close(gate.phi.grad, by_hand.detach())


def test_one_pattern_an_image_drawn_as_often_as_its_probability():
    gate = three_gates()
    out = gate(torch.ones(4000, 3, 2, 2))
    assert torch.equal(out, gate.pattern[:, :, None, None].expand_as(out))
    spread = (gate.probabilities() * (1 - gate.probabilities()) / 4000).sqrt()
    assert ((gate.pattern.mean(0) - gate.probabilities()).abs() < 4 * spread).all()


def test_in_evaluation_gates_are_open_from_a_half_on():
    gate = EFFU(3, open=0.5).eval()
    gate.phi.data = torch.tensor([-0.001, 0.0, 0.001])
    out = gate(torch.full((2, 3, 1, 1), 7.0))
    assert out[:, :, 0, 0].tolist() == [[0.0, 7.0, 7.0]] * 2
    assert gate.closed().tolist() == [True, False, False]


def test_settled_gates_are_certain_in_training_and_learn_no_more():
    gate = three_gates()
    closed = gate.closed()
    gate.settle()
    gate(torch.ones(500, 3, 1, 1))
    assert torch.equal(gate.pattern, closed.logical_not().float().expand(500, 3))
    (reinforce(torch.rand(500), 0.0, gate.log_likelihood()) + gate_sparsity([gate])).backward()
    assert torch.equal(gate.phi.grad, torch.zeros(3)) and torch.equal(gate.closed(), closed)


def test_asked_for_what_it_has_not():
    with pytest.raises(ValueError, match="no pattern was drawn"):
        EFFU(2, open=0.5).log_likelihood()
    for probability in (0.0, 1.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            EFFU(2, open=probability)


def test_the_baseline_is_saved_with_a_checkpoint():
    first, second = MovingBaseline(0.5), MovingBaseline(0.5)
    for value in (1.0, 0.0):
        first(torch.tensor([value]))
    second.load_state_dict(first.state_dict())
    assert second(torch.tensor([9.0])).item() == first(torch.tensor([9.0])).item() == 0.5


class TwoSkips(nn.Module):
    """Logits from two skips of two channels each: the first shows where the lesion is, the second only noise."""

    def __init__(self):
        super().__init__()
        self.useful, self.useless = EFFU(2, open=0.7), EFFU(2, open=0.7)

    def forward(self, mask):
        shown = (2 * mask - 1).expand(-1, 2, -1, -1)
        noise = torch.randn(shown.shape)
        return (4 * self.useful(shown) + 0.2 * self.useless(noise)).sum(1, keepdim=True)


def test_a_useless_skip_closes_and_a_useful_one_stays_open():
    network, moving = TwoSkips(), MovingBaseline(0.9)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.08)
    column = torch.arange(16.0).expand(32, 1, 4, 16)
    mask = (column < 8).float()
    distance = (column - 7.5) / 16
    assert [gate.closed().any().item() for gate in gates_of(network)] == [False, False]
    for _ in range(150):
        error = boundary_error(network(mask), mask, distance, band=0.3)
        likelihood = sum(gate.log_likelihood() for gate in gates_of(network))
        loss = reinforce(error, moving(error), likelihood) + 0.05 * gate_sparsity(gates_of(network))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert network.useful.closed().tolist() == [False, False]
    assert network.useless.closed().tolist() == [True, True]
    assert network.useful.probabilities().min() > 0.8 and network.useless.probabilities().max() < 0.2
