"""SLSNet's discriminator: does this mask belong to this image, patch by patch?

Sarker et al., "SLSNet", Sec. 3.3 and Fig. 1, as in pix2pix: image and mask concatenated, three 4x4 convolutions of
stride 2 and padding 1, position attention after the second, channel attention after the third, a last layer. Sec. 4.5
places them one layer earlier; Sec. 3.3 and the figure are followed. The paper prints no widths: pix2pix's are taken.
The sigmoid of its last layer is part of the loss (losses/adversarial.py), where it is exact for large logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cutis.layers.dual_attention import ChannelAttention, PositionAttention
from cutis.registry import models

__all__ = ["SLSNetDiscriminator", "slsnet_discriminator"]


class SLSNetDiscriminator(nn.Module):
    """Image (B, 3, H, W) and mask (B, 1, H, W) of values in [0, 1] -> (B, 1, h, w) logits of "real", a patch each.

    >>> critic = SLSNetDiscriminator((8, 16, 32), position=True, channel=True)
    >>> critic(torch.zeros(2, 3, 64, 64), torch.zeros(2, 1, 64, 64)).shape
    torch.Size([2, 1, 7, 7])
    """

    def __init__(self, widths: Sequence[int], *, position: bool, channel: bool) -> None:
        super().__init__()
        one, two, three = widths
        self.layers = nn.Sequential(
            _conv(4, one, norm=False),
            _conv(one, two),
            PositionAttention(two) if position else nn.Identity(),
            _conv(two, three),
            ChannelAttention() if channel else nn.Identity(),
            nn.Conv2d(three, 1, 4, padding=1),
        )

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        return self.layers(torch.cat([image, mask.to(image.dtype)], 1))


def _conv(inputs: int, outputs: int, *, norm: bool = True) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=not norm)
    return nn.Sequential(conv, *([nn.BatchNorm2d(outputs)] if norm else []), nn.LeakyReLU(0.2))


@models.register("slsnet_discriminator")
def slsnet_discriminator(
    widths: Sequence[int] = (64, 128, 256), position: bool = True, channel: bool = True
) -> SLSNetDiscriminator:
    """The full discriminator; table 6's baselines leave attention out here too."""
    return SLSNetDiscriminator(widths, position=position, channel=channel)
