"""Where predicted masks come from: a folder of PNG files from anyone, or a network in torch.

There is one way from an image to a mask, `analysis/pipeline.py`, which the command line hands in: exported models go
through it, and a torch network does too, as a `NetworkModel`. So a run and its export differ by the network's numbers
only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cutis.data.samples import Sample
from cutis.errors import CutisError
from cutis.evaluation.evaluate import Predictor
from cutis.imaging.read import read_mask

if TYPE_CHECKING:
    import torch

    from cutis.imaging.preprocessing import Preprocessing

__all__ = ["NetworkModel", "from_masks"]

ENDINGS = ("_segmentation_prediction", "_segmentation", "_prediction", "_lesion", "_mask")
"""What people add to an image's name when they name its mask."""


def from_masks(folder: Path) -> Predictor:
    """PNG masks of the images' size, found by name: `<id>.png`, with or without one of `ENDINGS`, at any depth.

    So the `masks` folder of `cutis analyze` fits, and a submission to an ISIC challenge does. Of several files of one
    name that one counts whose folders are the image's own or the data set's name; if that tells nothing, it is refused.
    """
    if not folder.is_dir():
        raise CutisError(f"{folder} is not a folder: give the folder that holds the predicted masks")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() == ".png" and not path.name.startswith("."):
            relative = path.relative_to(folder).with_suffix("").as_posix()
            for name in {relative, path.stem, _without_ending(relative), _without_ending(path.stem)}:
                found.setdefault(name, []).append(path)
    if not found:
        raise CutisError(f"{folder} holds no PNG file: give the folder that holds the predicted masks")

    def predict(sample: Sample) -> NDArray[np.bool_]:
        candidates = next((found[name] for name in (sample.id, sample.image.stem) if name in found), [])
        if len(candidates) > 1:  # one name in several data sets: the folders around the mask tell
            around = {*sample.image.parts, *sample.id.split("/"), sample.dataset}
            candidates = [path for path in candidates if around.issuperset(path.relative_to(folder).parent.parts)]
            if len(candidates) != 1:
                raise CutisError(
                    f"several predicted masks are called {sample.id}: keep one, or one a data set's folder"
                )
        if not candidates:
            raise CutisError(f"there is no predicted mask {sample.id}.png in {folder}")
        return read_mask(candidates[0])

    return predict


class NetworkModel:
    """A torch network, normalised (N, 3, S, S) -> logits (N, 1, S, S), in the place of an exported model.

    It has what the pipeline asks of one: `preprocessing`, `threshold` and `probability`.

    >>> import torch
    >>> from cutis.imaging.preprocessing import Preprocessing
    >>> steps = Preprocessing(size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    >>> model = NetworkModel(torch.nn.Conv2d(3, 1, 1), steps, threshold=0.5, device="cpu")
    >>> model.probability(np.zeros((32, 32, 3), np.uint8)).shape
    (1, 32, 32)
    """

    def __init__(
        self, network: torch.nn.Module, preprocessing: Preprocessing, *, threshold: float, device: str
    ) -> None:
        import torch

        self.preprocessing, self.threshold, self._device = preprocessing, threshold, device
        self._network = network.to(device).eval()
        self._mean, self._std = (
            torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (preprocessing.mean, preprocessing.std)
        )

    def probability(self, square: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(S, S, 3) or (N, S, S, 3) uint8 RGB, preprocessed -> (N, S, S) float32, the probability of 'lesion'."""
        import torch

        batch = square[None] if square.ndim == 3 else square
        pixels = torch.from_numpy(np.ascontiguousarray(batch)).to(self._device).permute(0, 3, 1, 2)
        with torch.inference_mode():
            probability = self._network((pixels.float() / 255 - self._mean) / self._std).float().sigmoid()
        return probability[:, 0].cpu().numpy()


def _without_ending(name: str) -> str:
    lower = name.lower()
    return next((name[: -len(ending)] for ending in ENDINGS if lower.endswith(ending)), name)
