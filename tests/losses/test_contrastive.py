"""NT-Xent against a loop written from the paper's Eq. 1, and what it must not care about."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from cutis.losses.contrastive import nt_xent  # noqa: E402


def views(count=5, width=7):
    generator = torch.Generator().manual_seed(2)
    return (torch.randn(count, width, generator=generator, dtype=torch.float64) for _ in range(2))


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_equals_the_papers_equation_written_as_a_loop(temperature):
    """Chen et al., Eq. 1: l(i, j) = -log exp(s_ij / t) / sum over k != i of exp(s_ik / t), for both directions."""
    one, other = views()
    all_views = [*one.tolist(), *other.tolist()]

    def similarity(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))

    def term(i, j):
        weights = [math.exp(similarity(all_views[i], v) / temperature) for v in all_views]
        return -math.log(weights[j] / (sum(weights) - weights[i]))

    expected = [(term(i, i + 5) + term(i + 5, i)) / 2 for i in range(5)]
    assert nt_xent(one, other, temperature=temperature).tolist() == pytest.approx(expected, rel=1e-5)


def test_the_length_of_a_projection_and_the_order_of_the_views_do_not_matter():
    one, other = views()
    loss = nt_xent(one, other, temperature=0.5)
    torch.testing.assert_close(nt_xent(one * 3, other * 0.1, temperature=0.5), loss)
    torch.testing.assert_close(nt_xent(other, one, temperature=0.5), loss)


def test_pairs_that_look_alike_cost_less_than_pairs_that_do_not():
    one, _ = views()
    assert (nt_xent(one, one, temperature=0.5) < nt_xent(one, one.roll(1, 0), temperature=0.5)).all()
