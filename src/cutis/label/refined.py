"""A mask corrected by a promptable model, which is asked about what a network found in the same image.

Knowledge mining, Sec. 1 and 2.3 ("when higher accuracy is needed, SAM can be involved to take in summarized prompt"):
points and outer box of the prediction. Either an exported pair of files, as `cutis analyze --refine` takes it, or SAM,
MedSAM or a run of `cutis train prompting`, which need cutis[train].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cutis.analysis.pipeline import READ_SIDE, predict_mask
from cutis.analysis.prompted import Correction, PromptableModel
from cutis.imaging.frame import Frame
from cutis.imaging.preprocessing import Preprocessing
from cutis.imaging.read import read_image

if TYPE_CHECKING:
    from cutis.mining.settings import PromptSettings
    from cutis.teachers.promptable import Promptable

__all__ = ["PROMPTS", "Refine", "Refined", "by_file", "by_network"]

Refine = Callable[[Path, NDArray[np.float32], int], tuple[NDArray[np.bool_], float]]
"""(image file, (S, S) probability over its letterbox, number that breaks ties) -> the corrected mask at the image's own
size, and the promptable's estimate of its own IoU."""

PROMPTS = {"points": 5, "box": True, "mask": False, "objects": "one"}
"""What the paper asks with, and as many points as our configurations have."""


class Refined:
    """`found` (S, S) float32 is the network's probability over its letterbox of the image; `rng` breaks ties between
    points. `score`: the promptable's own estimate of its IoU, NaN before it was asked and where it was not.
    """

    threshold = 0.5

    def __init__(
        self, promptable: Promptable, found: NDArray[np.float32], settings: PromptSettings, rng: np.random.Generator,
        device: str,
    ) -> None:  # fmt: skip
        self.promptable, self.preprocessing = promptable, promptable.preprocessing
        self.settings, self.rng, self.device = settings, rng, device
        self.found, self.score = found, math.nan

    def probability(self, square: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(S', S', 3) uint8 RGB, preprocessed as the promptable wants it -> (1, S', S') float32."""
        import torch

        from cutis.mining.pseudo_labels import mined, resized

        image = torch.from_numpy(np.ascontiguousarray(square)).to(self.device).permute(2, 0, 1)[None].float() / 255
        logits = torch.from_numpy(np.ascontiguousarray(self.found)).to(self.device)[None, None].float().logit(eps=1e-6)
        said = mined(self.promptable, self.promptable.embed(image), logits, self.settings, [self.rng])
        self.score = float(said.score[0])
        return resized(said.logits, self.preprocessing.size).sigmoid()[0].cpu().numpy()


def by_network(promptable: Promptable, settings: PromptSettings, seed: int, device: str) -> Refine:
    """Ask a promptable in torch."""

    def refine(image: Path, found: NDArray[np.float32], tie: int) -> tuple[NDArray[np.bool_], float]:
        asked = Refined(promptable, found, settings, np.random.default_rng((seed, tie)), device)
        return predict_mask(image, asked, least_confidence=0), asked.score  # type: ignore[arg-type]

    return refine


def by_file(model: PromptableModel, preprocessing: Preprocessing) -> Refine:
    """Ask an exported promptable, whose own choice of points knows no ties; `preprocessing` is the network's."""

    def refine(image: Path, found: NDArray[np.float32], tie: int) -> tuple[NDArray[np.bool_], float]:
        picture = read_image(image, min_side=READ_SIDE)
        height, width = picture.pixels.shape[:2]
        frame, size = Frame.fit(width, height, found.shape[0]), (picture.width, picture.height)
        answer, told = Correction(model, refine=True).apply(picture.pixels, frame, found, size, 0.5)
        said = _Said(preprocessing, answer)
        return predict_mask(image, said, least_confidence=0), told.score if told else math.nan  # type: ignore[arg-type]

    return refine


@dataclass(frozen=True)
class _Said:
    """In a segmenter's place, for one image: a probability that is known already."""

    preprocessing: Preprocessing
    found: NDArray[np.float32]
    threshold: float = 0.5

    def probability(self, square: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.found[None]
