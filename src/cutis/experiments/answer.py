"""A trained classifier on the images of one part: its answers, and how its maps lie on the lesion.

The images go through the same cache, masking and colour steps as in training (`data/class_batches.py`), the maps of
the symmetry network through the same store (`recipes/symmetry_maps.py`). Localisation (SE-LCN, Sec. 5.3.2) is measured
in the network's own frame: the map enlarged to the letterboxed square, the padding cut off, the mask likewise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cutis.data.batches import EachOnce, loader
from cutis.data.cache import SegmentationCache, open_cache, recoloured
from cutis.data.class_batches import ClassificationSet, Entries
from cutis.data.labels import label_indices
from cutis.data.samples import Sample
from cutis.experiments.answers import Answers, Pointing
from cutis.imaging.cells import Cells, spread
from cutis.metrics.calibration import softmax
from cutis.metrics.localization import centred_gaussian, localize
from cutis.recipes.classification import ClassifierRun
from cutis.recipes.symmetry_maps import symmetry_maps

__all__ = ["Answered", "answer", "answers_of", "pointing", "visible"]

BATCH = 64


class Answered(NamedTuple):
    """Of the M images of `cache` at the places `where` (M,): probabilities (M, K) and Grad-CAM++ maps (M, h, w), whose
    cells look where `cells` says."""

    probabilities: NDArray[np.float64]
    maps: NDArray[np.float32]
    cache: SegmentationCache
    where: NDArray[np.int64]
    cells: Cells

    @property
    def names(self) -> tuple[tuple[str, str, str], ...]:
        """Data set, id and lesion of each image."""
        samples = (self.cache.samples[place] for place in self.where)
        return tuple((sample.dataset, sample.id, sample.group) for sample in samples)


def answer(
    run: ClassifierRun, samples: Sequence[Sample], cache: Path, symmetry: ClassifierRun | None, *, masks: bool
) -> Answered:
    """`run` on `samples`; `symmetry` gives the maps of a network that takes them.

    `masks`: the samples have masks, which are decoded too. Where the network sees the masked part only, images whose
    mask is empty at its size have no answer and are left out.
    """
    steps = run.preprocessing
    squares = recoloured(open_cache(samples, steps.size, cache, masks=masks), steps)
    where = visible(squares, run.masking)
    taken = symmetry_maps(samples, symmetry, cache, device=_device()) if symmetry else None
    entries, unknown = Entries(where, np.zeros(len(where), np.int64)), np.zeros(len(squares), np.int64)
    pictures = ClassificationSet(squares, unknown, steps, run.masking, entries=entries, augmentation=None, maps=taken)
    logits, maps = (np.concatenate(parts) for parts in zip(*_explained(run, pictures), strict=True))
    return Answered(softmax(logits, 1.0), maps, squares, where, run.network.cells)


def answers_of(run: ClassifierRun, answered: Answered) -> Answers:
    """What was answered, with the truth that the samples know."""
    labels = label_indices(answered.cache.samples, run.config.task, run.classes)
    return Answers(run.classes, answered.names, labels[answered.where], answered.probabilities)


def visible(cache: SegmentationCache, masking: str) -> NDArray[np.int64]:
    """(M,) places of the images of which `masking` leaves something to see."""
    if masking == "none":
        return np.arange(len(cache))
    return np.flatnonzero([mask.any() for mask in cache.masks])


def pointing(answered: Answered, sigma: float) -> list[Pointing]:
    """How each map, and a centred Gaussian of standard deviation `sigma` in its place, lie on the true mask."""
    rows = []
    for name, found, place in zip(answered.names, answered.maps, answered.where, strict=True):
        frame = answered.cache.frames[place]
        mask = np.asarray(frame.crop(np.asarray(answered.cache.masks[place]))) > 0
        own = np.clip(np.asarray(frame.crop(spread(found, frame.size, answered.cells)), np.float32), 0, 1)
        rows.append(Pointing(name, localize(own, mask), localize(centred_gaussian(*mask.shape, sigma=sigma), mask)))
    return rows


def _explained(run: ClassifierRun, pictures: ClassificationSet) -> Iterator[tuple[NDArray, NDArray]]:
    """Logits (B, K) and maps (B, h, w) of each batch, in order."""
    device = _device()
    network = run.network.to(device).eval()
    with torch.inference_mode():
        for batch in loader(pictures, EachOnce(len(pictures), run.preprocessing.size, BATCH), 0):
            maps = () if batch.activation is None else (batch.activation.to(device),)
            found = network.explain(batch.image.to(device), *maps)
            yield found.logits.float().cpu().numpy(), found.activation[:, 0].float().cpu().numpy()


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
