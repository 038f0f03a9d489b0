"""What each part of SparseSegNet's composite loss adds to a training step, teachers cached.

    python benchmarks/distillation_step.py --config CONFIG --data DIR --first CACHE --second CACHE

CONFIG: of `cutis train distillation`, or of `cutis experiment sparsesegnet` (its base); the caches are those of its
training images ('cutis teach' makes them; an experiment keeps them in teachers/ablation). A step is everything: drawing
the batch (decoded images, augmentation, the teachers' maps moved along), forward, losses, backward, update. Variants
take turns. Target: AG-OP adds at most 10%. Writes results/distillation.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

from cutis.benchmark.latency import Protocol, interleave, ratio_to, spread
from cutis.benchmark.machine import watching
from cutis.benchmark.result import Result, Row, progress, publish
from cutis.data.batches import SegmentationSet
from cutis.data.cache import SegmentationCache, open_cache
from cutis.data.taught_batches import TaughtSet
from cutis.recipes.distillation import Distillation, embedding_of
from cutis.recipes.distillation_config import DistillationConfig
from cutis.recipes.folder import build
from cutis.recipes.run import parts_of, training_batches
from cutis.teachers.cache import TeacherCache, open_teacher_cache

PLAIN = "Dice and boundary"
VARIANTS: dict[str, tuple[str, ...]] = {
    PLAIN: (),
    "with EFFU": ("reinforce", "effu"),
    "with AG-OP": ("ag_op",),
    "with L_PADD": ("padd",),
    "all of Eq. 11": ("reinforce", "effu", "ag_op", "padd"),
}
"""Name -> the terms of the loss that it has beside Dice and boundary."""
TARGET = 1.10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--first", type=Path, required=True, help="cache of the first teacher")
    parser.add_argument("--second", type=Path, required=True, help="cache of the second teacher")
    parser.add_argument("--cache", type=Path, default=Path(".cache/cutis"))
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="of torch; batches are drawn by the same process"
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    values = yaml.safe_load(asked.config.read_text(encoding="utf-8"))
    config = DistillationConfig.model_validate(values.get("base", values) | {"workers": 0})
    images = open_cache(parts_of(config, asked.data)["train"], config.preprocessing.size, asked.cache)
    teachers = [open_teacher_cache(home, images) for home in (asked.first, asked.second)]
    steps = {name: step_of(config, terms, images, teachers) for name, terms in VARIANTS.items()}
    with watching() as watch, progress("training steps") as tell:
        times = interleave(steps, Protocol(warmup=1, rounds=asked.rounds, calls=2), tell=tell)
    rows = []
    for name, seconds in times.items():
        ratio, ms = ratio_to(times[PLAIN], seconds), spread(seconds * 1000)
        measured = {"ratio to plain": ratio.median, "ratio low": ratio.low, "ratio high": ratio.high, "ms": ms.median}
        rows.append(Row(name, measured, ("ratio to plain", "<=", TARGET) if name == "with AG-OP" else None))
    facts = {
        "config": asked.config.name, "side": config.preprocessing.size, "batch": config.batch_size,
        "share of the batch that L_PADD moves": config.perturbation.share, "torch threads": asked.threads,
        "teachers": [one.manifest.teacher for one in teachers],
    }  # fmt: skip
    command = f"python benchmarks/{Path(sys.argv[0]).name} " + " ".join(sys.argv[1:])
    protocol = {"rounds": asked.rounds, "calls": 2, "in turns": True}
    result = Result.of(
        "distillation", rows, watch, one_thread=asked.threads == 1, protocol=protocol, facts=facts, command=command
    )
    publish(result, asked.output)


def step_of(
    config: DistillationConfig, terms: tuple[str, ...], images: SegmentationCache, teachers: list[TeacherCache]
) -> Callable[[], None]:
    """One training step after another of the network with these terms; batches come as in training."""
    values: dict[str, Any] = json.loads(config.model_dump_json())
    values["loss"] |= {name: 0.0 for name in ("reinforce", "effu", "ag_op", "padd") if name not in terms}
    if "reinforce" not in terms:
        values["network"]["options"].pop("gates", None)
    own = DistillationConfig.model_validate(values)
    network = build(own.network, own.seed)
    pictures: Any = SegmentationSet(images, own.preprocessing, own.augmentation)
    if own.loss.ag_op:
        pictures = TaughtSet(pictures, *teachers, stride=embedding_of(network)[1])
    recipe = Distillation(network, own, channels=teachers[0].embedding.shape[1] if own.loss.ag_op else None)
    recipe.networks.train()
    batches = iter(training_batches(own, images, pictures))
    optimisers = recipe.optimisers(1000)

    def step() -> None:
        for name, loss, _ in recipe.losses(next(batches)):
            optimiser, _schedule = optimisers[name]
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()

    return step


if __name__ == "__main__":
    main()
