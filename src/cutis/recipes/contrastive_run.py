"""A SimCLR run, from its configuration to its run folder: `--start` of it gives any recipe the trained encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cutis.data.batches import SegmentationSet
from cutis.data.pair_batches import PairSet
from cutis.recipes.contrastive import Contrastive
from cutis.recipes.contrastive_config import ContrastiveConfig
from cutis.recipes.mining_division import training_part
from cutis.recipes.run import Run, carry_out, prepare, training_batches

__all__ = ["train_contrastive"]


def train_contrastive(
    config: ContrastiveConfig,
    data: Path,
    folder: Path,
    *,
    cache: Path,
    resume: bool,
    start: Path | None = None,
    accelerator: str = "auto",
    say: Callable[[str], None] = print,
    after_epoch: Callable[[int, float], None] | None = None,
) -> Run:
    """Train the encoder on all training images of the data sets below `data`, on one device, and look at no label.

    What is best is told by NT-Xent on fixed views of the validation images.
    """
    parts = training_part(config, config.unlabelled, data, say)
    ready = prepare(config, data, folder, cache=cache, resume=resume, start=start, say=say, parts=parts)
    training, validation = (
        PairSet(SegmentationSet(images, config.preprocessing, config.augmentation))
        for images in (ready.training, ready.validation)
    )
    return carry_out(
        Contrastive(ready.network, config), training_batches(config, ready.training, training), ready, config, data,
        folder, resume=resume, devices=1, nodes=1, accelerator=accelerator, after_epoch=after_epoch,
        monitor="nt_xent_loss", checks=validation, then=f"cutis train supervised or knowledge-mining --start {folder}",
    )  # fmt: skip
