"""The model card: what a model is, what it was made from, how it was measured, where it fails, what it may be used for.

Ours, after Mitchell et al., "Model Cards for Model Reporting" (2019). A card is made from files that measurements wrote
and from nothing typed: the run folder, the ONNX files, the summary.json and rows.csv of each file's evaluation, and the
JSON of its benchmarks. A figure that is missing, that belongs to another file, or that was taken on a busy machine is
an error. The one thing a person writes are the notes on failures, after looking at the worst cases.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cutis.errors import CutisError
from cutis.evaluation.statistics import Interval
from cutis.evaluation.summary import Empties, Summary
from cutis.evaluation.tables import TITLES, markdown_table, read_rows, summary_table
from cutis.export.parity import open_session

__all__ = [
    "CardModel",
    "SegmentationReport",
    "Sources",
    "figure",
    "files_table",
    "model_card",
    "read_json",
    "read_text",
    "report_of",
    "speed_tables",
]

_TEMPLATE = """# Model card: {name} {version}

Finds the lesion in a dermoscopic image. **For research only**: not a medical device, not for any decision about a
person's health. Input: {size} x {size} RGB, prepared as the file's own metadata says; output: the probability of
"lesion" at each pixel, cut at {threshold}. Network: {network}, {parameters:,} parameters.

## Files

{files}

## Data and split

{counts}

The images were divided by lesion ({fractions}, seed {seed}) over all sets together, so that neither two images of
one lesion nor one image in two sets lie on both sides. Training saw the training part, the choice of the checkpoint the
validation part; the figures below are from the test part. The data are public research sets; they show mostly lighter
skin, and how well the model works on darker skin was not measured.

## Training

    {command}

Dice {dice}, boundary {boundary} and cross-entropy {cross_entropy} as weights of the loss; AdamW, learning rate {rate},
weight decay {decay}; {epochs} epochs at sides {sides}. Versions: {versions}. Fingerprint of the training images:
`{fingerprint}`.

## Accuracy

Means over images, each with its {confidence:.0%} bootstrap interval by lesion; overlap at the resolution of the data,
HD95 and surface Dice in a 256 x 256 letterbox.

{accuracy}

## Speed

{speed}

## Where it fails

{failures}

{notes}

## Terms

The weights were trained on data for non-commercial research: ISIC 2018 and HAM10000 (CC BY-NC 4.0), ISIC 2017 and PH2
(research use). They are given for **non-commercial research only**. The code around them is under the Apache License
2.0.
"""

_BAD_DICE = 0.5
_WORST = 5


@dataclass(frozen=True)
class Sources:
    """Where a card's facts are.

    `accuracy`: summary.json of each file's evaluation, its rows.csv beside it. `speed`: JSON files of `cutis
    benchmark`. `notes`: Markdown, what the worst cases show. `command`: what trained the run.
    """

    run: Path
    models: Sequence[Path]
    accuracy: Sequence[Path]
    speed: Sequence[Path]
    notes: Path
    command: str


def model_card(sources: Sources) -> str:
    """The card as Markdown; a `CutisError` that names the figure which is missing and how it is measured."""
    config = _yaml(sources.run / "config.yaml")
    facts = read_json(sources.run / "run.json")
    models = [CardModel.read(path) for path in sources.models]
    if not models:
        raise CutisError("a card describes ONNX files: give them with --models")
    if config.get("recipe") == "prompting":
        from cutis.export.promptable_card import promptable_card

        return promptable_card(sources, config, facts, models)
    if config.get("task", "segmentation") != "segmentation":
        from cutis.export.class_card import class_card

        return class_card(sources, config, facts, models)
    reports = [report_of(model, sources.accuracy, config["datasets"]) for model in models]
    loss, preprocessing = config["loss"], config["preprocessing"]
    return _TEMPLATE.format(
        name=models[0].facts["cutis.name"],
        version=models[0].facts["cutis.version"],
        size=preprocessing["size"],
        threshold=config["threshold"],
        network=_network(config["network"], facts),
        parameters=figure(facts, "parameters", sources.run),
        files=files_table(models),
        counts=_counts(figure(facts, "data", sources.run)["counts"], config["datasets"]),
        fractions=", ".join(f"{part} {share:g}" for part, share in config["split"]["fractions"].items()),
        seed=config["split"]["seed"],
        command=sources.command,
        dice=loss["dice"],
        boundary=loss["boundary"],
        cross_entropy=loss["cross_entropy"],
        rate=config["learning_rate"],
        decay=config["weight_decay"],
        epochs=config["epochs"],
        sides=", ".join(f"{phase['size']} from {phase['start']}" for phase in config["phases"]),
        versions=", ".join(f"{name} {version}" for name, version in figure(facts, "versions", sources.run).items()),
        fingerprint=figure(facts, "data", sources.run)["training"],
        confidence=reports[0].content["bootstrap"]["confidence"],
        accuracy="\n\n".join([*(report.table() for report in reports), _difference(reports)]).strip(),
        speed=speed_tables(sources.speed, models),
        failures="\n\n".join(report.failures() for report in reports),
        notes=read_text(sources.notes).strip(),
    )


def _network(settings: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Name and options, and how many channels pruning left of which blocks."""
    words = f"{settings['name']} {json.dumps(settings.get('options', {}))}"
    if not (pruned := facts.get("pruned")):
        return words
    left = ", ".join(f"{block} {was} to {now}" for block, (was, now) in pruned["left"].items())
    return f"{words}, pruned last by {pruned['by']['kind']} ({left} channels)"


@dataclass(frozen=True)
class CardModel:
    """One ONNX file that the card describes."""

    path: Path
    facts: dict[str, str]
    sha256: str
    size: int

    @classmethod
    def read(cls, path: Path) -> CardModel:
        if not path.is_file():
            raise CutisError(f"{path} is not there: give the ONNX files that the card describes")
        content = path.read_bytes()
        facts = open_session(content).get_modelmeta().custom_metadata_map
        if "cutis.precision" not in facts:
            raise CutisError(f"{path} was not exported by cutis: run `cutis export`")
        return cls(path, facts, hashlib.sha256(content).hexdigest(), len(content))

    @property
    def precision(self) -> str:
        return self.facts["cutis.precision"]


@dataclass(frozen=True)
class SegmentationReport:
    """One evaluation of masks, of exactly the file the card describes."""

    path: Path
    model: CardModel
    content: dict[str, Any]

    def summaries(self) -> list[Summary]:
        return [
            Summary(
                **{
                    **found,
                    "empty": Empties(**found["empty"]),
                    "measures": {name: _interval(value) for name, value in found["measures"].items()},
                }
            )
            for found in self.content["datasets"]
        ]

    def table(self) -> str:
        origin = self.content["origin"]
        head = f"**{self.model.precision}** (`{origin['command']}`; {origin['split']})"
        return f"{head}\n\n{summary_table(self.summaries())}"

    def failures(self) -> str:
        rows = read_rows(self.path.with_name("rows.csv"))
        lines = []
        for dataset in dict.fromkeys(row.dataset for row in rows):
            own = sorted((row.measures["dice"], row.id) for row in rows if row.dataset == dataset)
            bad = sum(dice < _BAD_DICE for dice, _ in own)
            worst = ", ".join(f"{name} ({dice:.2f})" for dice, name in own[:_WORST])
            lines.append([dataset, f"{bad} of {len(own)}", worst])
        header = [self.model.precision, f"Dice under {_BAD_DICE}", "lowest Dice"]
        return markdown_table(header, lines)


def report_of(
    model: CardModel, paths: Sequence[Path], datasets: Sequence[str], *, verb: str = "evaluate"
) -> SegmentationReport:
    """The one of `paths` that measured exactly this file, with every measure of `datasets`; a `CutisError` else."""
    for path in paths:
        content = read_json(path)
        if f"SHA-256 {model.sha256[:12]}" not in figure(content, "origin", path)["model"]:
            continue
        there = {found["dataset"]: found["measures"] for found in figure(content, "datasets", path)}
        for dataset in datasets:
            for measure in TITLES:
                if _mean(there.get(dataset, {}), measure) is None:
                    raise CutisError(
                        f"{path} has no {measure} of {dataset}: evaluate {model.path.name} on its test images"
                    )
        if content.get("failures"):
            raise CutisError(f"{path}: {len(content['failures'])} images could not be measured: a card counts all")
        return SegmentationReport(path, model, content)
    raise CutisError(
        f"no evaluation of {model.path.name} (SHA-256 {model.sha256[:12]}) was given: "
        f"cutis {verb} {model.path} --data DIR --output OUT, then --accuracy OUT/summary.json"
    )


def _difference(reports: Sequence[SegmentationReport]) -> str:
    """What INT8 loses in mean Dice on each data set, where both precisions were measured."""
    by_precision = {report.model.precision: {s.dataset: s for s in report.summaries()} for report in reports}
    if not {"int8", "fp32"} <= set(by_precision):
        return ""
    lines = [
        [name, f"{by_precision['int8'][name].measures['dice'].mean - fp32.measures['dice'].mean:+.4f}"]
        for name, fp32 in by_precision["fp32"].items()
        if name in by_precision["int8"]
    ]
    return markdown_table(["INT8 minus fp32", "mean Dice"], lines)


def files_table(models: Sequence[CardModel]) -> str:
    """Name, precision, size, version and hash of each file."""
    lines = [
        [m.path.name, m.precision, f"{m.size / 1e6:.2f} MB", m.facts["cutis.version"], f"`{m.sha256}`"] for m in models
    ]
    return markdown_table(["File", "Precision", "Size", "Version", "SHA-256"], lines)


def _counts(counts: dict[str, dict[str, int]], datasets: Sequence[str]) -> str:
    lines = [[name, *(f"{of[name]:,}" for of in counts.values())] for name in datasets]
    return markdown_table(["Images", *counts], lines)


def speed_tables(paths: Sequence[Path], models: Sequence[CardModel]) -> str:
    """The rows of each benchmark; each model must have been timed, on an idle machine, as the file it is."""
    contents = [(path, read_json(path)) for path in paths]
    timed = {json.dumps(content.get("facts", {})) for _, content in contents}
    for model in models:
        if not any(model.sha256 in text for text in timed):
            raise CutisError(
                f"no benchmark of {model.path.name} (SHA-256 {model.sha256[:12]}) was given: "
                f"cutis benchmark network {model.path}, then --speed benchmarks/results/network.json"
            )
    parts = []
    for path, content in contents:
        if figure(content, "complaints", path):
            raise CutisError(f"{path} was measured on a busy machine ({content['complaints'][0]}): measure again")
        names = list(dict.fromkeys(name for row in content["rows"] for name in row["values"]))
        lines = [
            [row["name"], *(f"{row['values'][n]:.3g}" if n in row["values"] else "" for n in names)]
            for row in content["rows"]
        ]
        machine = content["machine"]
        source = f"`{content['command']}`, {content['date']}, {machine['processor']}, {machine['cores']} cores"
        parts.append(f"{markdown_table([content['benchmark'], *names], lines)}\n\n{source}")
    return "\n\n".join(parts)


def _interval(value: dict[str, Any]) -> Interval:
    mean, low, high = (float("nan") if value[name] is None else value[name] for name in ("mean", "low", "high"))
    return Interval(mean, low, high, value["n"], value["groups"])


def _mean(measures: dict[str, Any], name: str) -> float | None:
    return (measures.get(name) or {}).get("mean")


def figure(content: dict[str, Any], name: str, path: Path) -> Any:
    """A value that must be there."""
    if name not in content:
        raise CutisError(f"{path} has no {name!r}: the card cannot be written without it")
    return content[name]


def read_json(path: Path) -> dict[str, Any]:
    """The JSON file at `path`; CutisError if it is none."""
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise CutisError(f"{path} is not valid JSON: measure again") from error


def _yaml(path: Path) -> dict[str, Any]:
    return yaml.safe_load(read_text(path))


def read_text(path: Path) -> str:
    """The text file at `path`; CutisError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CutisError(f"{path} cannot be read ({error.strerror}): the card cannot be written without it") from error
