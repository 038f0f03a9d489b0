"""SAM as a teacher, through transformers: any weights in that format, ViT-B, L or H, and MedSAM's.

SparseSegNet, Sec. 3.3 and 4.3 (SAM ViT-H, the boundary-minded teacher). The paper does not say what SAM was prompted
with, and without a prompt it finds anything. Here: the middle of the picture, where dermoscopy puts the lesion, or,
better, the box around what a trained network finds there (MedSAM knows boxes only); never anything of the true mask.
Of SAM's three masks the one is taken that it thinks best of itself. The embedding is its image encoder's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cutis.imaging.preprocessing import Preprocessing
from cutis.teachers.base import Taught, Teacher, fingerprint_of, frozen, normalised
from cutis.teachers.pretrained import open_pretrained

__all__ = ["SamTeacher", "boxes_around", "load_sam"]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of every published SAM
SOURCES = "facebook/sam-vit-huge (or -large, -base), or flaviagiammarino/medsam-vit-base"


class SamTeacher:
    """`model` is a transformers `SamModel`. `prompter`, a teacher, tells the box; without it the middle is asked for.

    Its `prompter` sees the same picture at its own size, without its colour steps.
    """

    def __init__(self, name: str, model: Any, prompter: Teacher | None) -> None:
        self.model, self.prompter = frozen(model), prompter
        self.name = f"{name}, prompted by {prompter.name if prompter else 'the middle'}"
        self.preprocessing = Preprocessing(size=model.config.vision_config.image_size, mean=MEAN, std=STD)
        self.fingerprint = fingerprint_of(model, prompter.fingerprint if prompter else "middle")

    @torch.no_grad()
    def answer(self, image: Tensor) -> Taught:
        embedding = self.model.get_image_embeddings(normalised(image, self.preprocessing))
        if isinstance(embedding, tuple):
            embedding = embedding[0]
        said = self.model(image_embeddings=embedding, **self._prompt(image), multimask_output=True)
        best = said.iou_scores[:, 0].argmax(1)
        masks = said.pred_masks[:, 0]
        return Taught(masks[torch.arange(len(masks), device=masks.device), best].unsqueeze(1), embedding)

    def _prompt(self, image: Tensor) -> dict[str, Tensor]:
        count, side = len(image), image.shape[-1]
        if self.prompter is None:
            middle = torch.full((count, 1, 1, 2), (side - 1) / 2, device=image.device)
            return {
                "input_points": middle,
                "input_labels": torch.ones(count, 1, 1, dtype=torch.int, device=image.device),
            }
        small = (self.prompter.preprocessing.size,) * 2
        logits = self.prompter.answer(F.interpolate(image, small, mode="bilinear", antialias=True)).logits
        return {"input_boxes": boxes_around(logits, side).unsqueeze(1)}


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


def load_sam(weights: Path | None, prompter: Teacher | None, device: str) -> SamTeacher:
    """SAM from a folder in the format of transformers (config.json, model.safetensors), or that file in it.

    Nothing is downloaded. Raises CutisError that says where to get weights that are not there.
    """
    from transformers import SamModel

    folder = open_pretrained(weights, "SAM", SOURCES, "sam")
    return SamTeacher(f"SAM {folder.name}", folder.load(SamModel).to(device), prompter)
