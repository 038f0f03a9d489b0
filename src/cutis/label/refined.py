"""A promptable model in a segmenter's place: asked about what a network found in the same image.

Knowledge mining, Sec. 1 and 2.3 ("when higher accuracy is needed, SAM can be involved to take in summarized prompt"):
points and outer box of the prediction. Needs cutis[train].
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cutis.mining.settings import PromptSettings
    from cutis.teachers.promptable import Promptable

__all__ = ["PROMPTS", "Refined"]

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
