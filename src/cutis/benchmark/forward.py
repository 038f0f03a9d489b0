"""One forward pass of a segmenter as a program to time, and titles that tell several segmenters apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cutis.analysis.runtime import Segmenter

__all__ = ["forward", "titled"]


def forward(segmenter: Segmenter) -> Callable[[], object]:
    """One forward pass of a batch of one, on random pixels."""
    side = segmenter.preprocessing.size
    image = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    return lambda: segmenter.probability(image)


def titled(segmenters: Sequence[Segmenter]) -> dict[str, Segmenter]:
    """Each by name, version and precision; two that agree in these also by the beginning of their hash."""
    titles = [f"{s.info.name} {s.info.version} {s.info.precision}" for s in segmenters]
    return {
        title if titles.count(title) == 1 else f"{title} {segmenter.info.sha256[:8]}": segmenter
        for title, segmenter in zip(titles, segmenters, strict=True)
    }
