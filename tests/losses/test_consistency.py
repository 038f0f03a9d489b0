"""L_PADD: nothing moved costs nothing, the target is detached, only pixels inside both frames count."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from cutis.losses.consistency import bernoulli_divergence, move, padd_loss, random_affine  # noqa: E402

STILL = {"rotation_degrees": 0.0, "zoom": (1.0, 1.0), "shift": 0.0}
MUCH = {"rotation_degrees": 40.0, "zoom": (0.8, 1.3), "shift": 0.2}


def images(count=4, side=24):
    """Smooth, so that interpolation loses little."""
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    waves = torch.randn(count, 3, 3, 1, 1, generator=torch.Generator().manual_seed(1))
    return waves[:, :, 0] + waves[:, :, 1] * rows + waves[:, :, 2] * columns**2


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Conv2d(3, 1, 3, padding=1)


def loss(net, image, seed=0, **how):
    return padd_loss(net, image, net(image), np.random.default_rng(seed), **how)


def test_nothing_moved_costs_nothing():
    found = loss(network(), images(), **STILL)
    assert found.shape == (4,) and found.abs().max() < 1e-6


def test_a_network_of_single_pixels_moves_with_the_image_and_one_that_knows_places_does_not():
    pixelwise = nn.Conv2d(3, 1, 1)
    nn.init.constant_(pixelwise.weight, 0.5)
    assert loss(pixelwise, images(), **MUCH).max() < 1e-3
    ramp = torch.linspace(-4, 4, 24).expand(1, 1, 24, 24)
    assert loss(lambda image: pixelwise(image) + ramp, images(), **MUCH).mean() > 0.1


def test_the_target_is_detached():
    image, logits = images(), torch.randn(4, 1, 24, 24, requires_grad=True)
    net = network()
    padd_loss(net, image, logits, np.random.default_rng(0), **MUCH).sum().backward()
    assert logits.grad is None
    assert net.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("seed", range(3))
def test_pixels_outside_either_frame_are_ignored(seed):
    """Whatever the network says where the moved frame shows nothing of the image, the loss is the same."""
    image, rng = images(), np.random.default_rng(seed)
    matrix = random_affine(4, np.random.default_rng(seed), **MUCH)
    _, inside = move(image, matrix)
    assert 0.05 < 1 - inside.float().mean() < 0.8
    logits = torch.randn(4, 1, 24, 24, generator=torch.Generator().manual_seed(seed))
    said = torch.randn(4, 1, 24, 24, generator=torch.Generator().manual_seed(9))
    first = padd_loss(lambda moved: said, image, logits, rng, **MUCH)
    other = torch.where(inside, said, 30.0)
    second = padd_loss(lambda moved: other, image, logits, np.random.default_rng(seed), **MUCH)
    torch.testing.assert_close(first, second)
    changed = torch.where(inside, 30.0, said)
    assert (padd_loss(lambda moved: changed, image, logits, np.random.default_rng(seed), **MUCH) > first).all()


def test_no_pixel_inside_both_frames_costs_nothing():
    matrix = random_affine(2, np.random.default_rng(0), rotation_degrees=0, zoom=(1, 1), shift=0)
    matrix[:, 0, 2] = 5.0
    moved, inside = move(torch.ones(2, 1, 8, 8), matrix)
    assert not inside.any() and not moved.any()


def test_move_is_exact_for_whole_pixels_and_right_angles():
    maps = torch.arange(16.0).reshape(1, 1, 4, 4)
    right = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]])  # half the frame of -1 to 1 is a quarter: one pixel
    moved, inside = move(maps, right)
    torch.testing.assert_close(moved[..., :3], maps[..., 1:])
    assert inside[0, 0].all(0).tolist() == [True, True, True, False]
    quarter = torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]])
    torch.testing.assert_close(move(maps, quarter)[0], maps.rot90(1, (2, 3)), atol=1e-4, rtol=0)


def test_the_matrices_keep_within_what_was_asked():
    matrix = random_affine(2000, np.random.default_rng(0), **MUCH).numpy()
    scale = 1 / np.linalg.norm(matrix[:, :, 0], axis=1)
    angle = np.degrees(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    assert 0.8 <= scale.min() < 0.82 and 1.28 < scale.max() <= 1.3001
    assert 38 < np.abs(angle).max() <= 40.001
    assert 0.39 < np.abs(matrix[:, :, 2]).max() <= 0.4
    again = random_affine(2000, np.random.default_rng(0), **MUCH).numpy()
    assert np.array_equal(matrix, again)


def test_divergence_by_hand_and_of_certain_answers():
    p, q = 0.7, 0.2
    by_hand = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    found = bernoulli_divergence(torch.logit(torch.tensor([p])), torch.logit(torch.tensor([q])))
    assert found.item() == pytest.approx(by_hand, abs=1e-6)
    certain = bernoulli_divergence(torch.tensor([80.0, -80.0]), torch.tensor([80.0, 80.0]))
    torch.testing.assert_close(certain, torch.tensor([0.0, 80.0]))
