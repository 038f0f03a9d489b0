"""FCN of torchvision: a ResNet whose last stages are dilated, and a small fully convolutional head.

Long et al., "Fully Convolutional Networks" (2015), SLSNet's first comparison (its Tables 3 and 4, where VGG's 134.3 M
parameters are printed; torchvision has it on ResNets). Weights are random, nothing is downloaded.
"""

from __future__ import annotations

from torch import Tensor, nn

from cutis.errors import CutisError
from cutis.registry import models

__all__ = ["FCN", "fcn"]

BACKBONES = ("resnet50", "resnet101")


class FCN(nn.Module):
    """(B, 3, H, W) -> (B, 1, H, W) logits of "lesion"; torchvision's own gives a dictionary."""

    def __init__(self, backbone: str) -> None:
        super().__init__()
        from torchvision.models import segmentation

        if backbone not in BACKBONES:
            raise CutisError(f"no FCN with the backbone {backbone!r} in torchvision: give {' or '.join(BACKBONES)}")
        build = getattr(segmentation, f"fcn_{backbone}")
        self.network = build(weights=None, weights_backbone=None, num_classes=1, aux_loss=False)

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)["out"]


@models.register("fcn")
def fcn(backbone: str = "resnet50") -> FCN:
    """FCN-32s's descendant at stride 8, upsampled bilinearly."""
    return FCN(backbone)
