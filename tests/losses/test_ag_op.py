"""AG-OP, Eq. 7-10: orthogonality, the closed-form minimiser, the map by hand, the empty map."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from cutis.data.taught_batches import Taught  # noqa: E402
from cutis.errors import CutisError  # noqa: E402
from cutis.losses.ag_op import ag_op, agreement_map, orthogonal  # noqa: E402

PAPER = {"probability": 0.05, "cosine": 0.4}


def taught(seed, *, channels=8, dtype=torch.float64, logit=0.0):
    generator = torch.Generator().manual_seed(seed)
    embedding = torch.randn(2, channels, 5, 4, generator=generator, dtype=dtype)
    return Taught(torch.full((2, 1, 5, 4), logit, dtype=dtype), embedding)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(5))
def test_each_projection_is_orthogonal_to_the_other_teacher(seed, dtype):
    first, second = (taught(seed + i, dtype=dtype).embedding for i in (0, 1))
    for one, other in ((first, second), (second, first)):
        product = (orthogonal(one, other) * other).sum(1) / (one.norm(dim=1) * other.norm(dim=1))
        assert product.abs().max() < 1e-6
        rest = one - orthogonal(one, other)  # what was taken away lies along the other
        alike = (rest * other).sum(1).abs() / (rest.norm(dim=1) * other.norm(dim=1))
        torch.testing.assert_close(alike, torch.ones_like(alike), rtol=1e-4, atol=1e-4)


def test_the_minimiser_is_the_mean_of_both_projections():
    """The gradient vanishes there; one step of a quarter of the pixels leads there; the least loss is half of
    |F_b' - F_c'|^2."""
    first, second = taught(1), taught(2)
    student = taught(3).embedding.requires_grad_()
    everywhere = {"probability": 0.05, "cosine": 1.1}
    loss = ag_op(student, first, second, **everywhere).loss
    (gradient,) = torch.autograd.grad(loss, student)
    F_b, F_c = orthogonal(first.embedding, second.embedding), orthogonal(second.embedding, first.embedding)
    best = (F_b + F_c) / 2
    torch.testing.assert_close(student.detach() - gradient * (2 * 5 * 4) / 4, best)
    least = best.clone().requires_grad_()
    loss = ag_op(least, first, second, **everywhere).loss
    assert loss.item() == pytest.approx((F_b - F_c).square().sum(1).mean().item() / 2)
    assert torch.autograd.grad(loss, least)[0].abs().max() < 1e-12


def test_the_map_by_hand():
    """Four pixels: agree and differ; disagree; agree and alike; agree, one without an embedding."""
    logits = torch.tensor([0.5, 0.5, 0.9, 0.9]).logit().view(1, 1, 1, 4)
    others = torch.tensor([0.54, 0.56, 0.9, 0.9]).logit().view(1, 1, 1, 4)
    e = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]).view(1, 2, 1, 4)
    f = torch.tensor([[0.3, 0.0, 0.5, 0.0], [1.0, 1.0, 1.0, 0.0]]).view(1, 2, 1, 4)
    first, second = Taught(logits, e), Taught(others, f)
    assert agreement_map(first, second, **PAPER).flatten().tolist() == [True, False, False, False]
    found = ag_op(torch.zeros(1, 2, 1, 4), first, second, **PAPER)
    # Eq. 8: (1, 0) - 0.3 / 1.09 (0.3, 1); Eq. 9: (0.3, 1) - 0.3 (1, 0) = (0, 1)
    expected = (1 - 0.09 / 1.09) ** 2 + (0.3 / 1.09) ** 2 + 1
    assert found.loss.item() == pytest.approx(expected, rel=1e-6)
    assert found.share.item() == pytest.approx(1 / 3)
    cosines = [0.3 / 1.09**0.5, 0, 0.5 / 1.25**0.5]
    assert found.cosine.item() == pytest.approx(sum(cosines) / 3, rel=1e-6)
    assert found.second_norm.item() == pytest.approx((1.09**0.5 + 1 + 1.25**0.5) / 3, rel=1e-6)
    assert (found.first_norm.item(), found.student_norm.item()) == (1, 0)


@pytest.mark.parametrize("why", ["disagree", "alike", "no embedding"])
def test_an_empty_map_costs_nothing_and_breaks_nothing(why):
    first = taught(1)
    second = taught(2, logit=3.0 if why == "disagree" else 0.0)
    if why == "alike":
        second = first
    if why == "no embedding":
        first, second = (Taught(t.logits, torch.zeros_like(t.embedding)) for t in (first, second))
    student = taught(3).embedding.requires_grad_()
    found = ag_op(student, first, second, **PAPER)
    found.loss.backward()
    assert found.loss.item() == found.share.item() == 0
    assert all(torch.isfinite(value) for value in found)
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_half_precision_is_computed_in_single():
    first, second = (Taught(t.logits.half(), t.embedding.half() * 300) for t in (taught(1), taught(2)))
    student = torch.zeros(2, 8, 5, 4, dtype=torch.float16, requires_grad=True)
    found = ag_op(student, first, second, probability=0.05, cosine=1.1)
    assert found.loss.dtype == torch.float32
    assert found.loss > 65504  # what float16 cannot hold
    assert torch.isfinite(found.loss)


def test_another_shape_is_named_with_the_expected_one():
    with pytest.raises(CutisError, match=r"second teacher's embedding is \(2, 6, 5, 4\), the student's \(2, 8, 5, 4\)"):
        ag_op(taught(3).embedding, taught(1), taught(2, channels=6), **PAPER)
