"""Any trained network as a teacher: its logits, and what one of its layers gives as the embedding.

SparseSegNet, Sec. 3.3, with other teachers than its two: a run of cutis (SparseSegNet, a U-Net, DeepLabV3+, ...) stands
in where SAM or SEEM is not to be had.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cutis.errors import CutisError
from cutis.imaging.preprocessing import Preprocessing
from cutis.teachers.base import Taught, fingerprint_of, frozen, normalised

__all__ = ["NetworkTeacher", "maps_of"]

_SHOWN = 24


class NetworkTeacher:
    """`network` gives (B, 1, S, S) logits; `layer` names the module whose output is the embedding, the last one where
    it gives several. A layer that is not there, or gives no map, is refused with those that do.

    >>> steps = Preprocessing(size=32, mean=(0.5,) * 3, std=(0.2,) * 3)
    >>> teacher = NetworkTeacher("toy", nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 1, 1)), steps, layer="0")
    >>> teacher.answer(torch.zeros(2, 3, 32, 32)).embedding.shape
    torch.Size([2, 4, 32, 32])
    """

    def __init__(self, name: str, network: nn.Module, preprocessing: Preprocessing, *, layer: str) -> None:
        self.name, self.preprocessing, self.layer = name, preprocessing, layer
        self.network = frozen(network)
        maps = maps_of(self.network, preprocessing.size)
        if layer not in maps:
            known = ", ".join(f"{n} {shape[1]}x{shape[2]}x{shape[3]}" for n, shape in list(maps.items())[:_SHOWN])
            raise CutisError(f"{name} has no layer {layer!r} that gives a map: name one of {known}")
        self.fingerprint = fingerprint_of(network, layer, preprocessing.model_dump_json())

    @torch.no_grad()
    def answer(self, image: Tensor) -> Taught:
        seen: list[Tensor] = []
        module = self.network.get_submodule(self.layer)
        handle = module.register_forward_hook(lambda module, inputs, output: seen.append(_last_map(output).clone()))
        try:
            logits = self.network(normalised(image, self.preprocessing))
        finally:
            handle.remove()
        return Taught(logits if isinstance(logits, Tensor) else logits.logits, seen[-1])


@torch.no_grad()
def maps_of(network: nn.Module, size: int) -> dict[str, torch.Size]:
    """Name of each module that gives a (B, K, h, w) map, smaller than the picture -> the shape for one picture."""
    found: dict[str, torch.Size] = {}

    def look(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            last = _last_map(output)
            if last is not None and last.shape[1] > 1:
                found[name] = last.shape

        return hook

    handles = [module.register_forward_hook(look(name)) for name, module in network.named_modules() if name]
    try:
        weight = next(network.parameters())
        network(torch.zeros(1, 3, size, size, device=weight.device, dtype=weight.dtype))
    finally:
        for handle in handles:
            handle.remove()
    return dict(sorted(found.items(), key=lambda item: item[0].count(".")))


def _last_map(output: Any) -> Any:
    if isinstance(output, (list, tuple)) and output:
        output = output[-1]
    return output if isinstance(output, Tensor) and output.ndim == 4 else None
