"""What mining could add and what it did, on the unlabelled images.

    python benchmarks/mining_pool.py --results RUNS --data DIR

For each group of a knowledge-mining experiment (data set, share of labels, seed) the mean Dice, on the images whose
labels were hidden from it, of the network after its first phase, of the pseudo-labels made from its answers (one-time),
and of every row's finished network. The way from `supervised` to the pseudo-labels is what a network could gain that
learned them by heart; nothing here was trained or chosen by these labels. Each row is compared with `supervised` image
by image; over seeds, an image counts once, with its mean difference. Masks are compared at the run's side without the
letterbox and without clean-up. About a minute a finished run on one core.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cutis.data.cache import SegmentationCache, open_cache
from cutis.evaluation.statistics import paired
from cutis.evaluation.tables import markdown_table, write_json
from cutis.experiments.mining_grid import finished, read_mining_grid
from cutis.experiments.mining_plan import MiningJob, jobs_of
from cutis.imaging.preprocessing import Preprocessing
from cutis.mining.one_time import plain_logits
from cutis.mining.pseudo_labels import agreement, resized
from cutis.recipes.knowledge_mining_config import KnowledgeMiningConfig
from cutis.recipes.mining_division import divide
from cutis.recipes.run import load_run

BATCH = 32


def dice_of(
    network: nn.Module, preprocessing: Preprocessing, images: SegmentationCache, places: list[int]
) -> dict[str, float]:
    """Image id -> Dice of the network's mask with the truth."""
    side, found = images.images.shape[1], {}
    for start in range(0, len(places), BATCH):
        some = places[start : start + BATCH]
        masks = resized(plain_logits(network, preprocessing, images, some, "cpu"), side) > 0
        for mask, where in zip(masks[:, 0].numpy(), some, strict=True):
            frame = images.frames[where]
            both = (frame.crop(mask), frame.crop(np.asarray(images.masks[where])) > 0)
            found[images.samples[where].id] = float(agreement(*(torch.from_numpy(m)[None, None] for m in both)))
    return found


def labels_of(folder: Path) -> dict[str, dict[str, float]]:
    """Of a one-time run: image id -> Dice of the pseudo-label (0 where there is none) and of the first phase."""
    with (folder / "pseudo_labels" / "labels.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = {"pseudo-labels": "dice", "first phase": "student_dice"}
    return {name: {row["id"]: _number(row[column]) for row in rows} for name, column in names.items()}


def measure_group(jobs: list[MiningJob], results: Path, data: Path, cache: Path) -> dict[str, dict[str, float]]:
    """Row -> image id -> Dice, of the finished jobs of one data set, share and seed."""
    found: dict[str, dict[str, float]] = {}
    images: SegmentationCache | None = None
    for job in jobs:
        run = load_run(job.folder(results))
        assert isinstance(run.config, KnowledgeMiningConfig)
        if images is None:
            division = divide(run.config, data, lambda text: None)
            images = open_cache(division.parts["train"], run.preprocessing.size, cache, masks=False)
            places = [place for place in division.unlabelled if images.samples[place].mask is not None]
        found[job.row] = dice_of(run.network, run.preprocessing, images, places)
        if job.row == "one-time":
            found |= labels_of(job.folder(results))
    return found


def compared(groups: Iterable[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Row -> its difference from `supervised` over images, interval and p-value, and in how many groups it was."""
    differences: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    seeds: dict[str, int] = defaultdict(int)
    for rows in groups:
        for row, values in rows.items():
            if row not in ("supervised", "first phase") and "supervised" in rows:
                seeds[row] += 1
                for image, value in values.items():
                    differences[row][image].append(value - rows["supervised"][image])
    out = {}
    for row, of_images in differences.items():
        means = [float(np.mean(of_seeds)) for of_seeds in of_images.values()]
        test = paired(means, np.zeros(len(means)), list(of_images), confidence=0.95, resamples=2000, seed=0)
        low, high = test.difference.low, test.difference.high
        mean = test.difference.mean
        out[row] = {"seeds": seeds[row], "images": test.n, "mean": mean, "low": low, "high": high, "p": test.t_p}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, required=True, help="folder of 'cutis experiment knowledge-mining'")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--dataset", action="append", help="one of the experiment's, again for another; all unless given"
    )
    parser.add_argument("--cache", type=Path, default=Path(".cache/cutis"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/mining-pool.json"))
    options = parser.parse_args()
    grid = read_mining_grid(options.results)
    groups: dict[tuple[str, float, int], list[MiningJob]] = defaultdict(list)
    for job in jobs_of(grid):
        if finished(job, options.results) and job.dataset in (options.dataset or [job.dataset]):
            groups[job.dataset, job.share, job.seed].append(job)
    found: dict[tuple[str, float], dict[int, dict[str, dict[str, float]]]] = defaultdict(dict)
    facts: list[dict[str, Any]] = []
    for (dataset, share, seed), jobs in sorted(groups.items()):
        rows = measure_group(jobs, options.results, options.data, options.cache)
        found[dataset, share][seed] = rows
        means = {row: float(np.mean(list(values.values()))) for row, values in rows.items()}
        facts.append({"dataset": dataset, "labelled": share, "seed": seed, "dice": means})
        print(
            dataset, f"{share:g}%", f"seed {seed}", {row: round(value, 4) for row, value in means.items()}, flush=True
        )
    tests: list[dict[str, Any]] = [
        {"dataset": dataset, "labelled": share, "row": row} | values
        for (dataset, share), seeds in found.items()
        for row, values in compared(seeds.values()).items()
    ]
    header = ["data set", "% labelled", "row", "seeds", "images", "Dice more than supervised", "p"]
    shown = [
        [test["dataset"], f"{test['labelled']:g}", test["row"], str(test["seeds"]), str(test["images"]),
         f"{test['mean']:+.4f} [{test['low']:+.4f}, {test['high']:+.4f}]", f"{test['p']:.2g}"]
        for test in tests
    ]  # fmt: skip
    print(markdown_table(header, shown))
    command = f"python benchmarks/mining_pool.py --results {options.results} --data .data"
    write_json(options.output, {"command": command, "groups": facts, "differences": tests})


def _number(text: str) -> float:
    return 0.0 if math.isnan(value := float(text)) else value


if __name__ == "__main__":
    main()
