"""What continuous knowledge mining costs a training step, the promptable's embeddings cached.

    python benchmarks/mining_step.py --config CONFIG --data DIR --promptable CONFIG

CONFIG: of `cutis train knowledge-mining`, or of `cutis experiment knowledge-mining` (its base); the second one of
`cutis train prompting`. Both networks are as their seeds make them: weights decide no time, but an image in which
nothing is found costs less, so the share that was asked about is in the result. A step is everything: drawing the batch
(decoded images, augmentation, cached embeddings), forward, prompts, the promptable's decoder, losses, backward, update.
Both steps see as many images. Target: at most twice a supervised step. Writes results/mining.json.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from cutis.benchmark.latency import Protocol, interleave, ratio_to, spread
from cutis.benchmark.machine import watching
from cutis.benchmark.result import Result, Row, progress, publish
from cutis.data.batches import SegmentationSet, loader
from cutis.data.cache import SegmentationCache, open_cache
from cutis.data.mining_batches import MiningSet, Part, PartSampler
from cutis.recipes.config import load_config
from cutis.recipes.folder import build, thin
from cutis.recipes.knowledge_mining import KnowledgeMining
from cutis.recipes.knowledge_mining_config import KnowledgeMiningConfig
from cutis.recipes.prompting_config import PromptingConfig
from cutis.recipes.run import parts_of
from cutis.teachers.embeddings import open_embeddings
from cutis.teachers.promptable import Promptable, PromptedNetwork

SUPERVISED, CONTINUOUS = "supervised", "continuous mining"
TARGET = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--promptable", type=Path, required=True, help="configuration of the promptable's training")
    parser.add_argument("--cache", type=Path, default=Path(".cache/cutis"))
    parser.add_argument("--images", type=int, default=64, help="training images to draw from, half of them labelled")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="of torch; batches are drawn by the same process"
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    values = yaml.safe_load(asked.config.read_text(encoding="utf-8"))
    config = KnowledgeMiningConfig.model_validate(values.get("base", values) | {"workers": 0})
    images = open_cache(
        thin(parts_of(config, asked.data)["train"], asked.images), config.preprocessing.size, asked.cache
    )
    answering = load_config(asked.promptable, {}, PromptingConfig)
    untrained = build(answering.network, answering.seed)
    promptable = PromptedNetwork(f"{answering.name}, untrained", untrained, answering.preprocessing)
    recipes, steps = {}, {}
    for name in (SUPERVISED, CONTINUOUS):
        recipes[name], steps[name] = step_of(config, images, promptable, asked.cache, mines=name == CONTINUOUS)
    with watching() as watch, progress("training steps") as tell:
        times = interleave(steps, Protocol(warmup=1, rounds=asked.rounds, calls=2), tell=tell)
    rows = []
    for name, seconds in times.items():
        ratio, ms = ratio_to(times[SUPERVISED], seconds), spread(seconds * 1000)
        measured = {
            "ratio to supervised": ratio.median, "ratio low": ratio.low, "ratio high": ratio.high, "ms": ms.median,
        }  # fmt: skip
        rows.append(Row(name, measured, ("ratio to supervised", "<=", TARGET) if name == CONTINUOUS else None))
    told = recipes[CONTINUOUS].tally.close()
    facts = {
        "config": asked.config.name, "network": config.network.name, "side": config.preprocessing.size,
        "batch": config.batch_size, "unlabelled of it": unlabelled_of(config), "torch threads": asked.threads,
        "promptable": promptable.name, "promptable's side": promptable.preprocessing.size,
        "share of the unlabelled images asked about": round(1 - float(told["mined/empty"]), 3),
    }  # fmt: skip
    command = f"python benchmarks/{Path(sys.argv[0]).name} " + " ".join(sys.argv[1:])
    protocol = {"rounds": asked.rounds, "calls": 2, "in turns": True}
    result = Result.of(
        "mining", rows, watch, one_thread=asked.threads == 1, protocol=protocol, facts=facts, command=command
    )
    publish(result, asked.output)


def unlabelled_of(config: KnowledgeMiningConfig) -> int:
    """Of a batch, how many images have no label; half where the configuration leaves it to their share."""
    assert config.mining is not None
    return config.mining.unlabelled_batch or config.batch_size // 2


def step_of(
    config: KnowledgeMiningConfig, images: SegmentationCache, promptable: Promptable, cache: Path, *, mines: bool
) -> tuple[KnowledgeMining, Callable[[], None]]:
    """The recipe, and one training step after another of it; batches come as in training."""
    assert config.mining is not None
    known = np.arange(len(images)) < len(images) // 2
    few = unlabelled_of(config) if mines else 0
    parts = [Part(np.flatnonzero(known), np.ones(known.sum()), config.batch_size - few)]
    pictures: Any = SegmentationSet(images, config.preprocessing, config.augmentation)
    if mines:
        parts.append(Part(np.flatnonzero(~known), np.ones((~known).sum()), few))
        seen = open_embeddings(promptable, images, cache, batch=8, device="cpu")
        pictures = MiningSet(pictures, known, embeddings=seen)
    recipe = KnowledgeMining(
        build(config.network, config.seed), config, learning_rate=config.mining.learning_rate,
        promptable=promptable if mines else None, frames=images.frames,
    )  # fmt: skip
    recipe.networks.train()
    sampler = PartSampler(parts, steps=10_000, seed=config.seed, size=config.preprocessing.size)
    batches = iter(loader(pictures, sampler, 0))
    optimisers = recipe.optimisers(10_000)

    def step() -> None:
        for name, loss, _ in recipe.losses(next(batches)):
            optimiser, _schedule = optimisers[name]
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()

    return recipe, step


if __name__ == "__main__":
    main()
