"""Images that no network of the experiment was trained on: ISIC 2019 without SCC and without HAM10000 and SymDerm v2.

SE-LCN, Sec. 5.2, experiment 5. The paper leaves out SCC only; ISIC 2019 holds HAM10000, so its lesions (by image id and
by lesion id) are left out too, and those of SymDerm v2, whose images the symmetry networks know. The set has no masks:
the lesion is found by the segmenter that is handed in, once, and kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cutis.data.catalogue import open_dataset, recognise
from cutis.data.labels import LESION_CLASSES
from cutis.data.samples import Sample
from cutis.files import atomic_write

__all__ = ["external_samples", "unseen"]

KNOWN = ("ham10000", "symderm_v2")
"""The data sets that the experiment trains on."""
_LOST = "no-lesion-found.txt"


def unseen(data: Path, name: str) -> tuple[Sample, ...]:
    """The samples of data set `name` below `data` in one of the seven classes, of no lesion that is in `KNOWN`."""
    seen: set[str] = set()
    for known in (known for known in KNOWN if known in recognise(data)):
        dataset = open_dataset(data, known)
        seen.update(dataset.absent, *((sample.id, sample.group) for sample in dataset))
    return tuple(
        sample
        for sample in open_dataset(data, name)
        if sample.label in LESION_CLASSES and not {sample.id, sample.group} & seen
    )


def external_samples(
    data: Path,
    name: str,
    masks: Path,
    segment: Callable[..., NDArray[np.bool_]],
    say: Callable[[str], None],
) -> tuple[Sample, ...]:
    """`unseen` with masks that `segment` finds, kept in the folder `masks`; without those where it finds no lesion."""
    samples, lost = unseen(data, name), masks / _LOST
    if not lost.exists():
        empty = []
        for number, sample in enumerate(samples, 1):
            path = masks / f"{sample.id}.png"
            if not path.exists():
                found = segment(sample.image, None)
                if not found.any():
                    empty.append(sample.id)
                    continue
                atomic_write(path, cv2.imencode(".png", found.astype(np.uint8) * 255)[1].tobytes())
            if number % 1000 == 0:
                say(f"{name}: lesion found in {number - len(empty)} of {number} images")
        atomic_write(lost, "".join(f"{image}\n" for image in empty))
    gone = set(lost.read_text(encoding="utf-8").split())
    if gone:
        say(f"{name}: no lesion found in {len(gone)} of {len(samples)} images, which have no answer")
    return tuple(replace(s, mask=masks / f"{s.id}.png") for s in samples if s.id not in gone)
