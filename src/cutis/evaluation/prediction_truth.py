"""The true class, and the lesion, of each image that someone predicted: from a labels file, their file, or our data.

In this order, the first that is given: a table like HAM10000_metadata (image_id, dx, lesion_id), or one with
true_label; a column true_label beside the predictions, of names or of codes that the user explains; the labels of data
sets. A labels file must hold exactly the predicted images; a data set holds more, and images that it lacks are left out
by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cutis.data.layout import read_table
from cutis.errors import CutisError
from cutis.evaluation.predictions import ID_COLUMNS, Classes, Predictions, column_of, image_id, names

__all__ = ["Known", "Truth", "read_labels", "share_seen", "truth_of"]

CLASS_COLUMNS = ("dx", "true_label")
LESION = "lesion_id"


class Known(NamedTuple):
    """One image: index of its true class; its lesion and its data set, empty where unknown."""

    truth: int
    lesion: str
    dataset: str = ""


class Truth(NamedTuple):
    """Image id -> what is known; `source` as a report says it; `left_out` the images whose class nobody knows."""

    images: dict[str, Known]
    source: str
    left_out: tuple[str, ...] = ()


def truth_of(predictions: Predictions, labels: Path | None, data: Path | None, datasets: Sequence[str] | None) -> Truth:
    """The truth of `predictions`; lesions that its source lacks are those of `data`, where that is given."""
    own = _own(predictions, explained=labels is None and data is None)
    if labels:
        truth = _exactly(predictions, labels)
        _refuse_two_classes(predictions, own, truth.images, labels)
    elif own is not None:
        truth = Truth(own, f"true_label of {predictions.path}")
    elif data:
        return _of_data(predictions, data, datasets)
    else:
        raise CutisError(
            f"{predictions.path} has no true_label: give the true classes with --labels FILE or --data FOLDER"
        )
    if data and not all(known.lesion for known in truth.images.values()):
        held = _samples(predictions, data, datasets)
        filled = {
            name: known._replace(lesion=known.lesion or next((lesion for _, lesion, _ in held.get(name, ())), ""))
            for name, known in truth.images.items()
        }
        return truth._replace(images=filled)
    return truth


def read_labels(path: Path, classes: Classes) -> dict[str, Known]:
    """Image id -> class and lesion of a table; CutisError for an unknown class or an image in two."""
    rows = read_table(path)
    if not rows:
        raise CutisError(f"{path} holds no labels: give a table like HAM10000_metadata.csv (image_id, dx, lesion_id)")
    key, column = column_of(list(rows[0]), ID_COLUMNS), column_of(list(rows[0]), CLASS_COLUMNS)
    if key is None or column is None:
        raise CutisError(
            f"{path} needs the columns image_id and dx (or true_label): give one like HAM10000_metadata.csv"
        )
    lesion = column_of(list(rows[0]), (LESION,))
    found: dict[str, Known] = {}
    for row in rows:
        name = image_id(row[key])
        truth = classes.index(row[column], f"{path}: {name or 'a row without image id'}")
        known = found.setdefault(name, Known(truth, row[lesion] if lesion else ""))
        if known.truth != truth:
            two = " and ".join(classes.names[k] for k in (known.truth, truth))
            raise CutisError(f"{path}: {name} is both {two}: keep the right row")
    return found


def share_seen(lesions: Sequence[str], training: Path) -> tuple[int, int]:
    """(images whose lesion is in the metadata file `training`, all images); CutisError where a lesion is unknown."""
    if not all(lesions):
        raise CutisError(
            f"--train {training}: the lesion of {sum(not name for name in lesions)} predicted images is unknown; give "
            "--labels with lesion_id, or --data"
        )
    rows = read_table(training)
    column = column_of(list(rows[0]), (LESION,)) if rows else None
    if column is None:
        raise CutisError(f"{training} has no lesion_id: give the training images' rows of HAM10000_metadata.csv")
    seen = {row[column] for row in rows}
    return sum(name in seen for name in lesions), len(lesions)


def _exactly(predictions: Predictions, labels: Path) -> Truth:
    """Of a labels file, which must hold the predicted images and no others."""
    found, path = read_labels(labels, predictions.classes), predictions.path
    if unknown := set(predictions.ids) - found.keys():
        raise CutisError(
            f"{path}: {len(unknown)} images are unknown to {labels}: add their labels or remove their rows: "
            f"{names(list(unknown))}"
        )
    if absent := found.keys() - set(predictions.ids):
        raise CutisError(
            f"{path}: {len(absent)} images of {labels} are missing from it: add their predictions or remove their "
            f"labels: {names(list(absent))}"
        )
    return Truth({name: found[name] for name in predictions.ids}, str(labels))


def _own(predictions: Predictions, *, explained: bool) -> dict[str, Known] | None:
    """Of the predictions' own column true_label; None without one, or where it holds codes that nobody explained.

    `explained`: it is the only truth there is, so codes must be.
    """
    rows, classes = predictions.rows, predictions.classes
    column, lesion = (column_of(list(rows[0]), (name,)) for name in ("true_label", LESION))
    if column is None:
        return None
    unexplained = not classes.gave and all(row[column].isdecimal() for row in rows)
    if unexplained and not explained:
        return None
    return {
        name: Known(
            classes.index(row[column], f"{predictions.path}: {name}, column {column},"), row[lesion] if lesion else ""
        )
        for name, row in zip(predictions.ids, rows, strict=True)
    }


def _refuse_two_classes(
    predictions: Predictions, own: dict[str, Known] | None, found: dict[str, Known], labels: Path
) -> None:
    for name, known in (own or {}).items():
        if known.truth != found[name].truth:
            one, other = (predictions.classes.names[k.truth] for k in (known, found[name]))
            raise CutisError(
                f"{name} is {one} in {predictions.path} and {other} in {labels}: correct one (does --classes have the "
                "order of its codes?)"
            )


def _of_data(predictions: Predictions, data: Path, datasets: Sequence[str] | None) -> Truth:
    held, classes = _samples(predictions, data, datasets), predictions.classes
    known = {name.casefold() for name in classes.names}
    found: dict[str, Known] = {}
    for name in predictions.ids:
        every = held.get(name, [])
        fitting = [one for one in every if one[0].casefold() in known] or every
        for label, lesion, dataset in fitting[:1]:
            found[name] = Known(classes.index(label, f"{dataset} {name}"), lesion, dataset)
        if len({label.casefold() for label, _, _ in fitting}) > 1:
            two = " and ".join(f"{label} in {dataset}" for label, _, dataset in fitting)
            raise CutisError(f"{data}: {name} is {two}: name one of them with --dataset")
    left_out = tuple(sorted(name for name in predictions.ids if name not in found))
    if not found:
        raise CutisError(
            f"{data} has a class for none of the {len(left_out)} images of {predictions.path} ({names(left_out)}): "
            "give the data they are of, or --labels FILE"
        )
    return Truth(
        found, f"the labels of {', '.join(sorted({one.dataset for one in found.values()}))} in {data}", left_out
    )


def _samples(
    predictions: Predictions, data: Path, datasets: Sequence[str] | None
) -> dict[str, list[tuple[str, str, str]]]:
    """Predicted image -> (class, lesion, data set) of each data set under `data` that knows its class."""
    from cutis.data.catalogue import open_all

    opened = {dataset.name: dataset for dataset in open_all(data)}
    if unknown := [name for name in datasets or () if name not in opened]:
        raise CutisError(f"{data} holds no data set {unknown[0]!r}; it holds: {', '.join(opened)}")
    wanted = set(predictions.ids)
    found: dict[str, list[tuple[str, str, str]]] = {}
    for name in datasets or opened:
        of_lesions = any(sample.group != sample.id for sample in opened[name])
        for sample in opened[name]:
            if sample.id in wanted and sample.label:
                lesion = sample.group if of_lesions else ""
                found.setdefault(sample.id, []).append((sample.label, lesion, name))
    return found
