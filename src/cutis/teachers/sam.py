"""SAM, as a promptable and as a teacher, through transformers: any weights in that format, ViT-B, L or H, and MedSAM's.

SparseSegNet, Sec. 3.3 and 4.3 (SAM ViT-H, the boundary-minded teacher). The paper does not say what SAM was prompted
with, and without a prompt it finds anything. Here: the middle of the picture, where dermoscopy puts the lesion, or,
better, the box around what a trained network finds there (MedSAM knows boxes only); never anything of the true mask.
Of SAM's three masks the one is taken that it thinks best of itself. The embedding is its image encoder's.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cutis.imaging.preprocessing import Preprocessing
from cutis.teachers.base import Taught, Teacher, fingerprint_of, frozen, normalised
from cutis.teachers.pretrained import open_pretrained
from cutis.teachers.promptable import Answered, Prompts, boxes_around, checked_prompts

__all__ = ["SamPromptable", "SamTeacher", "load_sam", "open_sam"]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of every published SAM
SOURCES = "facebook/sam-vit-huge (or -large, -base), or flaviagiammarino/medsam-vit-base"


class SamPromptable:
    """`model` is a transformers `SamModel`; three masks an answer, on a grid of a quarter of its picture's side."""

    def __init__(self, name: str, model: Any) -> None:
        self.name, self.model = name, frozen(model)
        self.preprocessing = Preprocessing(size=model.config.vision_config.image_size, mean=MEAN, std=STD)

    @cached_property
    def fingerprint(self) -> str:  # of up to 2.5 GB, when it is wanted
        return fingerprint_of(self.model)

    @torch.no_grad()
    def embed(self, image: Tensor) -> Tensor:
        embedding = self.model.get_image_embeddings(normalised(image, self.preprocessing))
        return embedding[0] if isinstance(embedding, tuple) else embedding

    @torch.no_grad()
    def segment(self, embedding: Tensor, prompts: Prompts) -> Answered:
        points, labels, boxes, masks = checked_prompts(prompts, self.preprocessing.size)
        asked: dict[str, Tensor] = {}
        if points.shape[1]:
            asked |= {"input_points": points.unsqueeze(1), "input_labels": labels.unsqueeze(1)}
        if boxes is not None:
            asked["input_boxes"] = boxes.unsqueeze(1)
        if masks is not None:
            side = 4 * embedding.shape[-1]  # what its mask encoder takes
            asked["input_masks"] = F.interpolate(masks, (side, side), mode="bilinear", antialias=True)
        said = self.model(image_embeddings=embedding, **asked, multimask_output=True)
        return Answered(said.pred_masks[:, 0], said.iou_scores[:, 0])


class SamTeacher:
    """SAM asked for the lesion. `prompter`, a teacher, tells the box; without it the middle is asked for.

    Its `prompter` sees the same picture at its own size, without its colour steps.
    """

    def __init__(self, name: str, model: Any, prompter: Teacher | None) -> None:
        self.sam, self.prompter = SamPromptable(name, model), prompter
        self.name = f"{name}, prompted by {prompter.name if prompter else 'the middle'}"
        self.preprocessing = self.sam.preprocessing
        self.fingerprint = fingerprint_of(model, prompter.fingerprint if prompter else "middle")

    @torch.no_grad()
    def answer(self, image: Tensor) -> Taught:
        embedding = self.sam.embed(image)
        return Taught(self.sam.segment(embedding, self._prompts(image)).best()[0], embedding)

    def _prompts(self, image: Tensor) -> Prompts:
        count, side = len(image), image.shape[-1]
        if self.prompter is None:
            middle = torch.full((count, 1, 2), (side - 1) / 2, device=image.device)
            return Prompts(middle, torch.ones(count, 1, dtype=torch.int, device=image.device))
        small = (self.prompter.preprocessing.size,) * 2
        logits = self.prompter.answer(F.interpolate(image, small, mode="bilinear", antialias=True)).logits
        return Prompts.of_boxes(boxes_around(logits, side))


def open_sam(weights: Path | None, device: str) -> SamPromptable:
    """SAM, to be prompted, from a folder in the format of transformers (config.json, model.safetensors) or that file.

    Nothing is downloaded. Raises CutisError that says where to get weights that are not there.
    """
    from transformers import SamModel

    folder = open_pretrained(weights, "SAM", SOURCES, "sam")
    return SamPromptable(f"SAM {folder.name}", folder.load(SamModel).to(device))


def load_sam(weights: Path | None, prompter: Teacher | None, device: str) -> SamTeacher:
    """The same as a teacher."""
    sam = open_sam(weights, device)
    return SamTeacher(sam.name, sam.model, prompter)
