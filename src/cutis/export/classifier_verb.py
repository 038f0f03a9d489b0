"""`cutis export` of a classifier's run: fp32, INT8, and what each file's answers on validation lesions decide.

The order: read images, fit the unlikeness on training features, write fp32 (checked against torch), calibrate and write
INT8, ask both files about every validation image, fit their decisions, print how far they agree and what INT8 costs.
Masks are those of the training: the data sets' own, or those of the segmenter that it was trained with.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cutis.data.labels import label_indices
from cutis.data.samples import Sample, choose
from cutis.errors import CutisError
from cutis.export.decision import Decision, fit_decision
from cutis.export.parity import Answers, Feeds
from cutis.export.symmetry_file import SymmetryFile, for_precisions, open_symmetry_file
from cutis.export.verb import JUDGING, progress, show_choice
from cutis.imaging.lesion_area import prepare_classifier_image
from cutis.imaging.read import read_image, read_mask
from cutis.metrics.calibration import softmax
from cutis.metrics.classification import balanced_accuracy, confusion_matrix
from cutis.terminal import printer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from cutis.recipes.classification import ClassifierRun

__all__ = ["export_classifier_run"]


def export_classifier_run(
    folder: Path,
    output: Path,
    *,
    name: str | None,
    version: str,
    half: bool,
    data: Path | None,
    calibration: int,
    seed: int,
    symmetry: Sequence[Path],
    cache: Path,
) -> int:
    """Write `<name>-fp32.onnx` and `<name>-int8.onnx` of the classifier in `folder`, print what was measured.

    `calibration` training images calibrate INT8 and fit the unlikeness; all validation images fit the decisions.
    `symmetry`: the exported symmetry network, for a lesion network that takes its map. `cache`: where masks are kept
    that a segmenter finds.
    """
    from cutis.recipes.classification import class_parts, load_classifier_run

    console = printer()
    run = load_classifier_run(folder)
    if data is None:
        raise CutisError(f"{run.name} is a classifier, whose answers are calibrated on its validation lesions: --data")
    sources = _sources(run, symmetry)
    parts = _masked(run, class_parts(run.config, data), sources, calibration, seed, cache)
    read = [_Read.of(run, part, sources, what) for part, what in (
        (parts["train"], "calibration"), (parts["validation"], "validation")
    )]  # fmt: skip
    left_out = len(parts["validation"]) - len(read[1].samples)
    if left_out:
        console.print(f"{left_out} validation images have no mask, or an empty one, and are left out")
    name = name or run.name
    with tempfile.TemporaryDirectory() as scratch:
        files = _make(run, Path(scratch), read, name, version, half, console)
        answers = {precision: _answers(path, read[1], precision) for precision, path in files.items()}
        decisions = {precision: _decide(run, read[1], found) for precision, found in answers.items()}
        for precision, path in files.items():
            _publish(path, output / f"{name}-{precision}.onnx", decisions[precision], console)
        console.print(_agreements(run, files, read[1], answers))
    console.print(_accuracy(run, read[1], answers, decisions))
    return 0


@dataclass(frozen=True)
class _Read:
    """Images of one part as the network sees them, and the maps of each precision's symmetry network."""

    samples: tuple[Sample, ...]
    images: NDArray[np.uint8]
    maps: Mapping[str, NDArray[np.float32]]

    @classmethod
    def of(cls, run: ClassifierRun, samples: Sequence[Sample], sources: Mapping[str, SymmetryFile], what: str) -> _Read:
        sees_masks = _sees_masks(run, sources)
        kept, squares, maps = [], [], {precision: [] for precision in sources}  # type: ignore[var-annotated]
        with progress() as tell:
            for number, sample in enumerate(samples):
                picture = read_image(sample.image).pixels
                mask = read_mask(sample.mask) if sample.mask else None
                tell(f"reading {what} images", number + 1, len(samples))
                if sees_masks and (mask is None or not mask.any()):
                    continue
                kept.append(sample)
                squares.append(prepare_classifier_image(picture, mask, run.preprocessing, run.masking))
                for precision, source in sources.items():
                    maps[precision].append(source.map_of(picture, mask))
        if not kept:
            raise CutisError(f"no {what} image of {run.name} has a mask with a lesion: its network sees nothing else")
        return cls(tuple(kept), np.stack(squares), {key: np.stack(of) for key, of in maps.items()})

    def feeds(self, precision: str, count: int | None = None) -> Feeds:
        """The inputs of the file in `precision`; of the first `count` images."""
        found: dict[str, NDArray] = {"image": self.images[:count]}
        return found | ({"symmetry_activation": self.maps[precision][:count]} if self.maps else {})


def _sources(run: ClassifierRun, symmetry: Sequence[Path]) -> dict[str, SymmetryFile]:
    if run.config.takes_map and not symmetry:
        raise CutisError(
            f"{run.name} takes the symmetry network's map: export that one first, then give its files with "
            "--symmetry-model"
        )
    if symmetry and not run.config.takes_map:
        raise CutisError(f"{run.name} takes no map: leave --symmetry-model out")
    return for_precisions([open_symmetry_file(path) for path in symmetry]) if symmetry else {}


def _sees_masks(run: ClassifierRun, sources: Mapping[str, SymmetryFile]) -> bool:
    return run.masking != "none" or any(source.masking != "none" for source in sources.values())


def _masked(
    run: ClassifierRun,
    parts: Mapping[str, Sequence[Sample]],
    sources: Mapping[str, SymmetryFile],
    calibration: int,
    seed: int,
    cache: Path,
) -> dict[str, Sequence[Sample]]:
    """The images to calibrate on and those of the validation, with the masks that the run was trained with."""
    from cutis.recipes.predicted_masks import with_masks_of
    from cutis.recipes.run import load_run

    chosen: dict[str, Sequence[Sample]] = {
        "train": choose(parts["train"], calibration, seed), "validation": parts["validation"]
    }  # fmt: skip
    if "segmenter" not in run.facts or not _sees_masks(run, sources):
        return chosen
    segmenter = load_run(Path(run.facts["segmenter"]["folder"]))
    with progress() as tell:
        return {
            part: with_masks_of(segmenter, samples, cache, partial(tell, f"finding masks of {part} images"))
            for part, samples in chosen.items()
        }


def _make(
    run: ClassifierRun, folder: Path, read: Sequence[_Read], name: str, version: str, half: bool, console: Console
) -> dict[str, Path]:
    """fp32 and INT8 in `folder`, not yet complete."""
    from cutis.export.classifier import export_classifier, torch_features
    from cutis.export.int8 import quantize
    from cutis.export.unlikeness import LARGEST_RANK, fit_whitening

    training, validation = read
    whitening = None
    if run.config.task == "lesion_class":
        whitening = fit_whitening(_over(training, lambda feeds: torch_features(run.network, run.preprocessing, feeds)),
                                  LARGEST_RANK)  # fmt: skip
    files = {precision: folder / f"{precision}.onnx" for precision in ("fp32", "int8")}
    shape = next((maps.shape[2:] for maps in training.maps.values()), None)
    division = {"datasets": list(run.config.datasets), **run.config.split.model_dump()}
    made = export_classifier(
        run.network, run.preprocessing, files["fp32"], task=run.config.task, classes=run.classes, masking=run.masking,
        name=name, version=version, whitening=whitening, map_shape=shape, cells=run.network.cells,
        weights="float16" if half else "float32",
        facts={"division": json.dumps(division)},
    )  # fmt: skip
    found = ", ".join(f"{what} {value:.2g}" for what, value in made.differences.items())
    console.print(f"opset {made.opset}; largest differences from torch at two batch sizes: {found}")
    with progress() as tell:
        quantized = quantize(
            files["fp32"], files["int8"], calibration=training.feeds("int8"), judging=validation.feeds("int8", JUDGING),
            progress=lambda done, total: tell("calibrating", done, total),
        )  # fmt: skip
    show_choice(console, quantized)
    return files


def _over(read: _Read, answer: Callable[[Feeds], NDArray[np.float32]]) -> NDArray[np.float32]:
    from cutis.export.agreement import answers_over

    return answers_over(lambda feeds: {"features": answer(feeds)}, read.feeds("fp32"))["features"]


def _answers(path: Path, read: _Read, precision: str) -> Answers:
    from cutis.export.agreement import answers_over
    from cutis.export.parity import answers, open_session

    session = open_session(path)
    with progress() as tell:
        return answers_over(
            lambda feeds: answers(session, feeds),
            read.feeds(precision),
            lambda done, total: tell(f"asking {precision}", done, total),
        )


def _decide(run: ClassifierRun, read: _Read, found: Answers) -> Decision:
    truth = label_indices(read.samples, run.config.task, run.classes)
    groups = [sample.group for sample in read.samples]
    return fit_decision(run.config.task, found["logits"], truth, groups, found.get("unlikeness"))


def _publish(path: Path, output: Path, decision: Decision, console: Console) -> None:
    from cutis.export.classifier import complete

    sha256 = complete(path, output, decision.facts())
    console.print(f"{output}: {output.stat().st_size / 1e6:.2f} MB, SHA-256 {sha256}")


def _agreements(run: ClassifierRun, files: Mapping[str, Path], read: _Read, answers: Mapping[str, Answers]) -> Table:
    """torch against fp32 on the first of the validation images; fp32 against INT8, each as deployed, on all."""
    from cutis.export.agreement import agreement_table, answers_over, compare_answers
    from cutis.export.classifier import torch_answers

    feeds = read.feeds("fp32", JUDGING)
    torch = answers_over(lambda part: torch_answers(run.network, run.preprocessing, part, None), feeds)
    onnx = {name: values[:JUDGING] for name, values in answers["fp32"].items() if name != "unlikeness"}
    rows = {
        "torch = fp32": compare_answers(torch, onnx),
        "fp32 = int8": compare_answers(answers["fp32"], answers["int8"]),
    }
    return agreement_table(rows)


def _accuracy(
    run: ClassifierRun, read: _Read, answers: Mapping[str, Answers], decisions: Mapping[str, Decision]
) -> str:
    """What each file reaches on the validation lesions that it was fitted on, and its figures."""
    truth = label_indices(read.samples, run.config.task, run.classes)
    lines = []
    for precision, found in answers.items():
        decision = decisions[precision]
        p = softmax(found["logits"], decision.temperature)
        called = p.argmax(1) if decision.threshold is None else (p[:, 1] >= decision.threshold).astype(np.int64)
        reached = float(balanced_accuracy(confusion_matrix(truth, called, len(run.classes))))
        figures = {name.replace("_", " "): value for name, value in vars(decision).items() if value is not None}
        said = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        lines.append(f"{precision}: balanced accuracy {reached:.4f} on {len(truth)} validation images; {said}")
    return "\n".join([*lines, "fitted on these images; what the model reaches on others says cutis evaluate"])
