"""The frozen symmetry network's Grad-CAM++ maps of many images, made once and kept: what the E-Layer is trained with.

SE-LCN, Sec. 4.1.3. A map is made of the image as it is; augmentation moves it together with its image afterwards
(data/class_batches.py). Kept under a key of all that decides it: the images' and masks' bytes, their size, masking,
colour steps and the network's checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from cutis.data.cache import content_key
from cutis.data.samples import Sample
from cutis.files import atomic_path
from cutis.imaging.lesion_area import prepare_classifier_image
from cutis.imaging.read import read_image, read_mask
from cutis.recipes.folder import best_checkpoint, digest

if TYPE_CHECKING:
    from cutis.recipes.classification import ClassifierRun

__all__ = ["maps_key", "symmetry_maps"]

_BATCH = 32


def maps_key(samples: Sequence[Sample], run: ClassifierRun) -> str:
    """Of all that decides the maps of `samples` by `run`."""
    parts = (
        content_key(samples, run.preprocessing.size),
        run.preprocessing.model_dump_json(),
        run.masking,
        digest(best_checkpoint(run.folder)),
    )
    return hashlib.blake2b(":".join(parts).encode(), digest_size=20).hexdigest()


def symmetry_maps(
    samples: Sequence[Sample],
    run: ClassifierRun,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """(N, h, w) float32 in [0, 1]: the map of each sample, from `folder` if it is there, else made and kept there.

    An image whose mask is empty, where the network is shown the masked part only, has an all-zero map.
    """
    home = folder / f"maps-{maps_key(samples, run)[:16]}.npy"
    if not home.exists():
        maps = np.concatenate(list(_made(samples, run, progress, device)))
        with atomic_path(home) as temporary:
            np.save(temporary, maps)
    return np.load(home, mmap_mode="r")


def _made(
    samples: Sequence[Sample], run: ClassifierRun, progress: Callable[[int, int], None], device: str
) -> Iterator[NDArray[np.float32]]:
    steps = run.preprocessing
    mean, std = (torch.tensor(values, dtype=torch.float32, device=device) for values in (steps.mean, steps.std))
    network = run.network.to(device)
    black = np.zeros((run.preprocessing.size, run.preprocessing.size, 3), np.uint8)
    with ThreadPoolExecutor() as pool, torch.inference_mode():
        for start in range(0, len(samples), _BATCH):
            squares = list(pool.map(lambda sample: _square(sample, run), samples[start : start + _BATCH]))
            seen = np.stack([black if square is None else square for square in squares])
            pixels = torch.from_numpy(seen).to(device).float().div_(255).sub_(mean).div_(std).permute(0, 3, 1, 2)
            maps = network.explain(pixels).activation[:, 0].float().cpu().numpy()
            maps[[square is None for square in squares]] = 0
            progress(min(start + _BATCH, len(samples)), len(samples))
            yield maps


def _square(sample: Sample, run: ClassifierRun) -> NDArray[np.uint8] | None:
    mask = read_mask(sample.mask) if sample.mask and run.masking != "none" else None
    if run.masking != "none" and (mask is None or not mask.any()):
        return None
    return prepare_classifier_image(read_image(sample.image).pixels, mask, run.preprocessing, run.masking)
