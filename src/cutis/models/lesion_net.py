"""The lesion network: an EfficientNet whose features the E-Layer fuses with the symmetry network's map.

SE-LCN, Sec. 4.1.3 and Fig. 2c, 4: EfficientNet-B4's last feature map (1792 channels), the E-Layer, global mean, linear
to seven classes. `activation=False` is the paper's baseline: no E-Layer. Its own Grad-CAM++ map is taken at the last
ReLU before the mean (the baseline's: at the trunk's last activation). EfficientNet-B0 and MobileNetV2 are for small
devices and not the paper's.
"""

from __future__ import annotations

from torch import Tensor, nn

from cutis.layers.class_activation import Explained
from cutis.layers.e_layer import ELayer
from cutis.models.symmetry_net import LinearHead
from cutis.registry import models

__all__ = ["LesionNet"]

DROPOUT = {"efficientnet_b4": 0.4}  # of the library's own heads; 0.2 in the smaller ones


@models.register("lesion_net")
class LesionNet(nn.Module):
    """(B, 3, H, W) normalised RGB and, with `activation=True`, a (B, 1, any, any) map in [0, 1] -> (B, classes) logits.

    `backbone`: "efficientnet_b4", "efficientnet_b0" or "mobilenetv2_100" (any of `cutis.models.backbones.BACKBONES`
    works). Random weights: see `cutis.models.pretrained`. A map where none is taken, or none where one is, raises
    ValueError.

    >>> import torch
    >>> network = LesionNet("mobilenetv2_100", classes=7, activation=True).eval()
    >>> with torch.no_grad():
    ...     answer = network.explain(torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 3, 3))
    >>> answer.logits.shape, answer.activation.shape, answer.features.shape
    (torch.Size([1, 7]), torch.Size([1, 1, 2, 2]), torch.Size([1, 1280]))
    """

    def __init__(self, backbone: str = "efficientnet_b4", classes: int = 7, activation: bool = True) -> None:
        super().__init__()
        from cutis.models.backbones import build_trunk

        self.trunk, channels, self.cells = build_trunk(backbone)
        self.e_layer = ELayer(channels) if activation else None
        self.head = LinearHead(channels, classes, DROPOUT.get(backbone, 0.2))

    def forward(self, image: Tensor, activation: Tensor | None = None) -> Tensor:
        return self.head(self._features(image, activation))

    def explain(self, image: Tensor, activation: Tensor | None = None) -> Explained:
        """Logits, the Grad-CAM++ map of the predicted class, and the pooled features."""
        return self.head.explain(self._features(image, activation))

    def _features(self, image: Tensor, activation: Tensor | None) -> Tensor:
        features = self.trunk(image)
        if self.e_layer is None:
            if activation is not None:
                raise ValueError("this lesion network has no E-Layer and takes no map")
            return features
        if activation is None:
            raise ValueError("this lesion network has an E-Layer and needs the symmetry network's map")
        return self.e_layer(features, activation)
