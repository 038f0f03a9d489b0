"""The symmetry network: SqueezeNet 1.1, or one of the three it was compared with, and its Grad-CAM++ map.

SE-LCN, Sec. 4.1.2. SqueezeNet keeps its own head (dropout, 1x1 convolution, ReLU, global mean); the others get "global
mean, dropout, linear". The map is taken at the trunk's last output, for SqueezeNet the whole last fire module (the
authors: its 3x3 expansion only). One number is ours: the bias of SqueezeNet's head starts at 1, equal for all classes,
which changes no probability but keeps the ReLU behind it from starting dead.
"""

from __future__ import annotations

from torch import Tensor, nn

from cutis.layers.class_activation import Explained, activation_after_convolution, activation_after_mean
from cutis.registry import models

__all__ = ["ConvolutionHead", "LinearHead", "SymmetryNet"]


class LinearHead(nn.Module):
    """(B, C, h, w) -> global mean, dropout, linear -> (B, K)."""

    def __init__(self, channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(channels, classes)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(self.dropout(features.mean((2, 3))))

    def explain(self, features: Tensor) -> Explained:
        pooled = features.mean((2, 3))
        logits = self.linear(self.dropout(pooled))
        return Explained(logits, activation_after_mean(features, logits, self.linear.weight), pooled)


class ConvolutionHead(nn.Module):
    """(B, C, h, w) -> dropout, 1x1 convolution, ReLU, global mean -> (B, K), never negative (SqueezeNet's)."""

    def __init__(self, channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.convolution = nn.Conv2d(channels, classes, 1)
        nn.init.normal_(self.convolution.weight, std=0.01)
        nn.init.ones_(self.convolution.bias)

    def forward(self, features: Tensor) -> Tensor:
        return self.convolution(self.dropout(features)).relu().mean((2, 3))

    def explain(self, features: Tensor) -> Explained:
        z = self.convolution(self.dropout(features))
        activation = activation_after_convolution(features, z, self.convolution.weight)
        return Explained(z.relu().mean((2, 3)), activation, features.mean((2, 3)))


@models.register("symmetry_net")
class SymmetryNet(nn.Module):
    """(B, 3, H, W) normalised RGB -> (B, classes) logits; two classes or three (asymmetric first).

    `backbone`: "squeezenet1_1", "resnet34", "efficientnet_b0" or "shufflenet_v2_x1_0" (any of
    `cutis.models.backbones.BACKBONES` works). Random weights: see `cutis.models.pretrained`.

    >>> import torch
    >>> network = SymmetryNet("squeezenet1_1", classes=2).eval()
    >>> with torch.no_grad():
    ...     answer = network.explain(torch.zeros(1, 3, 64, 64))
    >>> answer.logits.shape, answer.activation.shape, answer.features.shape
    (torch.Size([1, 2]), torch.Size([1, 1, 3, 3]), torch.Size([1, 512]))
    """

    def __init__(self, backbone: str = "squeezenet1_1", classes: int = 2) -> None:
        super().__init__()
        from cutis.models.backbones import build_trunk

        self.trunk, channels, self.cells = build_trunk(backbone)
        squeezenet = backbone == "squeezenet1_1"
        self.head = ConvolutionHead(channels, classes, 0.5) if squeezenet else LinearHead(channels, classes, 0.2)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.trunk(image))

    def explain(self, image: Tensor) -> Explained:
        """Logits, the Grad-CAM++ map of the predicted class, and the pooled features."""
        return self.head.explain(self.trunk(image))
