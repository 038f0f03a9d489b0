"""What was labelled, written down: labels.csv (worst first), coco.json with run lengths, worst.jpg; each whole or not
at all.

COCO's annotations have `iscrowd` 1, which is how that format says that a mask comes as run lengths; `score` and
`source` are ours, and programs that do not know them pass them over. Images stand in the order of labels.csv.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cutis.analysis.overlay import encode_jpeg
from cutis.errors import CutisError
from cutis.evaluation.worst import contact_sheet, draw_case
from cutis.files import atomic_path, atomic_write
from cutis.imaging.read import read_image, read_mask
from cutis.label.one import Row
from cutis.label.rle import run_lengths

__all__ = ["read_labels", "worst_first", "write_coco", "write_labels", "write_worst"]

SIDE, COLUMNS, TILES = 320, 4, 24


def worst_first(rows: Iterable[Row]) -> list[Row]:
    """What failed, what was predicted from the least to the most sure, and your own masks at the end."""
    order = {"failed": 0, "given": 2}
    return sorted(rows, key=lambda row: (order.get(row.source, 1), _number(row.confidence), row.file))


def write_labels(path: Path, rows: Iterable[Row]) -> None:
    """A line an image; NaN is an empty cell."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([field.name for field in fields(Row)])
    table.writerows(["" if value != value else value for value in asdict(row).values()] for row in rows)
    atomic_write(path, text.getvalue())


def read_labels(path: Path) -> list[Row]:
    """The rows that `write_labels` wrote; none where there is no such file."""
    kinds: dict[str, Any] = {"str": str, "Source": str, "float": lambda text: float(text or "nan"), "int": int}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            lines = list(csv.DictReader(stream))
        return [Row(**{f.name: kinds[str(f.type)](line[f.name]) for f in fields(Row)}) for line in lines]
    except FileNotFoundError:
        return []
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise CutisError(f"{path} is not as 'cutis label' wrote it ({error!r}): leave --resume out") from error


def write_coco(path: Path, rows: Sequence[Row], category: str, info: dict[str, Any]) -> None:
    """COCO's object detection format: every image that could be read, and one object for each that has one."""
    usable = [row for row in rows if row.source != "failed"]
    images = [
        {"id": number, "file_name": row.file, "width": row.width, "height": row.height}
        for number, row in enumerate(usable, 1)
    ]
    head = {"info": info, "licenses": [], "categories": [{"id": 1, "name": category}], "images": images}
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "annotations": [')  # one mask at a time in memory
        for number, annotation in enumerate(_annotations(usable, path.parent)):
            stream.write((",\n" if number else "\n") + json.dumps(annotation))
        stream.write("\n]}\n")


def write_worst(path: Path, rows: Sequence[Row], images: Path) -> None:
    """The predictions that are least sure, outlined on their pictures; no file where nothing was predicted."""
    tiles = []
    for row in [row for row in rows if row.source not in ("failed", "given")][:TILES]:
        picture = read_image(images / row.file, min_side=SIDE).pixels
        size = (picture.shape[1], picture.shape[0])
        mask = cv2.resize(read_mask(path.parent / row.mask).view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        caption = f"{row.confidence:.3f}  {row.file}"
        tiles.append(draw_case(picture, np.zeros(mask.shape, bool), mask.astype(bool), caption, side=SIDE))
    if tiles:
        atomic_write(path, encode_jpeg(contact_sheet(tiles, columns=COLUMNS), 88))


def _annotations(rows: Sequence[Row], home: Path) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows, 1):
        if row.found:
            mask = read_mask(home / row.mask)
            known = {} if math.isnan(row.confidence) or row.source == "given" else {"score": row.confidence}
            yield {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "segmentation": {"size": [row.height, row.width], "counts": run_lengths(mask)},
                "bbox": _box(mask),
                "area": int(np.count_nonzero(mask)),
                "iscrowd": 1,
                "source": row.source,
                **known,
            }


def _box(mask: NDArray[np.bool_]) -> list[int]:
    """x, y, width, height."""
    return [int(value) for value in cv2.boundingRect(mask.view(np.uint8))]


def _number(value: float) -> float:
    return math.inf if math.isnan(value) else value
