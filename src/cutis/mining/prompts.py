"""From what a small network finds to what a promptable model is asked: points, the outer box, the mask itself.

Knowledge mining, Sec. 2.3. Points are the `points` pixels of highest probability, and where more share the last place,
a random choice of them; the box is the outer box of what is above 0.5; the mask prompt, which the paper leaves out, is
the network's own logits. The paper does not say how many points: 5 in our configurations. Differs in two points: no
point lies where the probability is below a half (of a tiny object there are then fewer), and separate objects may be
asked about one by one, which the paper names as its weakness (Sec. 3.4). Where nothing is found, nothing is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from cutis.mining.settings import PromptSettings
from cutis.teachers.promptable import Prompts, boxes_around

__all__ = ["NOTHING", "Asked", "objects_in", "points_in", "prompts_from"]

NOTHING = -20.0
"""Logit where an object is not: its probability is 2e-9."""
SPECK = 1e-3
"""With `objects: each`, what covers less of the square is no object, unless there is nothing larger."""


class Asked(NamedTuple):
    """`prompts` of R objects and `image` (R,) long: which of the B images each is in. An image with none is missing."""

    prompts: Prompts
    image: Tensor


def prompts_from(
    logits: Tensor, side: int, settings: PromptSettings, rngs: Sequence[np.random.Generator]
) -> Asked | None:
    """(B, 1, h, w) logits over squares -> what to ask a promptable whose square has `side` pixels; None if nothing was
    found in any of them. `rngs`: one an image, for ties.

    >>> logits = torch.full((2, 1, 8, 8), -1.0)
    >>> logits[1, 0, 2:4, 5:7] = torch.tensor([[3.0, 1.0], [1.0, 1.0]])
    >>> how = PromptSettings(points=1, box=True, mask=False, objects="one")
    >>> asked = prompts_from(logits, 16, how, [np.random.default_rng(i) for i in range(2)])
    >>> asked.image.tolist(), asked.prompts.points.tolist(), asked.prompts.boxes.tolist()
    ([1], [[[10.5, 4.5]]], [[10.0, 4.0, 13.0, 7.0]])
    """
    rows, image = objects_in(logits.detach().float(), settings.objects)
    if not len(image):
        return None
    points, labels = _points(rows, side, settings.points, [rngs[i] for i in image.tolist()])
    boxes = None
    if settings.box:
        corners = boxes_around(rows, side)
        boxes = torch.cat([corners[:, :2], corners.maximum(corners.roll(2, 1))[:, 2:]], 1)  # a pixel of a finer grid
    return Asked(Prompts(points, labels, boxes, rows if settings.mask else None), image)


def objects_in(logits: Tensor, objects: Literal["one", "each"]) -> tuple[Tensor, Tensor]:
    """(B, 1, h, w) logits -> (R, 1, h, w), each with one object and `NOTHING` in the others' places, and (R,) which
    image it is in.

    >>> logits = torch.full((1, 1, 4, 6), -1.0)
    >>> logits[0, 0, 1:3, 1] = logits[0, 0, 2, 4] = 1.0
    >>> [(row > 0).sum().item() for row in objects_in(logits, "each")[0]]
    [2, 1]
    """
    found = logits[:, 0] > 0
    image = found.flatten(1).any(1).nonzero().flatten()
    if objects == "one":
        return logits[image], image
    rows, where = [], []
    for index in image.tolist():
        for part in _components(found[index]):
            rows.append(torch.where(part, logits[index, 0], logits[index, 0].clamp(max=NOTHING)))
            where.append(index)
    if not rows:
        return logits[:0], image
    return torch.stack(rows).unsqueeze(1), torch.tensor(where, device=logits.device)


def _components(found: Tensor) -> list[Tensor]:
    """(h, w) bool -> each 8-connected part that is no speck, the largest first."""
    count, parts, facts, _ = cv2.connectedComponentsWithStats(found.cpu().numpy().view(np.uint8), connectivity=8)
    areas = facts[:, cv2.CC_STAT_AREA]
    order = sorted(range(1, count), key=lambda part: -areas[part])
    kept = [part for part in order if areas[part] >= SPECK * found.numel()] or order[:1]
    labels = torch.from_numpy(parts).to(found.device)
    return [labels == part for part in kept]


def points_in(probability: Tensor, most: int, rng: np.random.Generator) -> Tensor:
    """(h, w) -> (P, 2) long row, column of the `most` pixels of highest probability, none below a half; of those that
    tie for the last places a random choice.

    >>> probability = torch.tensor([[0.9, 0.7, 0.7], [0.7, 0.2, 0.1]])
    >>> points_in(probability, 2, np.random.default_rng(0))
    tensor([[0, 0],
            [1, 0]])
    """
    flat = probability.flatten()
    most = min(most, int((flat > 0.5).sum()))
    if not most:
        return flat.new_zeros((0, 2), dtype=torch.long)
    last = flat.topk(most).values[-1]
    sure, tied = (flat > last).nonzero().flatten(), (flat == last).nonzero().flatten()
    drawn = tied[torch.from_numpy(rng.choice(len(tied), most - len(sure), replace=False)).to(tied.device)]
    places = torch.cat([sure, drawn])
    return torch.stack([places // probability.shape[1], places % probability.shape[1]], 1)


def _points(rows: Tensor, side: int, most: int, rngs: Sequence[np.random.Generator]) -> tuple[Tensor, Tensor]:
    """(R, P, 2) x, y in pixels of a square of `side` and (R, P) labels: 1, or -1 where there are fewer."""
    cells = rows.new_tensor(rows.shape[-2:])
    points = rows.new_zeros(len(rows), most, 2)
    labels = torch.full((len(rows), most), -1, dtype=torch.long, device=rows.device)
    for index, rng in enumerate(rngs if most else ()):
        places = points_in(rows[index, 0].sigmoid(), most, rng)
        points[index, : len(places)] = ((places + 0.5) * side / cells - 0.5).flip(1)
        labels[index, : len(places)] = 1
    return points, labels
