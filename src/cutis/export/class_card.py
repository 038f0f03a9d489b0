"""The model card of a classifier: as the segmenter's (`card`), every figure read from a file that a measurement wrote.

Ours, after Mitchell et al. (2019). A card of the lesion network says what its answers must not be taken for: which
classes it confuses, how many melanomas it misses at a fixed specificity, and on what its probabilities were fitted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cutis.errors import CutisError
from cutis.evaluation.class_report import summary_tables
from cutis.evaluation.class_summary import ClassSummary, OfClass
from cutis.evaluation.statistics import Interval
from cutis.evaluation.tables import markdown_table
from cutis.export.card import CardModel, Sources, figure, files_table, read_json, read_text, speed_tables

__all__ = ["class_card"]

_TEMPLATE = """# Model card: {name} {version}

{purpose} **For research only**: not a medical device, not for any decision about a person's health. Input:
{size} x {size} RGB, prepared as the file's own metadata says (masking: {masking}){map}; output: logits, a class
activation map (Grad-CAM++) of the likeliest class{far}. Network: {network}, {parameters:,} parameters.

## Files

{files}

{decisions}

## Data and split

{counts}

Divided by: {split}. Training saw the training part; the validation part chose the checkpoint and fitted the figures
above; the accuracy below is of the test part. The images are public research sets; they show mostly lighter
skin, and how well the model works on darker skin was not measured.

## Training

    {command}

The trunk started {weights}. {recipe}. Versions: {versions}. Fingerprint of the training images: `{fingerprint}`.

## Accuracy

{accuracy}

## Speed

{speed}

## Where it fails

{notes}

## Terms

The weights were trained on data for non-commercial research. They are given for **non-commercial research only**. The
code around them is under the Apache License 2.0.
"""

_PURPOSES = {
    "symmetry": "Tells whether a skin lesion in a dermoscopic image is symmetric ({classes}).",
    "lesion_class": "Tells which of {count} classes ({classes}) a skin lesion in a dermoscopic image is most like.",
}
_NEEDED = {
    "symmetry": ("accuracy", "balanced_accuracy"),
    "lesion_class": ("accuracy", "balanced_accuracy", "coverage", "not_sure"),
}
_MELANOMA = ("melanoma_sensitivity_at_0.8", "melanoma_sensitivity_at_0.9")


def class_card(sources: Sources, config: dict[str, Any], facts: dict[str, Any], models: Sequence[CardModel]) -> str:
    """The card as Markdown; a `CutisError` that names the figure which is missing and how it is measured."""
    task, written = config["task"], models[0].facts
    classes = json.loads(written["cutis.classes"])
    takes_map = task == "lesion_class" and config["network"]["options"].get("activation", True)
    reports = [_report(model, sources.accuracy, task, classes) for model in models]
    data = figure(facts, "data", sources.run)
    return _TEMPLATE.format(
        name=written["cutis.name"],
        version=written["cutis.version"],
        purpose=_PURPOSES[task].format(classes=", ".join(classes), count=len(classes)),
        size=config["preprocessing"]["size"],
        masking=written["cutis.masking"],
        map=", and the symmetry network's map" if takes_map else "",
        far=", and how unlike the training images the image is" if task == "lesion_class" else "",
        network=f"{config['network']['name']} {json.dumps(config['network'].get('options', {}))}",
        parameters=figure(facts, "parameters", sources.run),
        files=files_table(models),
        decisions=_decisions(models),
        counts=_counts(data["counts"], classes),
        split=json.dumps(config["split"]),
        command=sources.command,
        weights=figure(facts, "weights", sources.run),
        recipe=_recipe(config),
        versions=", ".join(f"{name} {version}" for name, version in figure(facts, "versions", sources.run).items()),
        fingerprint=data["training"],
        accuracy="\n\n".join([*reports, _difference(models, sources.accuracy)]).strip(),
        speed=speed_tables(sources.speed, models),
        notes=read_text(sources.notes).strip(),
    )


def _decisions(models: Sequence[CardModel]) -> str:
    """What each file's answers were fitted to on validation lesions, as its metadata says."""
    names = ("temperature", "threshold", "conformal", "unlikeness_limit")
    known = [name for name in names if f"cutis.{name}" in models[0].facts]
    lines = [[model.precision, *(_short(figure(model.facts, f"cutis.{name}", model.path)) for name in known)]
             for model in models]  # fmt: skip
    return markdown_table(["Fitted on validation lesions", *(name.replace("_", " ") for name in known)], lines)


def _short(text: str) -> str:
    value = json.loads(text)
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:.4g}" for name, number in value.items())
    return f"{value:.4g}"


def _recipe(config: dict[str, Any]) -> str:
    names = ("optimiser", "learning_rate", "weight_decay", "batch_size", "epochs", "class_weights", "balance", "even")
    return ", ".join(f"{name.replace('_', ' ')} {config[name]}" for name in names if config.get(name) is not None)


def _counts(counts: dict[str, dict[str, int]], classes: Sequence[str]) -> str:
    lines = [[name, *(f"{of.get(name, 0):,}" for of in counts.values())] for name in classes]
    return markdown_table(["Images", *counts], lines)


def _evaluation(model: CardModel, paths: Sequence[Path]) -> tuple[Path, dict[str, Any]]:
    for path in paths:
        content = read_json(path)
        if f"SHA-256 {model.sha256[:12]}" in figure(content, "origin", path)["model"]:
            return path, content
    raise CutisError(
        f"no evaluation of {model.path.name} (SHA-256 {model.sha256[:12]}) was given: "
        f"cutis evaluate {model.path} --data DIR --output OUT, then --accuracy OUT/summary.json"
    )


def _report(model: CardModel, paths: Sequence[Path], task: str, classes: Sequence[str]) -> str:
    path, content = _evaluation(model, paths)
    origin = figure(content, "origin", path)
    if content.get("failures"):
        raise CutisError(f"{path}: {len(content['failures'])} images could not be measured: a card counts all")
    summaries = [_summary(found) for found in figure(content, "datasets", path)]
    needed = _NEEDED[task] + (_MELANOMA if "mel" in classes else ())
    for summary in summaries:
        missing = [name for name in needed if name not in summary.measures]
        if missing:
            raise CutisError(
                f"{path} has no {missing[0]} of {summary.dataset}: evaluate {model.path.name} on its test images"
            )
    head = f"**{model.precision}** (`{origin['command']}`; {origin['split']}; masks: {origin['masks']})"
    return f"{head}\n\n{summary_tables(summaries)}"


def _summary(found: dict[str, Any]) -> ClassSummary:
    measures = {name: Interval(**_numbers(value)) for name, value in found["measures"].items()}
    by_class = {name: OfClass(**_numbers(value)) for name, value in found["by_class"].items()}
    return ClassSummary(**{**found, "measures": measures, "by_class": by_class})


def _numbers(value: dict[str, Any]) -> dict[str, Any]:
    return {name: float("nan") if number is None else number for name, number in value.items()}


def _difference(models: Sequence[CardModel], paths: Sequence[Path]) -> str:
    """What INT8 loses in balanced accuracy on each data set, where both precisions were measured."""
    found = {model.precision: _evaluation(model, paths)[1]["datasets"] for model in models}
    if not {"int8", "fp32"} <= set(found):
        return ""
    reached = {
        precision: {of["dataset"]: of["measures"]["balanced_accuracy"]["mean"] for of in datasets}
        for precision, datasets in found.items()
    }
    lines = [
        [name, f"{reached['int8'][name] - value:+.4f}"] for name, value in reached["fp32"].items()
        if name in reached["int8"]
    ]  # fmt: skip
    return markdown_table(["INT8 minus fp32", "balanced accuracy"], lines)
