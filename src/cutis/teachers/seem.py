"""SEEM as a teacher: what it said in its own environment, written down by `tools/seem_answers.py`.

SparseSegNet, Sec. 3.3 and 4.3 (SEEM, the context-minded teacher). SEEM has no package: it needs its own repository,
compiled operators and old versions of what cutis uses too. So another program asks it, and leaves a folder of arrays;
any program may, of any teacher:

- `answers.json`: `{"format": 1, "teacher": "SEEM focal-L", "fingerprint": "...", "images": "..."}`. `fingerprint` is
  any text that changes with weights or prompts; `images` is the `key` in `index.json` of the decoded images shown.
- `logits.npy`: (N, 1, h, w) of "lesion", float16 or float32. `embedding.npy`: (N, K, h', w'), likewise. Both in the
  order of the decoded images (`images.npy` beside `index.json`: (N, S, S, 3) uint8 RGB), over the whole square.

`cutis teach seem` projects them to C channels and keeps them as it keeps any teacher's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from cutis.data.cache import SegmentationCache
from cutis.errors import CutisError
from cutis.imaging.preprocessing import Preprocessing
from cutis.teachers.base import Taught

__all__ = ["SeemAnswers"]


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    format: int
    teacher: str
    fingerprint: str
    images: str


class SeemAnswers:
    """The answers in `folder` to the images of `cache`, by position; refused by name where they do not fit."""

    def __init__(self, folder: Path | None, cache: SegmentationCache) -> None:
        tool = (
            f"run tools/seem_answers.py {cache.home} --output FOLDER in SEEM's own environment "
            "(github.com/UX-Decoder/Segment-Everything-Everywhere-All-At-Once), then --weights FOLDER"
        )
        if folder is None or not (folder / "answers.json").is_file():
            raise CutisError(f"{folder or 'SEEM'}: there are no answers of SEEM (answers.json): {tool}")
        try:
            facts = _Facts.model_validate_json((folder / "answers.json").read_text(encoding="utf-8"))
        except (OSError, ValidationError) as error:
            raise CutisError(
                f"{folder / 'answers.json'} is not as documented (see teachers/seem.py): {tool}"
            ) from error
        if facts.format != 1:
            raise CutisError(f"{folder} has format {facts.format}, 1 is known: {tool}")
        if facts.images != cache.key:
            raise CutisError(
                f"{folder} answers another image set ({facts.images[:12]}) than this ({cache.key[:12]}): {tool}"
            )
        self.name, self.fingerprint = facts.teacher, facts.fingerprint
        self.preprocessing = Preprocessing(size=cache.frames[0].size, mean=(0, 0, 0), std=(1, 1, 1))
        self._logits, self._embedding = _maps(folder, "logits", len(cache)), _maps(folder, "embedding", len(cache))

    def at(self, positions: Sequence[int]) -> Taught:
        parts = (torch.from_numpy(np.array(maps[list(positions)])) for maps in (self._logits, self._embedding))
        return Taught(*(part.float() for part in parts))


def _maps(folder: Path, name: str, count: int) -> NDArray:
    try:
        maps = np.load(folder / f"{name}.npy", mmap_mode="r")
    except (OSError, ValueError) as error:
        raise CutisError(f"{folder / f'{name}.npy'} cannot be read ({error}): write it again") from error
    channels = "1" if name == "logits" else "K"
    if maps.ndim != 4 or len(maps) != count or maps.dtype not in (np.float16, np.float32):
        raise CutisError(
            f"{folder / f'{name}.npy'} is {maps.shape} of {maps.dtype}: ({count}, {channels}, h, w) of float16 or "
            "float32 is expected"
        )
    return maps
