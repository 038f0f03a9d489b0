"""CLIPSeg as a teacher: segmentation by a text, through transformers; the open stand-in for SEEM.

SparseSegNet, Sec. 3.3 wants a teacher that is "semantically rich, guided by text". SEEM has no package and needs
compiled operators (teachers/seem.py takes what it said elsewhere); CLIPSeg (Lüddecke and Ecker, CVPR 2022) is asked in
words as well. It is not SEEM, and whatever is trained with it says so. Its embedding is what its decoder holds of each
patch after it has been told the text, before the last (transposed) convolution.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cutis.errors import CutisError
from cutis.imaging.preprocessing import Preprocessing
from cutis.teachers.base import Taught, fingerprint_of, frozen, normalised
from cutis.teachers.pretrained import open_pretrained

__all__ = ["ClipSegTeacher", "load_clipseg"]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = 352  # at which the published weights were trained
SOURCES = "CIDAS/clipseg-rd64-refined"


class ClipSegTeacher:
    """`model` is a transformers `CLIPSegForImageSegmentation`; `tokens` (1, n) is the `text` it is asked for."""

    def __init__(self, name: str, model: Any, text: str, tokens: Tensor, *, size: int) -> None:
        self.model, self.tokens = frozen(model), tokens
        self.name = f"{name}, asked for {text!r}"
        self.preprocessing = Preprocessing(size=size, mean=MEAN, std=STD)
        self.fingerprint = fingerprint_of(model, str(tokens.tolist()), str(size))

    @torch.no_grad()
    def answer(self, image: Tensor) -> Taught:
        seen: list[Tensor] = []
        last = self.model.decoder.transposed_convolution
        handle = last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
        try:
            tokens = self.tokens.to(image.device).expand(len(image), -1)
            logits = self.model(pixel_values=normalised(image, self.preprocessing), input_ids=tokens).logits
        finally:
            handle.remove()
        return Taught(logits.reshape(len(image), 1, *logits.shape[-2:]), seen[-1])


def load_clipseg(weights: Path | None, text: str | None, device: str) -> ClipSegTeacher:
    """CLIPSeg and its tokenizer from a folder in the format of transformers; nothing is downloaded."""
    from transformers import AutoTokenizer, CLIPSegForImageSegmentation

    if not text:
        raise CutisError("CLIPSeg is asked in words: say what for, e.g. --text 'a skin lesion'")
    folder = open_pretrained(weights, "CLIPSeg", SOURCES, "clipseg")
    there = {path.name for path in folder.path.iterdir()}
    if "tokenizer.json" not in there and not {"vocab.json", "merges.txt"} <= there:  # transformers would make up one
        raise CutisError(
            f"{folder.path} lacks CLIPSeg's tokenizer (tokenizer.json, or vocab.json and merges.txt): get all files of "
            f"{SOURCES} on huggingface.co"
        )
    tokenizer = AutoTokenizer.from_pretrained(folder.path, local_files_only=True)
    tokens = tokenizer(text, return_tensors="pt", truncation=True).input_ids
    model = folder.load(CLIPSegForImageSegmentation).to(device)
    return ClipSegTeacher(f"CLIPSeg {folder.name}", model, text, tokens, size=SIZE)
