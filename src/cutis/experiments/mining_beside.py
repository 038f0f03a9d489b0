"""What stands beside knowledge mining's tables: how good pseudo-labels were, and which pairs of runs tell what.

Knowledge mining, Tables 1-3. The quality is against the hidden truth of the very images that were learned from, as the
runs logged it at every epoch: what the paper does not print, and what says why a row wins or loses.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cutis.experiments.mining_plan import MiningGrid, MiningJob, jobs_of

__all__ = ["Quality", "pairs_of", "quality_of", "quality_over_seeds"]


class Quality(NamedTuple):
    """Of an epoch's pseudo-labels: their mean Dice with the hidden truth, that of the small network's masks of the same
    images, and the share of unlabelled images that were learned from."""

    pseudo: float
    student: float
    used: float


def quality_of(run: Path) -> list[Quality]:
    """One an epoch, in order, over all starts of a run; none where nothing was mined or no truth was known.

    An epoch that was cut off and made again counts once, as it was made last.
    """
    epochs: dict[int, Quality] = {}
    for path in sorted((run / "logs").glob("start_*/metrics.csv"), key=lambda path: int(path.parent.name[6:])):
        with path.open(encoding="utf-8", newline="") as stream:
            for line in csv.DictReader(stream):
                found = [line.get(f"validation/mined/{name}") for name in ("pseudo_dice", "student_dice", "used")]
                if all(found):
                    epochs[int(line["epoch"])] = Quality(*(float(value or "nan") for value in found))
    return [epochs[epoch] for epoch in sorted(epochs)]


def quality_over_seeds(results: Path, jobs: Sequence[MiningJob]) -> tuple[Quality, Quality] | None:
    """The first and the last epoch's, each the mean over the runs of these jobs that have any."""
    known = [found for job in jobs if (found := quality_of(job.folder(results)))]
    if not known:
        return None
    first, last = (Quality(*np.mean([epochs[at] for epochs in known], axis=0).tolist()) for at in (0, -1))
    return first, last


def pairs_of(config: MiningGrid) -> list[tuple[MiningJob, MiningJob]]:
    """Pairs of the first seed's jobs: each row with the supervised one of the same start and labels, continuous with
    one-time, a start, a teacher, other prompts or a change of ours with none, and each row with the supervised one of
    all labels."""
    jobs = [job for job in jobs_of(config) if job.seed == config.seeds[0]]
    known, found = set(jobs), []
    for job in jobs:
        start, teacher, schedule, prompts, own = job.words
        others = []
        if schedule != "supervised":
            others.append(job._replace(row=f"{start} supervised".strip()))
        if schedule == "continuous":
            others.append(job._replace(row=job.row.replace("continuous", "one-time")))
        if start or teacher or prompts or own:
            others.append(job._replace(row=schedule))
        if job.share < 100:
            others.append(job._replace(row="supervised", share=100.0))
        found += [(job, other) for other in dict.fromkeys(others) if other in known and other != job]
    return found
