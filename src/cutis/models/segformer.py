"""SegFormer-B0 of transformers: the smallest of the segmentation transformers that people begin with.

Xie et al. 2021, SegFormer, Sec. 3 and Table 6 (MiT-B0). A peer that ours is measured beside. The library answers at a
quarter of the side; here its logits are brought to the picture's size, as the others give them. Random weights.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from cutis.registry import models

__all__ = ["SegFormer", "segformer"]


class SegFormer(nn.Module):
    """(B, 3, H, W), H and W multiples of 32 -> (B, 1, H, W) logits. `attention`: how transformers computes it."""

    def __init__(self, attention: str) -> None:
        super().__init__()
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

        # MiT-B0 is what the configuration's defaults describe
        config = SegformerConfig(num_labels=1, attn_implementation=attention)
        self.network = SegformerForSemanticSegmentation(config)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.network(pixel_values=x).logits
        return F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)


@models.register("segformer")
def segformer(attention: str = "eager") -> SegFormer:
    """B0. Plain ("eager") attention exports to ONNX and counts its products; "sdpa" is faster in torch."""
    return SegFormer(attention)
