"""Semantic pruning: a decoder's channel stays if its map looks like the teacher's map of the lesion.

SparseSegNet, Sec. 3.2, Eq. 5-6: the cosine of the channel's map and the teacher's anchor map, both as long vectors; the
mean over images is compared with tau = 0.35. The anchor, a probability of "lesion", is shrunk to the map's size. Any
function from a batch to anchors is a teacher: a network, a cache that `batch.where` looks up, or the masks themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cutis.data.batches import Batch

__all__ = ["Anchor", "cosine", "semantic_scores"]

Anchor = Callable[[Batch], Tensor]
"""A batch -> (B, 1, h, w), not negative, of any size: where the teacher sees the lesion."""


def semantic_scores(
    network: nn.Module, batches: Iterable[Batch], blocks: Sequence[str], anchor: Anchor
) -> dict[str, Tensor]:
    """Block -> (C,) float64 in [-1, 1]: the mean of Eq. 5 over all images in which the anchor is not empty."""
    training = network.training
    network.eval()
    sums = dict.fromkeys(blocks, torch.zeros((), dtype=torch.float64))
    images = 0
    maps: dict[str, Tensor] = {}
    handles = [network.get_submodule(block).register_forward_hook(_keeper(maps, block)) for block in blocks]
    try:
        for batch in batches:
            with torch.no_grad():
                network(batch.image)
                wanted = anchor(batch).detach()
            seen = wanted.flatten(1).any(1)
            images += int(seen.sum())
            for block, found in maps.items():
                sums[block] = sums[block] + cosine(found[seen], wanted[seen]).double().sum(0)
    finally:
        for handle in handles:
            handle.remove()
        network.train(training)
    if not images:
        raise ValueError("the anchor is empty in every image: there is nothing to compare channels with")
    return {block: total / images for block, total in sums.items()}


def cosine(maps: Tensor, anchor: Tensor) -> Tensor:
    """(B, C, H, W) maps, (B, 1, h, w) anchors -> (B, C) cosines of Eq. 5; 0 for a map of zeros.

    >>> maps = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]], [[3.0, 3.0]]]])
    >>> cosine(maps, torch.tensor([[[[1.0, 0.0]]]]))
    tensor([[1.0000, 0.0000, 0.7071]])
    """
    if anchor.shape[-2:] != maps.shape[-2:]:
        anchor = F.interpolate(anchor.to(maps.dtype), maps.shape[-2:], mode="bilinear", antialias=True)
    return F.cosine_similarity(maps.flatten(2), anchor.to(maps.dtype).flatten(2), dim=2)


def _keeper(maps: dict[str, Tensor], block: str) -> Callable[[nn.Module, object, Tensor], None]:
    def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
        maps[block] = output

    return hook
