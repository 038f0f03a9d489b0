"""LRASPP with MobileNetV3 (large), torchvision's: the network that a phone's developer would pick first.

Howard et al. 2019, Searching for MobileNetV3, Sec. 5.3 and 6.4 (the segmentation head "Lite R-ASPP"). A peer that ours
is measured beside. Torchvision's own form; here with one class, random weights and the logits alone as its answer.
"""

from __future__ import annotations

from torch import Tensor, nn

from cutis.registry import models

__all__ = ["LRASPP", "lraspp"]


class LRASPP(nn.Module):
    """(B, 3, H, W) -> (B, 1, H, W) logits, upsampled from an eighth of the side by the library."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models.segmentation import lraspp_mobilenet_v3_large

        self.network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)["out"]


@models.register("lraspp")
def lraspp() -> LRASPP:
    """Without options: torchvision has one."""
    return LRASPP()
