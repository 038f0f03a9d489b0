"""What stands beside SLSNet's tables besides means of runs: which pairs tell what a part adds, costs, and how the
discriminators did.

SLSNet, tables 3, 4, 6, 7 and 8. Parameters and multiply-adds are counted on the network itself, those of attention
products apart.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cutis.experiments.slsnet_plan import SLSNetGrid, SLSNetJob, job_config, variant_of

__all__ = ["PAIRS", "Balance", "balance_of", "costs_of"]

PAIRS = (
    ("position", "baseline"), ("channel", "baseline"), ("both", "baseline"), ("full", "both"), ("full", "baseline"),
    ("full", "alone"), ("full", "larger-l1"), ("full", "bce"), ("full", "bce-l1"), ("full", "bce-jaccard"),
)  # fmt: skip
"""What is compared: each part with what it is added to, the adversary with none, the losses with less."""


class Balance(NamedTuple):
    """Over the last third of what was logged: the share of patches that the discriminator got right, and its loss."""

    real: float
    generated: float
    loss: float


def costs_of(config: SLSNetGrid, variant: str) -> Mapping[str, float]:
    """Of the network of a variant: `parameters` in millions, `macs` of its convolutions and `attention_macs` in G."""
    from cutis.models.budget import budget
    from cutis.recipes.folder import build

    settings = job_config(config, SLSNetJob(variant_of(config, variant), 0))
    found = budget(build(settings.network, 0), settings.preprocessing.size)
    return {
        "parameters": found.parameters / 1e6,
        "macs": found.convolutions / 1e9,
        "attention_macs": found.attention / 1e9,
    }


def balance_of(run: Path) -> Balance | None:
    """What the log of a run says of its discriminator; None where it has none."""
    seen = []
    for path in sorted((run / "logs").glob("start_*/metrics.csv"), key=lambda path: int(path.parent.name[6:])):
        with path.open(encoding="utf-8", newline="") as stream:
            for line in csv.DictReader(stream):
                names = ("train/real_accuracy", "train/generated_accuracy", "train/discriminator_loss")
                if all(line.get(name) for name in names):
                    seen.append([float(line[name]) for name in names])
    if not seen:
        return None
    return Balance(*np.mean(seen[-(-2 * len(seen) // 3) :] or seen, axis=0).tolist())
