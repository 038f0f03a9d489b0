"""The model card of a promptable's two files: as the segmenter's (`card`), every figure from a measurement's file.

Ours, after Mitchell et al. (2019). The evaluation is that of `cutis evaluate-prompts`, a column each way of asking.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from cutis.errors import CutisError
from cutis.evaluation.tables import markdown_table, summary_table
from cutis.export.card import CardModel, Sources, figure, files_table, read_text, report_of, speed_tables

__all__ = ["promptable_card"]

_TEMPLATE = """# Model card: {name} {version}

A person points at a lesion in a dermoscopic image, or draws a box around it: this network outlines it. It corrects the
masks of the segmenter, and can stand where SAM stands in knowledge mining; **it is no SAM** and was made to stand in
for it. **For research only**: not a medical device, not for any decision about a person's health. Encoder: {size} x
{size} RGB, prepared as the file's own metadata says, to an embedding, once an image. Decoder: embedding, points, box
and coarse mask, each or none, to three masks, cut at {threshold}, and its own estimate of each one's IoU. Network:
{network}, {parameters:,} parameters.

## Files

{files}

The two belong together (`cutis.pair`): halves of different networks are refused.

## Data and split

{counts}

The images were divided by lesion ({fractions}, seed {seed}). Training saw the masks of the training part, the choice of
the checkpoint those of the validation part. The data are public research sets; they show mostly lighter skin, and how
well the model works on darker skin was not measured.

## Training

    {command}

Its encoder started {weights}. Prompts are simulated from the true masks ({prompts}). AdamW, learning rate {rate},
weight decay {decay}; {epochs} epochs of {images} images at sides {sides}; {scores}. Versions: {versions}.
Fingerprint of the training images: `{fingerprint}`.

## Accuracy

Prompts made from the true masks, with one seed: what an annotator's clicks are worth. Means over images, each with its
95% bootstrap interval by lesion; overlap at the resolution of the data, HD95 and surface Dice in a 256 x 256 letterbox.

{accuracy}

## Speed

{speed}

## Where it fails

{failures}

{notes}

## Terms

The weights were trained on data for non-commercial research: HAM10000 (CC BY-NC 4.0). They are given for
**non-commercial research only**. The code around them is under the Apache License 2.0.
"""


def promptable_card(
    sources: Sources, config: dict[str, Any], facts: dict[str, Any], models: Sequence[CardModel]
) -> str:
    """The card as Markdown; a `CutisError` that names the figure which is missing and how it is measured."""
    tasks = {model.facts["cutis.task"]: model for model in models}
    if len(models) != 2 or set(tasks) != {"prompt-encoder", "prompt-decoder"}:
        raise CutisError("the card of a promptable describes its encoder and its decoder: give both files, of one kind")
    evaluation = "evaluate-prompts"
    report, other = (report_of(model, sources.accuracy, (), verb=evaluation) for model in tasks.values())
    if report.path != other.path:
        raise CutisError(f"{report.path} and {other.path} measure other pairs of files: evaluate these two together")
    data, first = figure(facts, "data", sources.run), tasks["prompt-encoder"].facts
    return _TEMPLATE.format(
        name=first["cutis.name"],
        version=first["cutis.version"],
        size=config["preprocessing"]["size"],
        threshold=config["threshold"],
        network=f"{config['network']['name']} {json.dumps(config['network'].get('options', {}))}",
        parameters=figure(facts, "parameters", sources.run),
        files=files_table(list(tasks.values())),
        counts=markdown_table(
            ["Images", *data["counts"]],
            [[name, *(f"{of[name]:,}" for of in data["counts"].values())] for name in config["datasets"]],
        ),
        fractions=", ".join(f"{part} {share:g}" for part, share in config["split"]["fractions"].items()),
        seed=config["split"]["seed"],
        command=sources.command,
        weights=figure(facts, "weights", sources.run),
        prompts=", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in config["prompts"].items()),
        rate=config["learning_rate"],
        decay=config["weight_decay"],
        epochs=config["epochs"],
        images=f"{config['epoch_images']:,}",
        sides=", ".join(f"{phase['size']} from {phase['start']}" for phase in config["phases"]),
        scores=figure(facts, "scores", sources.run),
        versions=", ".join(f"{name} {version}" for name, version in figure(facts, "versions", sources.run).items()),
        fingerprint=data["training"],
        accuracy=f"`{report.content['origin']['command']}`; {report.content['origin']['split']}\n\n"
        + summary_table(report.summaries()),
        speed=speed_tables(sources.speed, models),
        failures=report.failures(),
        notes=read_text(sources.notes).strip(),
    )
