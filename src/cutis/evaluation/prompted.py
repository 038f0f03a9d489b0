"""How good a promptable model is when it is asked as a person would ask: with a box, a box that is off, k points.

Knowledge mining, Sec. 4 (what can be mined from a promptable is bounded by how well it answers). Prompts are made from
the true mask in the promptable's own square (recipes/simulated_prompts.py), the same for every model and device; the
answer is judged at the image's own size like any model's (`evaluate`). An image with an empty mask cannot be asked
about and is a failure that is named.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from cutis.data.samples import Sample
from cutis.errors import CutisError
from cutis.imaging.frame import Frame, letterbox
from cutis.imaging.read import read_image, read_mask
from cutis.recipes.simulated_prompts import correction, jittered, points_in, true_boxes
from cutis.teachers.promptable import Answered, Promptable, Prompts

__all__ = ["WAYS", "Asking", "asked"]

WAYS = ("box", "jittered-box", "1-point", "3-points", "1-point-3-corrections")
JITTER = 0.1  # of the box's extent, SD: SAM's training had as much


class Asking:
    """A predictor of samples that `asked` made: each is asked about in the way that its data set's name ends with.

    An image is encoded once as long as its ways follow each other. `seed` decides the points and how boxes are off.
    """

    def __init__(self, promptable: Promptable, seed: int, device: str) -> None:
        self.promptable, self.seed, self.device = promptable, seed, device
        self._last: tuple[Sample, Tensor, Frame, Tensor] | None = None

    def __call__(self, sample: Sample) -> NDArray[np.bool_]:
        dataset, way = sample.dataset.split(" by ")
        embedding, frame, mask = self._seen(replace(sample, dataset=dataset))
        rng = torch.Generator().manual_seed(zlib.crc32(f"{self.seed} {dataset} {sample.id} {way}".encode()))
        logits = self._answer(embedding, mask, way, rng)
        return frame.restore(logits[0, 0].cpu().numpy()) > 0

    def _seen(self, sample: Sample) -> tuple[Tensor, Frame, Tensor]:
        if self._last is None or self._last[0] != sample:
            steps = self.promptable.preprocessing
            square, frame = steps.apply(read_image(sample.image).pixels)
            assert sample.mask is not None
            truth = letterbox(read_mask(sample.mask).astype(np.uint8) * np.uint8(255), steps.size)[0] >= 128
            if not truth.any():
                raise CutisError("its true mask is empty: there is nothing to prompt for")
            image = torch.from_numpy(square).to(self.device).permute(2, 0, 1)[None].float() / 255
            mask = torch.from_numpy(truth).to(self.device)[None, None].float()
            self._last = sample, self.promptable.embed(image), frame, mask
        return self._last[1:]

    def _answer(self, embedding: Tensor, mask: Tensor, way: str, rng: torch.Generator) -> Tensor:
        side = mask.shape[-1]
        if way == "box":
            return _whole(self.promptable.segment(embedding, Prompts.of_boxes(true_boxes(mask))), side)
        if way == "jittered-box":
            boxes = jittered(true_boxes(mask), JITTER, side, rng)
            return _whole(self.promptable.segment(embedding, Prompts.of_boxes(boxes)), side)
        count, corrections = _numbers(way)
        points, there = points_in(mask > 0.5, count, rng)
        labels = torch.where(there, 1, -1)
        logits = _whole(self.promptable.segment(embedding, Prompts(points, labels)), side)
        for _ in range(corrections):
            point, label = correction(logits, mask, rng)
            points, labels = torch.cat([points, point], 1), torch.cat([labels, label], 1)
            logits = _whole(self.promptable.segment(embedding, Prompts(points, labels, None, logits)), side)
        return logits


def asked(samples: Sequence[Sample], ways: Sequence[str]) -> list[Sample]:
    """Each sample once for every way, which its data set's name then ends with: reports tell them apart.

    >>> from pathlib import Path
    >>> [sample.dataset for sample in asked([Sample("1", Path("1.jpg"), "ph2")], ["box", "2-points"])]
    ['ph2 by box', 'ph2 by 2-points']
    >>> asked([], ["circle"])
    Traceback (most recent call last):
    cutis.errors.CutisError: no way 'circle' to prompt: give box, jittered-box, 1-point, 3-points, \
1-point-3-corrections, or other numbers
    """
    for way in ways:
        if way not in WAYS[:2]:
            _numbers(way)
    return [replace(sample, dataset=f"{sample.dataset} by {way}") for sample in samples for way in ways]


def _numbers(way: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d?)-points?(?:-([1-9]\d?)-corrections?)?", way)
    if found is None:
        raise CutisError(f"no way {way!r} to prompt: give {', '.join(WAYS)}, or other numbers")
    return int(found[1]), int(found[2] or 0)


def _whole(answered: Answered, side: int) -> Tensor:
    """The best mask's logits over the square of `side` pixels."""
    return F.interpolate(answered.best()[0].float(), (side, side), mode="bilinear", align_corners=False)
