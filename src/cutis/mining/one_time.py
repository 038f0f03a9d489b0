"""One-time pseudo-labels: made once after the supervised phase, kept as files that can be looked at and used again.

Knowledge mining, Sec. 2.4. A folder: `manifest.json` (all that decides the content), `masks/DATASET/ID.png` (the
picture without its letterbox, at the run's resolution), and `labels.csv`, a row an image: how many objects were asked
about, where each prompt was (in pixels of the promptable's square), the promptable's score, the agreement with the
small network, and, where the truth is known, the Dice of the pseudo-label and of the small network. An image in which
the small network finds nothing has a row and no mask. Rows are written after their masks, so that a folder that was cut
off is completed by asking again. Gates are not part of it: they are applied by whoever reads.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from cutis.data.batches import Key, SegmentationSet
from cutis.data.cache import SegmentationCache
from cutis.data.samples import Sample
from cutis.errors import CutisError
from cutis.files import atomic_write
from cutis.imaging.preprocessing import Preprocessing
from cutis.imaging.read import read_mask, write_mask
from cutis.mining.prompts import Asked
from cutis.mining.pseudo_labels import Mined, agreement, mined, resized
from cutis.mining.settings import Gates, PromptSettings
from cutis.teachers.promptable import Promptable

__all__ = ["Label", "LabelManifest", "OneTimeLabels", "make_labels", "open_labels", "plain_logits"]

_FORMAT = 1


class LabelManifest(BaseModel):
    """All that decides the pseudo-labels: the images and how they are framed, who predicted, who answered, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: int = _FORMAT
    images: str
    positions: tuple[int, ...]
    student: str
    teacher: str
    fingerprint: str
    prompts: PromptSettings
    seed: int


@dataclass(frozen=True)
class Label:
    """A row of labels.csv. `points`: "x y; x y | x y", objects parted by bars; `boxes`: "x0 y0 x1 y1 | ...". `score`,
    `agreement`, `dice` and `student_dice` are NaN where there is none."""

    dataset: str
    id: str
    objects: int
    points: str
    boxes: str
    score: float
    agreement: float
    dice: float
    student_dice: float

    @property
    def mask(self) -> Path:
        """Where its mask lies in the folder, if it has one."""
        return Path("masks") / self.dataset / f"{self.id}.png"


@dataclass(frozen=True)
class OneTimeLabels:
    """The pseudo-labels of the images of `cache` at `manifest.positions`, and their rows in that order."""

    home: Path
    manifest: LabelManifest
    cache: SegmentationCache
    labels: tuple[Label, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def empty(self) -> int:
        """In how many images nothing was found, so that nothing was asked."""
        return sum(row.objects == 0 for row in self.labels)

    def used(self, gates: Gates) -> NDArray[np.bool_]:
        """(N,) of all images of the cache: something was asked, and no gate refuses the answer."""
        found = np.zeros(len(self.cache), bool)
        for where, row in zip(self.manifest.positions, self.labels, strict=True):
            found[where] = row.objects > 0 and gates.passed(row.score, row.agreement)
        return found

    def square(self, where: int) -> NDArray[np.uint8]:
        """(S, S) of 0 and 1: the mask of the image at this place in the cache, in its letterbox; empty where nothing
        was asked."""
        row, frame = self.labels[self.manifest.positions.index(where)], self.cache.frames[where]
        square = np.zeros((frame.size, frame.size), np.uint8)
        if row.objects:
            path = self.home / row.mask
            mask, inner = read_mask(path), frame.crop(square)
            if mask.shape != inner.shape:
                raise CutisError(f"{path} is {mask.shape}, {inner.shape} is expected: delete {self.home}")
            inner[...] = mask
        return square


def make_labels(
    student: nn.Module, preprocessing: Preprocessing, promptable: Promptable, embed: Callable[[Sequence[int]], Tensor],
    cache: SegmentationCache, home: Path, manifest: LabelManifest, *, batch: int, device: str,
    progress: Callable[[int, int], None],
) -> OneTimeLabels:  # fmt: skip
    """Make the pseudo-labels that `manifest` describes in `home`, or complete them, or take them if they are whole.

    `embed` gives the promptable's embeddings of the images at these positions of the cache. CutisError where `home`
    holds other pseudo-labels.
    """
    path = home / "manifest.json"
    if path.exists():
        if _manifest(path) != manifest:
            raise CutisError(
                f"{home} holds pseudo-labels of other images, networks or prompts: delete it, or name another"
            )
    else:
        atomic_write(path, manifest.model_dump_json(indent=1))
    rows = {(row.dataset, row.id): row for row in _rows(home)}
    places = manifest.positions
    todo = [where for where in places if (cache.samples[where].dataset, cache.samples[where].id) not in rows]
    for start in range(0, len(todo), batch):
        some = todo[start : start + batch]
        logits = plain_logits(student, preprocessing, cache, some, device)
        rngs = [np.random.default_rng((manifest.seed, where)) for where in some]
        said = mined(promptable, embed(some).to(device), logits, manifest.prompts, rngs)
        for row in _kept(said, logits, cache, some, home):
            rows[row.dataset, row.id] = row
        _write(home, rows.values())
        progress(len(places) - len(todo) + start + len(some), len(places))
    return open_labels(home, cache)


def open_labels(home: Path, cache: SegmentationCache) -> OneTimeLabels:
    """The pseudo-labels in `home`, of images of `cache`; CutisError where they are of others, or not complete."""
    manifest = _manifest(home / "manifest.json")
    if manifest.images != cache.key:
        raise CutisError(f"{home} holds pseudo-labels of other images than these: make them anew")
    rows = {(row.dataset, row.id): row for row in _rows(home)}
    samples = [cache.samples[where] for where in manifest.positions]
    missing = [sample for sample in samples if (sample.dataset, sample.id) not in rows]
    if missing:
        raise CutisError(
            f"{home} was cut off: {len(missing)} of {len(samples)} pseudo-labels are missing; go on with --resume"
        )
    return OneTimeLabels(home, manifest, cache, tuple(rows[sample.dataset, sample.id] for sample in samples))


@torch.no_grad()
def plain_logits(
    network: nn.Module, preprocessing: Preprocessing, cache: SegmentationCache, positions: Sequence[int], device: str
) -> Tensor:
    """(B, 1, S, S) float32: what `network`, in evaluation mode, says of the images at `positions`, as they are."""
    pictures = SegmentationSet(cache, preprocessing, None)
    image = pictures.collate([pictures[Key(where, preprocessing.size, -1)] for where in positions]).image
    return network.eval().to(device)(image.to(device)).float()


def _kept(
    said: Mined, logits: Tensor, cache: SegmentationCache, positions: Sequence[int], home: Path
) -> Iterator[Label]:
    """Write the masks, then yield the rows."""
    side = cache.images.shape[1]
    found = {"dice": resized(said.logits, side) > 0, "student_dice": resized(logits, side) > 0}
    for index, where in enumerate(positions):
        sample, frame = cache.samples[where], cache.frames[where]
        inner = {
            name: torch.from_numpy(frame.crop(mask[index, 0].cpu().numpy()))[None, None] for name, mask in found.items()
        }
        fit = dict.fromkeys(inner, math.nan)
        if sample.mask is not None:
            truth = torch.from_numpy(frame.crop(np.asarray(cache.masks[where])) > 0)[None, None]
            fit = {name: float(agreement(mask, truth)) for name, mask in inner.items()}
        objects = int(said.objects[index])
        agreed = float(agreement(inner["dice"], inner["student_dice"])) if objects else math.nan
        if not objects:
            fit["dice"] = math.nan
        row = _row(sample, said.asked, index, objects, float(said.score[index]), agreed, fit)
        if objects:
            write_mask(home / row.mask, inner["dice"][0, 0].numpy())
        yield row


def _row(
    sample: Sample, asked: Asked | None, index: int, objects: int, score: float, agreed: float, fit: dict[str, float]
) -> Label:
    points, boxes = [], []
    if asked is not None:
        mine = (asked.image == index).cpu()
        prompts = asked.prompts
        for places, kinds in zip(prompts.points.cpu()[mine].tolist(), prompts.labels.cpu()[mine].tolist(), strict=True):
            points.append("; ".join(_numbers(xy) for xy, kind in zip(places, kinds, strict=True) if kind == 1))
        boxes = [] if prompts.boxes is None else [_numbers(box) for box in prompts.boxes.cpu()[mine].tolist()]
    rest = {name: round(value, 4) for name, value in fit.items()}
    return Label(
        sample.dataset, sample.id, objects, " | ".join(points), " | ".join(boxes), round(score, 4), round(agreed, 4),
        **rest,
    )  # fmt: skip


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.2f}".rstrip("0").rstrip(".") for value in values)


def _write(home: Path, rows: Any) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([field.name for field in fields(Label)])
    table.writerows(asdict(row).values() for row in rows)
    atomic_write(home / "labels.csv", text.getvalue())


def _rows(home: Path) -> list[Label]:
    path = home / "labels.csv"
    if not path.exists():
        return []
    kinds: dict[str, Callable[[str], Any]] = {field.name: str for field in fields(Label)[:5]}
    kinds |= {field.name: float for field in fields(Label)[5:]} | {"objects": int}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return [Label(**{name: kind(row[name]) for name, kind in kinds.items()}) for row in csv.DictReader(stream)]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise CutisError(f"{path} is not as it was written ({error!r}): delete {home}") from error


def _manifest(path: Path) -> LabelManifest:
    try:
        return LabelManifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        reason = getattr(error, "strerror", None) or "not as it was written"
        raise CutisError(f"{path} cannot be read ({reason}): it is no folder of pseudo-labels") from error
