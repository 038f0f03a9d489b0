"""Grad-CAM++ in closed form: against autograd, against pytorch-grad-cam, and where a map is dead."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cutis.layers.class_activation import activation_after_convolution, activation_after_mean  # noqa: E402
from cutis.models.lesion_net import LesionNet  # noqa: E402
from cutis.models.symmetry_net import ConvolutionHead, LinearHead, SymmetryNet  # noqa: E402


def generator(seed):
    return torch.Generator().manual_seed(seed)


def by_autograd(head, features):
    """Eq. 19 of Grad-CAM++ with the gradient of every position, as the definition reads."""
    a = features.clone().requires_grad_()
    scores = head(a)
    g = torch.autograd.grad(scores.amax(1).sum(), a)[0]
    alpha = g**2 / (2 * g**2 + a.sum((2, 3), keepdim=True) * g**3 + 1e-6)
    weights = (alpha * g.relu()).sum((2, 3), keepdim=True)
    raw = (weights * a).sum(1, keepdim=True).relu().detach()
    low = raw.amin((2, 3), keepdim=True)
    return (raw - low) / (raw.amax((2, 3), keepdim=True) - low + 1e-7)


@pytest.mark.parametrize("scale", [0.05, 1.0, 20.0])  # of the features: EPSILON matters at one end and not at the other
@pytest.mark.parametrize("kind", [ConvolutionHead, LinearHead])
def test_equals_autograd(kind, scale):
    head = kind(24, 5, 0.5).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator(1)) * 0.3)
    features = torch.rand(6, 24, 7, 5, generator=generator(2)) * scale
    found = head.explain(features).activation
    torch.testing.assert_close(found, by_autograd(head, features), atol=1e-5, rtol=0)
    assert (found.flatten(1).amax(1) > 0.99).all() and found.min() >= 0 and found.max() <= 1


def test_positions_where_the_class_is_off_do_not_change_its_weights():
    features = torch.rand(1, 4, 6, 6, generator=generator(3))
    scores = torch.randn(1, 2, 6, 6, generator=generator(4))
    scores[:, 0] = scores[:, 0].abs()  # class 0 wins and is on everywhere
    weight = torch.randn(2, 4, generator=generator(5))
    everywhere = activation_after_convolution(features, scores, weight)
    scores[:, 0, :3] = -1  # half of it is off: weights halve, the scaled map stays
    scores[:, 0, 3:] *= 10
    half = activation_after_convolution(features, scores, weight)
    torch.testing.assert_close(half, everywhere, atol=1e-5, rtol=0)


def test_a_dead_class_gives_a_zero_map():
    features = torch.rand(2, 3, 4, 4, generator=generator(6))
    dead = activation_after_convolution(features, -torch.rand(2, 2, 4, 4), torch.ones(2, 3))
    negative = activation_after_mean(features, torch.tensor([[1.0, 0.0]] * 2), -torch.ones(2, 3))
    constant = activation_after_mean(torch.ones(2, 3, 4, 4), torch.tensor([[1.0, 0.0]] * 2), torch.ones(2, 3))
    for found in (dead, negative, constant):
        assert torch.equal(found, torch.zeros(2, 1, 4, 4))


def test_half_precision_features_are_computed_in_float32():
    features = torch.rand(1, 16, 8, 8, generator=generator(7))
    weight = torch.randn(2, 16, generator=generator(8)) * 0.05  # g^2 ~ 6e-7: nothing in float16
    logits = torch.tensor([[1.0, 0.0]])
    half = activation_after_mean(features.half(), logits.half(), weight)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, activation_after_mean(features.half().float(), logits, weight))
    assert half.max() > 0.99


class WithMap(torch.nn.Module):
    """A lesion network whose map is fixed, as pytorch-grad-cam gives one input."""

    def __init__(self, network, activation):
        super().__init__()
        self.network, self.activation = network, activation

    def forward(self, image):
        return self.network(image, self.activation)


@pytest.mark.parametrize("which", ["squeezenet1_1", "resnet34", "mobilenetv2_100", "efficientnet_b0"])
def test_equals_pytorch_grad_cam(which):
    grad_cam = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.image import scale_cam_image

    torch.manual_seed(9)
    image = torch.randn(2, 3, 96, 96, generator=generator(10))
    if which == "squeezenet1_1":
        network = whole = SymmetryNet(which, classes=2).eval()
        layer, arguments = network.trunk.features[12], ()
    elif which == "mobilenetv2_100":
        activation = torch.rand(2, 1, 5, 5, generator=generator(11))
        network = LesionNet(which, classes=7, activation=True).eval()
        whole, layer, arguments = WithMap(network, activation), network.e_layer, (activation,)
    elif which == "resnet34":
        network = whole = SymmetryNet(which, classes=3).eval()
        layer, arguments = network.trunk.layer4, ()
    else:
        network = whole = LesionNet(which, classes=7, activation=False).eval()
        layer, arguments = network.trunk.bn2, ()
    if hasattr(network.head, "linear"):
        torch.nn.init.normal_(network.head.linear.weight, std=0.5)
    with torch.no_grad():
        ours = network.explain(image, *arguments).activation[:, 0].numpy()
    with grad_cam.GradCAMPlusPlus(model=whole, target_layers=[layer]) as theirs:
        expected = theirs(input_tensor=image, targets=None)
    found = scale_cam_image(scale_cam_image(ours, (96, 96)))
    assert expected.max() > 0.99 and expected.std() > 0.05
    np.testing.assert_allclose(found, expected, atol=1e-5)
