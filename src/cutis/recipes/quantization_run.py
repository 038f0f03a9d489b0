"""A quantisation-aware run: begun from a trained segmenter's, it leaves a run folder like any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from cutis.data.samples import choose
from cutis.errors import CutisError
from cutis.layers.simulated_quantization import SimulatedQuantization
from cutis.recipes.config import SegmentationConfig
from cutis.recipes.fine_tuning import fine_tuned
from cutis.recipes.folder import same_data
from cutis.recipes.quantization import QuantizationAware
from cutis.recipes.quantization_config import QuantizationConfig, QuantizationFineTuning
from cutis.recipes.run import Prepared, Run, as_they_are, carry_out, load_segmenter, prepare, training_batches

__all__ = ["train_quantization"]


def train_quantization(
    asked: QuantizationFineTuning,
    data: Path,
    folder: Path,
    *,
    start: Path,
    cache: Path,
    resume: bool,
    accelerator: str = "auto",
    say: Callable[[str], None] = print,
    after_epoch: Callable[[int, float], None] | None = None,
) -> Run:
    """Fine-tune the segmenter of the run in `start` for INT8, on its own data below `data` and on one device.

    What comes of it is in `folder`: the same network with other weights, and nothing in it that rounds.
    """
    config = _config(load_segmenter(start).config, asked)
    ready = prepare(config, data, folder, cache=cache, resume=resume, start=start, say=say)
    if resume and same_data(folder, ready.facts).get("start") != ready.facts["start"]:
        raise CutisError(f"{folder} was begun from another run than {start}: resume with the same")
    simulated = _simulated(ready, config, observe=not resume)  # else its ranges come with the checkpoint
    return carry_out(
        QuantizationAware(ready.network, simulated, config), training_batches(config, ready.training), ready, config,
        data, folder, resume=resume, devices=1, nodes=1, accelerator=accelerator, after_epoch=after_epoch,
    )  # fmt: skip


def _config(config: SegmentationConfig, asked: QuantizationFineTuning) -> QuantizationConfig:
    rounding = {"recipe": "quantization", "quantization": asked.quantization.model_dump(mode="json")}
    phases = [{"start": 0, "size": config.preprocessing.size}]
    return fine_tuned(config, {"phases": phases, **asked.fine_tune}, QuantizationConfig, rounding)


def _simulated(ready: Prepared, config: QuantizationConfig, *, observe: bool) -> SimulatedQuantization:
    """What rounds the values of the network in `ready`, which must have the weights that it begins with."""
    settings, size = config.quantization, config.preprocessing.size
    network = ready.network.eval()
    simulated = SimulatedQuantization(network, torch.zeros(1, 3, size, size), float_head=settings.float_head)
    plan = simulated.plan
    ready.say(
        f"{plan.convolutions - len(plan.kept)} of {plan.convolutions} convolutions and {len(simulated.scale)} values "
        "are rounded"
    )
    if observe:
        chosen = choose(ready.training.samples, settings.calibration, settings.seed)
        pictures = as_they_are(ready.training, config.preprocessing, chosen, config.batch_size)
        simulated.observe(network, (batch.image for batch in pictures), settings.ranges)
        ready.say(f"{settings.ranges} ranges of {len(chosen)} training images")
    network.train()  # as the trainer expects it; the recipe itself goes back to evaluation
    return simulated
