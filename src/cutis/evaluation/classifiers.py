"""Classifier x data set -> one row an image: probabilities, answer, set, unlikeness, how its map lies on the lesion.

SE-LCN, Sec. 5. What is evaluated is handed in by the verb: an exported file through the analysis' own classes and its
own decision, or a run through torch. The lesion of the masking is the data set's own mask, or a segmenter's: the first
judges the classifier alone, the second what a user gets. Localisation (SE-LCN, Sec. 5.3.2) is always against the data
set's mask, in the network's own frame, beside a centred Gaussian that has seen nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutis.data.catalogue import open_all
from cutis.data.labels import Task, label_indices
from cutis.data.samples import Sample
from cutis.errors import CutisError
from cutis.evaluation.evaluate import Failure
from cutis.evaluation.selection import SplitRule, divide, thin_out
from cutis.imaging.cells import spread
from cutis.imaging.frame import Frame, letterbox
from cutis.imaging.lesion_area import prepare_classifier_image
from cutis.imaging.read import read_image, read_mask
from cutis.metrics.calibration import softmax
from cutis.metrics.localization import centred_gaussian, localize

__all__ = ["GAUSSIAN", "ClassRow", "ClassSubject", "Looked", "judge", "of_model", "of_run", "select_labelled"]

GAUSSIAN = 0.25
"""Standard deviation of the centred Gaussian, as a share of the picture's sides."""

Look = Callable[[NDArray[np.uint8], "NDArray[np.bool_] | None"], "Looked"]
MaskOf = Callable[[Sample], "NDArray[np.bool_] | None"]


class Looked(NamedTuple):
    """One answer. `held`: the prediction set, None where the model makes none. `activation`: (S, S), the map
    over the network's square."""

    probabilities: NDArray[np.float64]
    answer: str
    sure: bool
    held: tuple[str, ...] | None
    unlikeness: float | None
    activation: NDArray[np.float32]


@dataclass(frozen=True)
class ClassSubject:
    """What is evaluated: how it looks at a picture, its classes, the split it was trained with, safe parallelism."""

    look: Look
    name: str
    task: Task
    classes: tuple[str, ...]
    rule: SplitRule | None
    parts: Callable[[Path], Mapping[str, Sequence[Sample]]] | None
    needs_mask: bool
    workers: int


@dataclass(frozen=True)
class ClassRow:
    """One image. `maps`: localisation of its map and, with `gaussian_`, of the centred Gaussian; NaN without a mask.

    Of someone's predicted classes alone the probabilities are NaN and there are no maps.
    """

    dataset: str
    id: str
    group: str
    truth: str
    answer: str
    sure: bool
    held: tuple[str, ...] | None
    unlikeness: float | None
    probabilities: dict[str, float]
    maps: dict[str, float]


def of_model(model: Any, symmetry: Any | None, decide: Callable[..., Any], task: Task, workers: int) -> ClassSubject:
    """An exported classifier, `symmetry` the one whose map it takes, both as the analysis opens them.

    `decide`: the analysis' own way from logits (and unlikeness) to an answer.
    """
    classes = tuple(model.rule.classes)
    if model.takes_map and symmetry is None:
        raise CutisError(f"{model.info.name} takes the symmetry network's map: give its file with --symmetry-model")

    def look(picture: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> Looked:
        square = prepare_classifier_image(picture, mask, model.preprocessing, model.masking)
        if task == "symmetry":
            found, held, sure = model.answer(square), None, True
            answer = decide(found.logits, model.rule).label
        else:
            activation = None
            if model.takes_map:
                assert symmetry is not None
                first = prepare_classifier_image(picture, mask, symmetry.preprocessing, symmetry.masking)
                activation = symmetry.answer(first).activation
            found = model.answer(square, activation)
            decided = decide(found.logits, found.unlikeness, model.rule)
            held, sure = tuple(decided.prediction_set), decided.label is not None
            answer = classes[int(np.argmax(found.logits))]
        p = softmax(found.logits[None], model.rule.temperature)[0]
        over = spread(found.activation, model.preprocessing.size, model.cells)
        return Looked(p, answer, sure, held, found.unlikeness, over)

    info = model.info
    name = f"{info.name} {info.version}, {info.precision}, SHA-256 {info.sha256[:12]}"
    sees = [model.masking, *([symmetry.masking] if model.takes_map and symmetry is not None else [])]
    rule = _rule(model.division or {})
    return ClassSubject(look, name, task, classes, rule, None, set(sees) != {"none"}, workers)


def of_run(folder: Path, symmetry: Path | None) -> ClassSubject:
    """A classifier's run, uncalibrated; `symmetry`: the run whose map it takes. Needs cutis[train]."""
    import torch

    from cutis.recipes.classification import class_parts, load_classifier_run

    run = load_classifier_run(folder)
    first = load_classifier_run(symmetry) if symmetry else None
    if run.config.takes_map and first is None:
        raise CutisError(f"{run.name} takes the symmetry network's map: give that network's run with --symmetry-model")

    def explain(who: Any, picture: NDArray, mask: NDArray | None, *maps: torch.Tensor) -> Any:
        steps = who.preprocessing
        square = prepare_classifier_image(picture, mask, steps, who.masking)
        mean, std = (torch.tensor(values, dtype=torch.float32) for values in (steps.mean, steps.std))
        pixels = torch.from_numpy(np.ascontiguousarray(square)).float().div(255).sub(mean).div(std)
        with torch.inference_mode():
            return who.network.explain(pixels.permute(2, 0, 1)[None], *maps)

    def look(picture: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> Looked:
        maps = (explain(first, picture, mask).activation,) if run.config.takes_map else ()
        found = explain(run, picture, mask, *maps)
        p = softmax(found.logits.float().numpy(), 1.0)[0]
        over = spread(found.activation[0, 0].float().numpy(), run.preprocessing.size, run.network.cells)
        return Looked(p, run.classes[int(p.argmax())], True, None, None, over)

    sees = {run.masking, *([first.masking] if first and run.config.takes_map else [])} != {"none"}
    division = {"datasets": list(run.config.datasets), **run.config.split.model_dump()}
    rule = _rule(division)
    parts = partial(class_parts, run.config)
    return ClassSubject(look, f"{run.name}, run {folder}", run.config.task, run.classes, rule, parts, sees, 1)


def select_labelled(
    subject: ClassSubject, data: Path, *, datasets: Sequence[str] | None, part: str, limit: int | None
) -> dict[str, list[Sample]]:
    """Samples of `part` that have a class, by data set; CutisError where there are none.

    By default of the data sets of the training. Of others, named in `datasets`, those images are test images whose
    lesion is not in the training.
    """
    if subject.parts is not None and not datasets and part != "all":
        parts = subject.parts(data)
        if part not in parts:
            raise CutisError(f"no split {part!r}; there are: {', '.join(parts)}, all")
        chosen = list(parts[part])
    elif subject.rule is None:
        raise CutisError(
            f"{subject.name} does not say by lesion which images it was trained on (it was trained on a fold, or "
            "elsewhere): evaluate its run folder, without --dataset"
        )
    else:
        opened = {dataset.name: dataset for dataset in open_all(data)}
        wanted = list(datasets or [name for name in subject.rule.datasets if name in opened])
        unknown = [name for name in wanted if name not in opened]
        if unknown or not wanted:
            missing = unknown or list(subject.rule.datasets)
            raise CutisError(f"{data} holds no data set {missing[0]!r}; it holds: {', '.join(opened)}")
        everything = (sample for dataset in opened.values() for sample in dataset)
        chosen = [sample for sample in divide(everything, part, subject.rule) if sample.dataset in wanted]
    chosen = [sample for sample in chosen if _class_known(sample, subject)]
    found: dict[str, list[Sample]] = {}
    for sample in chosen:
        found.setdefault(sample.dataset, []).append(sample)
    if not found:
        raise CutisError(f"no image of the split {part!r} has a class of {', '.join(subject.classes)}: name other data")
    return {name: thin_out(of, limit) for name, of in found.items()}


def judge(
    subject: ClassSubject, samples: Iterable[Sample], mask_of: MaskOf | None, done: Callable[[], None] = lambda: None
) -> tuple[list[ClassRow], list[Failure]]:
    """A row for each sample, or why there is none. `mask_of`: what masks it, if not the data set's own mask."""

    def one(sample: Sample) -> ClassRow | Failure:
        try:
            return _row(subject, sample, mask_of)
        except CutisError as error:
            return Failure(sample.dataset, sample.id, str(error))
        finally:
            done()

    with ThreadPoolExecutor(subject.workers) as pool:
        found = list(pool.map(one, samples))
    return [row for row in found if isinstance(row, ClassRow)], [row for row in found if isinstance(row, Failure)]


def _row(subject: ClassSubject, sample: Sample, mask_of: MaskOf | None) -> ClassRow:
    picture = read_image(sample.image).pixels
    own = read_mask(sample.mask) if sample.mask else None
    mask = mask_of(sample) if mask_of else own
    if subject.needs_mask and (mask is None or not mask.any()):
        raise CutisError(
            "no lesion found in it" if mask_of else "it has no mask with a lesion, and the network needs one"
        )
    looked = subject.look(picture, mask)
    truth = subject.classes[int(label_indices([sample], subject.task, subject.classes)[0])]
    p = {name: float(value) for name, value in zip(subject.classes, looked.probabilities, strict=True)}
    return ClassRow(
        sample.dataset, sample.id, sample.group, truth, looked.answer, looked.sure, looked.held, looked.unlikeness,
        p, _located(looked, own),
    )  # fmt: skip


def _located(looked: Looked, mask: NDArray[np.bool_] | None) -> dict[str, float]:
    """Both maps in the network's frame without its padding, as the mask."""
    names = ("iou", "overlap", "hit")
    if mask is None:
        return {f"{prefix}{name}": float("nan") for prefix in ("", "gaussian_") for name in names}
    size = len(looked.activation)
    frame = Frame.fit(mask.shape[1], mask.shape[0], size)
    small = frame.crop(letterbox(mask.astype(np.uint8) * 255, size)[0]) >= 128
    own = localize(np.clip(np.asarray(frame.crop(looked.activation), np.float32), 0, 1), small)
    blind = localize(centred_gaussian(*small.shape, sigma=GAUSSIAN), small)
    return {**own._asdict(), **{f"gaussian_{name}": value for name, value in blind._asdict().items()}}


def _class_known(sample: Sample, subject: ClassSubject) -> bool:
    if subject.task == "symmetry":
        return sample.symmetry is not None
    return sample.label in subject.classes


def _rule(division: Mapping[str, Any]) -> SplitRule | None:
    """None for a fold, whose parts only the run folder can make again."""
    if "fractions" not in division:
        return None
    return SplitRule(tuple(division["datasets"]), division["fractions"], division["seed"])
