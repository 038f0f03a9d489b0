"""A run of the promptable network, from its configuration to its run folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cutis.errors import CutisError
from cutis.models.promptable import PromptableNet
from cutis.recipes.prompting import Prompting
from cutis.recipes.prompting_config import PromptingConfig
from cutis.recipes.run import Run, carry_out, prepare, training_batches

__all__ = ["train_prompting"]


def train_prompting(
    config: PromptingConfig,
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

    `start`: a run folder whose best weights the network begins with.
    """
    ready = prepare(config, data, folder, cache=cache, resume=resume, start=start, say=say)
    if not isinstance(ready.network, PromptableNet):
        raise CutisError(f"network {config.network.name!r} takes no prompts: give promptable")
    ready.facts["scores"] = "Dice with the true box, a jittered one, one point and three points; their mean chooses"
    return carry_out(
        Prompting(ready.network, config), training_batches(config, ready.training), ready, config, data, folder,
        resume=resume, devices=1, nodes=1, accelerator=accelerator, after_epoch=after_epoch,
    )  # fmt: skip
