"""What a user would pick instead, by name: networks of public packages, with random weights, nothing downloaded.

A segmenter takes the same square and gives the same mask as ours, so its file is of the same contract and runs the same
way; trained on the same images it can be compared in accuracy too (`cutis train supervised --network.name ...`).
What finds anything when prompted (the SAM family) has no mask without a prompt: its image encoder alone is timed, at
the side it was made for, and nothing is said of its accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from cutis.errors import CutisError, missing

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ENCODERS", "PEERS", "SEGMENTERS", "Peer", "build_peer", "peer_named", "version_of"]


class Peer(NamedTuple):
    """`network` and `options`: of a registered segmenter, or of transformers' vision encoder (`model` and its fields).

    `side`: of its input; None where it takes any (multiples of 32). `in_torch`: why it is not exported, where it is
    known beforehand.
    """

    title: str
    package: str
    network: str
    options: Mapping[str, Any]
    side: int | None = None
    in_torch: str | None = None


_SMP, _TORCHVISION, _TRANSFORMERS = "segmentation-models-pytorch", "torchvision", "transformers"
_MOBILE = {"encoder": "mobilenet_v2"}
_HUGE = {
    "hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "mlp_dim": 5120,
    "global_attn_indexes": [7, 15, 23, 31],
}  # fmt: skip
_REPVIT = {
    "model_type": "timm_wrapper", "architecture": "repvit_m1", "num_classes": 1, "label_names": ["none"],
    "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
}  # fmt: skip

SEGMENTERS: Mapping[str, Peer] = MappingProxyType(
    {
        "sparsesegnet": Peer(
            "SparseSegNet, unpruned", "cutis", "sparsesegnet",
            {"widths": [32, 96, 192, 192], "depths": [1, 2, 2, 3]},
        ),
        "unet-resnet34": Peer("U-Net (ResNet-34)", _SMP, "unet", {"encoder": "resnet34"}),
        "unetplusplus-resnet34": Peer("U-Net++ (ResNet-34)", _SMP, "unetplusplus", {"encoder": "resnet34"}),
        "deeplabv3plus-mobilenetv2": Peer("DeepLabV3+ (MobileNetV2)", _SMP, "deeplabv3plus", _MOBILE),
        "fpn-mobilenetv2": Peer("FPN (MobileNetV2)", _SMP, "fpn", _MOBILE),
        "lraspp-mobilenetv3": Peer("LRASPP (MobileNetV3 large)", _TORCHVISION, "lraspp", {}),
        "segformer-b0": Peer("SegFormer-B0", _TRANSFORMERS, "segformer", {}),
    }
)  # fmt: skip
"""Name -> a segmenter; the first is ours with random weights, for sizes that the bundled file does not have, and before
the pruning that took a fifth of that one's products."""

ENCODERS: Mapping[str, Peer] = MappingProxyType(
    {
        "sam-vit-b": Peer("SAM ViT-B, encoder", _TRANSFORMERS, "Sam", {}, 1024),
        "sam2-tiny": Peer("SAM 2 tiny, encoder", _TRANSFORMERS, "Sam2", {}, 1024),
        "edgetam": Peer("EdgeTAM, encoder", _TRANSFORMERS, "EdgeTam", {"backbone_config": _REPVIT}, 1024),
        "sam-vit-h": Peer(
            "SAM ViT-H, encoder", _TRANSFORMERS, "Sam", _HUGE, 1024,
            "its weights take 2.5 GB, and an ONNX file in one piece holds 2 GB",
        ),
    }
)  # fmt: skip
"""Name -> an image encoder of the SAM family, of transformers' `<network>VisionModel`."""

PEERS: Mapping[str, Peer] = MappingProxyType({**SEGMENTERS, **ENCODERS})


def peer_named(name: str) -> Peer:
    """The peer of that name.

    >>> peer_named("segformer-b0").title
    'SegFormer-B0'
    >>> peer_named("unet")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    cutis.errors.CutisError: no peer 'unet': give one of sparsesegnet, unet-resnet34, ...
    """
    if name not in PEERS:
        raise CutisError(f"no peer {name!r}: give one of {', '.join(PEERS)}")
    return PEERS[name]


def version_of(peer: Peer) -> str:
    """Of the package that it comes from; a CutisError says what to install where it is not there."""
    try:
        return metadata.version(peer.package)
    except metadata.PackageNotFoundError as error:
        raise missing(f"the peer {peer.title} needs", peer.package) from error


def build_peer(name: str, attention: str = "eager", device: str = "cpu") -> nn.Module:
    """The network with random weights: a segmenter gives logits, an encoder its picture's embedding.

    `attention`: how a transformer of the SAM family computes it; "eager" exports and can be counted, "sdpa" is faster.
    """
    import torch

    peer = peer_named(name)
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.default_generator.manual_seed(0)
        if name in ENCODERS:
            return _encoder(peer, attention)
        return _segmenter(peer)


def _segmenter(peer: Peer) -> nn.Module:
    import cutis.models  # noqa: F401  (registers the networks)
    from cutis.registry import models

    return models.build(peer.network, **peer.options).eval()


def _encoder(peer: Peer, attention: str) -> nn.Module:
    import transformers
    from torch import Tensor, nn

    class Encoder(nn.Module):
        """(B, 3, S, S) normalised -> (B, C, S/16, S/16), or what the library calls its last hidden state."""

        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: Tensor) -> Tensor:
            return self.network(pixel_values=image).last_hidden_state

    config: Any = getattr(transformers, f"{peer.network}VisionConfig")
    network: Any = getattr(transformers, f"{peer.network}VisionModel")
    return Encoder(network(config(**peer.options, attn_implementation=attention))).eval()
