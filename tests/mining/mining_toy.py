"""A promptable model whose answers can be worked out by hand, and drawn images to ask it about."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from cutis.data.cache import SegmentationCache, open_cache
from cutis.data.catalogue import open_dataset
from cutis.data.synthetic import write_folder
from cutis.imaging.preprocessing import Preprocessing
from cutis.teachers.base import fingerprint_of, frozen
from cutis.teachers.promptable import Answered, Prompts, checked_prompts

SIDE = 32
STEPS = Preprocessing(size=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3)


class Dark:
    """Inside the box (or everywhere), what is darker than the picture's mean is the object; scores 0.9, the others
    0.2 and 0.1. Its one weight only stands for those of a network."""

    def __init__(self) -> None:
        self.network = frozen(nn.Conv2d(3, 1, 1))
        nn.init.constant_(self.network.weight, 1 / 3)
        nn.init.zeros_(self.network.bias)
        self.name, self.preprocessing = "dark", STEPS
        self.fingerprint = fingerprint_of(self.network)
        self.asked: list[Prompts] = []

    @torch.no_grad()
    def embed(self, image: Tensor) -> Tensor:
        return self.network(image)

    @torch.no_grad()
    def segment(self, embedding: Tensor, prompts: Prompts) -> Answered:
        checked_prompts(prompts, SIDE)
        self.asked.append(prompts)
        dark = embedding < embedding.mean((1, 2, 3), keepdim=True)
        if prompts.boxes is not None:
            at = torch.arange(SIDE)
            x0, y0, x1, y1 = (edge.view(-1, 1) for edge in prompts.boxes.unbind(1))
            columns, rows = (at >= x0) & (at <= x1), (at >= y0) & (at <= y1)
            dark = dark & (rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1)
        best = torch.where(dark, 4.0, -4.0)
        logits = torch.cat([torch.full_like(best, -1), best, torch.full_like(best, 1)], 1)
        return Answered(logits, torch.tensor([0.2, 0.9, 0.1]).expand(len(best), 3))


def drawn(folder, count: int) -> SegmentationCache:
    """`count` drawn lesions as squares of `SIDE`."""
    write_folder(folder / "images", count, 3, width=48, height=36)
    samples = open_dataset(folder / "images", "folder").samples
    return open_cache(samples, SIDE, folder / "cache")


def rngs(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(index) for index in range(count)]
