"""What a promptable model is: it sees an image once, then answers any number of prompts with masks; it never trains.

Knowledge mining, Sec. 2.2-2.4 (SAM: image encoder, prompt encoder, mask decoder). SAM and MedSAM (`teachers/sam.py`)
and cutis' own small stand-in (`PromptedNetwork` around `models/promptable.py`) are alike here. Which one a user means,
`load_promptable` in `recipes/promptables.py` finds out; what images gave once is kept by `teachers/embeddings.py`.

Coordinates are those of the promptable's square, `preprocessing.size` pixels a side: a whole number is the middle of a
pixel, so the square reaches from -0.5 to size - 0.5; a box holds its outermost pixels.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cutis.errors import CutisError
from cutis.imaging.preprocessing import Preprocessing
from cutis.teachers.base import fingerprint_of, frozen, normalised

__all__ = ["Answered", "Promptable", "PromptedFiles", "PromptedNetwork", "Prompts", "boxes_around", "checked_prompts"]


class Prompts(NamedTuple):
    """What is asked of B images, one object each.

    `points` (B, P, 2) float32 x, y; P may be 0. `labels` (B, P) int: 1 the point is on the lesion, 0 it is not, -1 it
    is padding. `boxes` (B, 4) float32 x0, y0, x1, y1, or None. `masks` (B, 1, h, w) float32 logits over the whole
    square, at any resolution, or None.
    """

    points: Tensor
    labels: Tensor
    boxes: Tensor | None = None
    masks: Tensor | None = None

    @classmethod
    def of_boxes(cls, boxes: Tensor, masks: Tensor | None = None) -> Prompts:
        """No points.

        >>> Prompts.of_boxes(torch.tensor([[2.0, 3.0, 20.0, 30.0]])).points.shape
        torch.Size([1, 0, 2])
        """
        count = len(boxes)
        points, labels = boxes.new_zeros(count, 0, 2), torch.zeros(count, 0, dtype=torch.long, device=boxes.device)
        return cls(points, labels, boxes, masks)


class Answered(NamedTuple):
    """M masks an image: `logits` (B, M, h, w) over the whole square, and `scores` (B, M), the model's own estimate of
    each one's IoU with what was meant."""

    logits: Tensor
    scores: Tensor

    def best(self) -> tuple[Tensor, Tensor]:
        """(B, 1, h, w) and (B,): the mask that the model thinks best of itself, and its score; of equals the first.

        >>> logits = torch.tensor([[[[1.0]], [[2.0]], [[3.0]]]])
        >>> Answered(logits, torch.tensor([[0.5, 0.75, 0.25]])).best()
        (tensor([[[[2.]]]]), tensor([0.7500]))
        """
        scores, which = self.scores.max(1)
        return self.logits[torch.arange(len(which), device=which.device), which].unsqueeze(1), scores


class Promptable(Protocol):
    """`fingerprint` is of all that decides its answers; `preprocessing` is what it wants to see (its own mean and
    standard deviation are taken care of in `embed`). Frozen: neither method changes a parameter or keeps a gradient."""

    name: str
    preprocessing: Preprocessing

    @property
    def fingerprint(self) -> str: ...

    def embed(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) float32 RGB in [0, 1], preprocessed -> (B, K, h', w'), all that `segment` needs of it."""
        ...

    def segment(self, embedding: Tensor, prompts: Prompts) -> Answered:
        """Embeddings of B images and what is asked of each; CutisError for prompts outside the square or none."""
        ...


class PromptedNetwork:
    """A network with `encode(image)` and `decode(embedding, points, labels, boxes, masks)` (models/promptable.py)."""

    def __init__(self, name: str, network: nn.Module, preprocessing: Preprocessing) -> None:
        self.name, self.preprocessing = name, preprocessing
        self.network: Any = frozen(network)
        self.fingerprint = fingerprint_of(network, preprocessing.model_dump_json())

    @torch.no_grad()
    def embed(self, image: Tensor) -> Tensor:
        return self.network.encode(normalised(image, self.preprocessing))

    @torch.no_grad()
    def segment(self, embedding: Tensor, prompts: Prompts) -> Answered:
        return Answered(*self.network.decode(embedding, *checked_prompts(prompts, self.preprocessing.size)))


class PromptedFiles:
    """An exported pair in the place of its network: `files` has `encode`, `decode` and what it takes, as the command
    line opens it (`load_promptable_model` in analysis/prompted.py). Float32 on the CPU, whatever `device` is."""

    def __init__(self, files: Any) -> None:
        info, hashes = files.info, (files.info.sha256, files.decoder_info.sha256)
        self.name = (
            f"{info.name} {info.version} (cutis' promptable stand-in), {info.precision}, encoder SHA-256 "
            f"{hashes[0][:12]}, decoder SHA-256 {hashes[1][:12]}"
        )
        self.files, self.preprocessing, self.fingerprint = files, files.preprocessing, "-".join(hashes)

    def embed(self, image: Tensor) -> Tensor:
        squares = (image * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return torch.from_numpy(self.files.encode(squares)).to(image.device)

    def segment(self, embedding: Tensor, prompts: Prompts) -> Answered:
        points, labels, boxes, masks = checked_prompts(prompts, self.preprocessing.size)
        spare, side = self.files.points - points.shape[1], self.files.mask_side
        if spare < 0:
            raise CutisError(
                f"{points.shape[1]} points are asked, {self.name} takes {self.files.points}: leave some out"
            )
        count = len(embedding)
        given = torch.tensor([[boxes is not None, masks is not None]]).repeat(count, 1)
        coarse = torch.zeros(count, 1, side, side)
        if masks is not None:
            coarse = F.interpolate(masks.float(), (side, side), mode="bilinear", antialias=True)
        feeds = (
            embedding, F.pad(points, (0, 0, 0, spare)), F.pad(labels, (0, spare), value=-1),
            torch.zeros(count, 4) if boxes is None else boxes, coarse, given,
        )  # fmt: skip
        logits, scores = self.files.decode(*(part.float().cpu().numpy() for part in feeds))
        return Answered(torch.from_numpy(logits).to(embedding.device), torch.from_numpy(scores).to(embedding.device))


def checked_prompts(prompts: Prompts, size: int) -> Prompts:
    """The same prompts; refused where one lies outside a square of `size` pixels, a box is inside out, or nothing is
    asked at all.

    >>> checked_prompts(Prompts.of_boxes(torch.tensor([[2.0, 3.0, 64.0, 30.0]])), 64)
    Traceback (most recent call last):
    cutis.errors.CutisError: the box 2, 3, 64, 30 of image 0 of the batch reaches outside the square of 64 pixels: \
give x0, y0, x1, y1 from 0 to 63
    """
    asked = prompts.labels >= 0
    outside = ((prompts.points < -0.5) | (prompts.points > size - 0.5) | prompts.points.isnan()).any(-1) & asked
    if outside.any():
        image, point = outside.nonzero()[0].tolist()
        where = ", ".join(f"{value:g}" for value in prompts.points[image, point].tolist())
        raise CutisError(
            f"the point {where} of image {image} of the batch lies outside the square of {size} pixels: give x, y from "
            f"0 to {size - 1}"
        )
    if prompts.boxes is not None:
        low, high = prompts.boxes[:, :2], prompts.boxes[:, 2:]
        wrong = ~((low >= -0.5) & (high <= size - 0.5) & (low <= high)).all(1)
        if wrong.any():
            image = int(wrong.nonzero()[0])
            where = ", ".join(f"{value:g}" for value in prompts.boxes[image].tolist())
            turned = bool((low > high)[image].any())
            fault = "is inside out" if turned else f"reaches outside the square of {size} pixels"
            raise CutisError(
                f"the box {where} of image {image} of the batch {fault}: give x0, y0, x1, y1 from 0 to {size - 1}"
            )
    elif prompts.masks is None and not asked.any(1).all():
        image = int((~asked.any(1)).nonzero()[0])
        raise CutisError(f"nothing is asked of image {image} of the batch: give a point, a box or a mask")
    return prompts


def boxes_around(logits: Tensor, side: int) -> Tensor:
    """(B, 1, h, w) logits -> (B, 4) x0, y0, x1, y1 in pixels of a square of `side`: the box of what is above 0, the
    whole square where nothing is.

    >>> logits = torch.full((2, 1, 4, 4), -1.0)
    >>> logits[0, 0, 1:3, 2] = 1
    >>> boxes_around(logits, 8)
    tensor([[4., 2., 5., 5.],
            [0., 0., 7., 7.]])
    """
    found = logits[:, 0] > 0
    boxes = []
    for mask in found:
        ends = []
        for axis in (0, 1):
            where = mask.any(axis).nonzero().flatten().tolist()
            scale = side / mask.shape[1 - axis]
            ends.append((where[0] * scale, (where[-1] + 1) * scale - 1) if where else (0.0, side - 1.0))
        (x0, x1), (y0, y1) = ends
        boxes.append([x0, y0, x1, y1])
    return torch.tensor(boxes, device=logits.device)
