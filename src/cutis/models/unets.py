"""U-Net, U-Net++, DeepLabV3+, FPN and LinkNet of segmentation-models-pytorch under their own names.

SE-LCN, Sec. 4.1.1 (DeepLabV3+ and U-Net); SLSNet, Tables 3 and 4 (U-Net), and beside them; Knowledge
mining, Sec. 4 (U-Net++ with a ResNet-34 encoder). The encoder is a keyword, any name that the library knows; its
weights are random and nothing is downloaded, but `fill_encoder` gives it ImageNet's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from cutis.errors import CutisError
from cutis.models.pretrained import Pretrained, load_pretrained
from cutis.registry import models

__all__ = ["deeplabv3plus", "fill_encoder", "fpn", "linknet", "unet", "unetplusplus"]


@models.register("unet")
def unet(encoder: str = "resnet34") -> nn.Module:
    """(B, 3, H, W), H and W multiples of 32 -> (B, 1, H, W) logits of "lesion"; so the others.

    >>> unet(encoder="no_such_encoder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    cutis.errors.CutisError: no encoder 'no_such_encoder' in segmentation-models-pytorch: ...
    """
    return _build("Unet", encoder)


@models.register("unetplusplus")
def unetplusplus(encoder: str = "resnet34") -> nn.Module:
    """U-Net with nested, dense skips."""
    return _build("UnetPlusPlus", encoder)


@models.register("deeplabv3plus")
def deeplabv3plus(encoder: str = "resnet34") -> nn.Module:
    """Atrous pyramid at stride 16 and one skip at stride 4. The library upsamples its logits by 4 at the end."""
    return _build("DeepLabV3Plus", encoder)


@models.register("fpn")
def fpn(encoder: str = "resnet34") -> nn.Module:
    """A feature pyramid: maps of four strides brought to one, and added."""
    return _build("FPN", encoder)


@models.register("linknet")
def linknet(encoder: str = "resnet34") -> nn.Module:
    """U-Net's shape with additions in place of concatenations."""
    return _build("Linknet", encoder)


def fill_encoder(network: nn.Module, encoder: str, source: str | Path) -> Pretrained:
    """ImageNet weights for the encoder of one of these networks, from where `load_pretrained` takes them.

    `encoder` as the library names it; "tu-mobilenetv2_100" is timm's MobileNetV2, which may come from a .tflite file.
    The batch norms of such a file want `refit_batch_norm(network.encoder, batches)`.

    >>> fill_encoder(nn.Identity(), "resnet34", "weights.pth")
    Traceback (most recent call last):
    cutis.errors.CutisError: Identity has no encoder to put weights into: leave the field 'weights' out
    """
    part = getattr(network, "encoder", None)
    if part is None:
        raise CutisError(f"{type(network).__name__} has no encoder to put weights into: leave the field 'weights' out")
    return load_pretrained(getattr(part, "model", part), encoder.removeprefix("tu-"), source)


def _build(architecture: str, encoder: str) -> nn.Module:
    import segmentation_models_pytorch as smp

    network: Any = getattr(smp, architecture)
    try:
        return network(encoder_name=encoder, encoder_weights=None, in_channels=3, classes=1)
    except KeyError:
        raise CutisError(
            f"no encoder {encoder!r} in segmentation-models-pytorch: resnet34, mobilenet_v2 or efficientnet-b0 are some"
        ) from None
