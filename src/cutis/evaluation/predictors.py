"""Where predicted masks come from: a folder of PNG files from anyone, or a network in torch.

A bundled or exported model is not here: it answers through `analysis/pipeline.py`, which the command line hands in.
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

__all__ = ["from_masks", "from_network"]

ENDINGS = ("_segmentation_prediction", "_segmentation", "_prediction", "_lesion", "_mask")
"""What people add to an image's name when they name its mask."""


def from_masks(folder: Path) -> Predictor:
    """PNG masks of the images' size, found by name: `<id>.png`, with or without one of `ENDINGS`, at any depth.

    So the `masks` folder of `cutis analyze` fits, and a submission to an ISIC challenge does. A name that fits two
    files is refused when it is asked for.
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
        names = (sample.id, sample.image.stem)
        candidates = next((found[name] for name in names if name in found), [])
        if len(candidates) > 1:
            raise CutisError(f"two predicted masks fit it, {candidates[0].name} and {candidates[1]}: keep one")
        if not candidates:
            raise CutisError(f"there is no predicted mask {sample.id}.png in {folder}")
        return read_mask(candidates[0])

    return predict


def from_network(network: torch.nn.Module, preprocessing: Preprocessing, *, threshold: float, device: str) -> Predictor:
    """A torch network, normalised (1, 3, S, S) -> logits (1, 1, S, S), with the preprocessing it was trained with.

    The way back to the image is the pipeline's: the probability is restored at the image's size, cut at `threshold` and
    cleaned to one lesion.
    """
    import torch

    from cutis.imaging.postprocess import clean_mask
    from cutis.imaging.read import read_image

    network = network.to(device).eval()
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (preprocessing.mean, preprocessing.std))

    def predict(sample: Sample) -> NDArray[np.bool_]:
        square, frame = preprocessing.apply(read_image(sample.image).pixels)
        pixels = torch.from_numpy(np.ascontiguousarray(square)).to(device).permute(2, 0, 1)[None]
        with torch.inference_mode():
            probability = network((pixels.float() / 255 - mean) / std).sigmoid()[0, 0]
        return clean_mask(frame.restore(probability.float().cpu().numpy()) >= threshold)

    return predict


def _without_ending(name: str) -> str:
    lower = name.lower()
    return next((name[: -len(ending)] for ending in ENDINGS if lower.endswith(ending)), name)
