"""A segmenter's run on the test part of its own split: one row an image, beside the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cutis.evaluation.evaluate import evaluate
from cutis.evaluation.predictors import NetworkModel
from cutis.evaluation.tables import write_rows
from cutis.recipes.run import load_run, parts_of

__all__ = ["ROWS", "Place", "Segment", "evaluate_run"]

ROWS = Path("evaluation") / "rows.csv"
"""Where in a run folder the measures of its test images lie."""

Segment = Callable[..., NDArray[np.bool_]]
"""(image file, network or None for the bundled one) -> mask: the analysis pipeline's, handed in by the command line."""


@dataclass(frozen=True)
class Place:
    """Where everything of an experiment is; `segment` finds the lesion of an image file with a given network."""

    data: Path
    results: Path
    cache: Path
    segment: Segment
    accelerator: str
    say: Callable[[str], None]


def evaluate_run(folder: Path, data: Path, segment: Segment, say: Callable[[str], None]) -> None:
    """Measure the run in `folder` on its test images at their own resolution; what cannot be measured is said."""
    run = load_run(folder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = NetworkModel(run.network, run.preprocessing, threshold=run.threshold, device=device)
    result = evaluate(lambda sample: segment(sample.image, model), parts_of(run.config, data)["test"], workers=1)
    for failure in result.failures:
        say(f"not measured: {failure.dataset} {failure.id}: {failure.reason}")
    write_rows(folder / ROWS, result.rows)
