"""A run of SLSNet's recipe, from its configuration to its run folder (Sec. 3.4 and 4.3)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cutis.data.batches import SegmentationSet
from cutis.data.eightfold import eightfold
from cutis.recipes.adversarial import Adversarial
from cutis.recipes.adversarial_config import AdversarialConfig
from cutis.recipes.folder import build, decoding
from cutis.recipes.recipe import Diverged
from cutis.recipes.run import Run, carry_out, prepare, training_batches

__all__ = ["train_adversarial"]


def train_adversarial(
    config: AdversarialConfig,
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
    """Train as `config` says on the data sets below `data`, on one device; everything that comes of it is in `folder`.

    `start`: a run folder whose best weights the generator begins with. Diverged, with what was seen and where the last
    good checkpoint is, where a loss is not a number or the discriminator collapsed.
    """
    ready = prepare(config, data, folder, cache=cache, resume=resume, start=start, say=say)
    training, how = ready.training, config.augmentation
    if how and how.when == "offline":
        training, how = eightfold(training, decoding("images", ready.say, "making eight versions of")), None
    discriminator = build(config.discriminator, config.seed + 1) if config.loss.adversarial else None
    if discriminator:
        ready.facts["discriminator_parameters"] = sum(p.numel() for p in discriminator.parameters())
    batches = training_batches(config, training, SegmentationSet(training, config.preprocessing, how))
    try:
        return carry_out(
            Adversarial(ready.network, discriminator, config), batches, ready, config, data, folder, resume=resume,
            devices=1, nodes=1, accelerator=accelerator, after_epoch=after_epoch,
        )  # fmt: skip
    except Diverged as error:
        last = folder / "checkpoints" / "last.ckpt"
        kept = f"last good checkpoint: {last}" if last.exists() else "there is no checkpoint: no epoch was finished"
        raise Diverged(f"{error}; {kept}") from error
