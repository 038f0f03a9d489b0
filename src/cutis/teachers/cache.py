"""What a teacher said of every training image, on disk: float16, memory-mapped, made once and checked ever after.

A folder: `manifest.json` (all that decides the content), `projection.npz`, `logits.npy` (N, 1, s, s) and
`embedding.npy` (N, C, s, s) in float16, `dice.npy` (N,) float32: how well each answer fits the image's mask, and NaN
where there is no answer yet. An answer's Dice is written when the answer is on the disk, so that a cache that was cut
off is completed by asking again; one process at a time writes, the system's own file lock sees to it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor
from torch.nn import functional as F

from cutis.data.cache import SegmentationCache
from cutis.data.taught_batches import Taught, inside
from cutis.errors import CutisError
from cutis.files import atomic_path, atomic_write
from cutis.imaging.preprocessing import Preprocessing
from cutis.teachers.base import Source
from cutis.teachers.projection import Projection, ProjectionFit

__all__ = ["Manifest", "TeacherCache", "describe", "empty_array", "fill", "only_writer", "open_teacher_cache"]

_FORMAT = 1
_LOGIT = 100.0  # beyond it a probability is 0 or 1, and float16 has an end


class Manifest(BaseModel):
    """All that decides the content of a teacher's cache.

    `images` is the key of the `SegmentationCache` that positions refer to; `side` and `channels` are those of the maps
    that are kept; the projection was fitted on `fitted_on` images and, where `aligned_to` is given, to that cache.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: int
    teacher: str
    fingerprint: str
    preprocessing: Preprocessing
    images: str
    count: int
    side: int
    channels: int
    fitted_on: int
    aligned_to: str | None

    @property
    def key(self) -> str:
        """Hash of it all."""
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=20).hexdigest()

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self.count * ((1 + self.channels) * self.side**2 * 2 + 4)

    def home(self, folder: Path) -> Path:
        """Where a cache of this content lies below `folder`, unless another place is named."""
        return folder / f"teacher-{re.sub(r'[^a-z0-9]+', '-', self.teacher.lower()).strip('-')[:40]}-{self.key[:16]}"


@dataclass(frozen=True)
class TeacherCache:
    """`logits` (N, 1, s, s), `embedding` (N, C, s, s), both float16 and indexed by position in the images' cache, and
    `dice` (N,) of the answers; memory-mapped where first used, so that a worker process is sent no values."""

    home: Path
    manifest: Manifest

    def __len__(self) -> int:
        return self.manifest.count

    @cached_property
    def logits(self) -> NDArray[np.float16]:
        return np.load(self.home / "logits.npy", mmap_mode="r")

    @cached_property
    def embedding(self) -> NDArray[np.float16]:
        return np.load(self.home / "embedding.npy", mmap_mode="r")

    @cached_property
    def dice(self) -> NDArray[np.float32]:
        return np.load(self.home / "dice.npy")

    @cached_property
    def projection(self) -> Projection:
        return Projection.load(self.home / "projection.npz")

    def __reduce__(self) -> tuple[type, tuple]:
        return TeacherCache, (self.home, self.manifest)


def describe(
    source: Source, cache: SegmentationCache, *, side: int, channels: int, fitted_on: int, align: TeacherCache | None
) -> Manifest:
    """What the cache of `source` over the images of `cache` will be: its place, its size, its key."""
    if align is not None:
        _same_images(align, cache)
        if (align.manifest.side, align.manifest.channels) != (side, channels):
            raise CutisError(
                f"{align.home} has {align.manifest.channels} channels on {align.manifest.side}x{align.manifest.side}, "
                f"{channels} on {side}x{side} are wanted: to be aligned both must be alike"
            )
    return Manifest(
        format=_FORMAT, teacher=source.name, fingerprint=source.fingerprint, preprocessing=source.preprocessing,
        images=cache.key, count=len(cache), side=side, channels=channels, fitted_on=min(fitted_on, len(cache)),
        aligned_to=align.manifest.key if align else None,
    )  # fmt: skip


def open_teacher_cache(folder: Path, cache: SegmentationCache, fingerprint: str | None = None) -> TeacherCache:
    """The teacher's cache in `folder`, of the images of `cache`; `fingerprint`: of this teacher and no other.

    Raises CutisError where it is another's, of other images, of other shapes than it says, or not complete.
    """
    found = TeacherCache(folder, _read(folder))
    _same_images(found, cache)
    if fingerprint is not None and fingerprint != found.manifest.fingerprint:
        raise CutisError(
            f"{folder} holds the answers of another teacher: {found.manifest.teacher} "
            f"{found.manifest.fingerprint[:12]}, not {fingerprint[:12]}; make one with 'cutis teach'"
        )
    missing = int(np.isnan(_sound(found).dice).sum())
    if missing:
        raise CutisError(
            f"{folder} was cut off: {missing} of {len(found)} answers are missing; give the same 'cutis teach' again"
        )
    return found


def fill(
    source: Source,
    cache: SegmentationCache,
    home: Path,
    manifest: Manifest,
    *,
    align: TeacherCache | None,
    batch: int,
    progress: Callable[[str, int, int], None],
) -> TeacherCache:
    """Make the cache that `describe` described in `home`, or complete it; `progress` is told what, done, of how many.

    Raises CutisError where `home` holds another content (by name of what differs), another process writes it, the
    disk is too small, or the teacher's answers have another shape than they should.
    """
    with only_writer(home):
        _begin(home, manifest)
        made = _sound(TeacherCache(home, manifest))
        ask = _Asking(source, cache, manifest)
        todo = np.flatnonzero(np.isnan(made.dice))
        if len(todo) and not (home / "projection.npz").exists():
            _fitted(ask, align, batch, progress).save(home / "projection.npz")
        logits, embedding, dice = (np.load(home / f"{n}.npy", mmap_mode="r+") for n in ("logits", "embedding", "dice"))
        for start in range(0, len(todo), batch):
            positions = todo[start : start + batch].tolist()
            answer, fit = ask(positions)
            logits[positions] = answer.logits.clamp(-_LOGIT, _LOGIT).half().cpu().numpy()
            embedding[positions] = made.projection.apply(answer.embedding).half().cpu().numpy()
            logits.flush()
            embedding.flush()
            dice[positions] = fit
            dice.flush()
            progress("asking the teacher", len(cache) - len(todo) + start + len(positions), len(cache))
    return TeacherCache(home, manifest)  # anew: what was read before is of before


class _Asking:
    """The source's answers at the size that is kept, checked, each with its Dice against the image's mask."""

    def __init__(self, source: Source, cache: SegmentationCache, manifest: Manifest) -> None:
        self.source, self.cache, self.manifest = source, cache, manifest

    def __call__(self, positions: Sequence[int]) -> tuple[Taught, NDArray[np.float32]]:
        answer = self.source.at(positions)
        self._check(answer, len(positions))
        for position, finite in zip(positions, [torch.isfinite(e).all() for e in answer.embedding], strict=True):
            if not finite:
                sample = self.cache.samples[position]
                raise CutisError(f"{self.source.name} has no numbers for an answer to {sample.dataset} {sample.id}")
        masks = np.stack([self.cache.masks[position] for position in positions])
        pictures = torch.stack([inside(self.cache.frames[position], masks.shape[-1]) for position in positions])
        fit = _dice(answer.logits, masks, pictures.numpy() > 0)
        return Taught(*(_resized(part.float(), self.manifest.side) for part in answer)), fit

    def _check(self, answer: Taught, count: int) -> None:
        shapes = tuple(answer.logits.shape), tuple(answer.embedding.shape)
        if len(shapes[0]) != 4 or shapes[0][:2] != (count, 1):
            raise CutisError(f"{self.source.name} gives logits of {shapes[0]}: ({count}, 1, h, w) is expected")
        if len(shapes[1]) != 4 or shapes[1][0] != count or shapes[1][1] < self.manifest.channels:
            raise CutisError(
                f"{self.source.name} gives an embedding of {shapes[1]}: ({count}, K, h, w) is expected with K at least "
                f"the {self.manifest.channels} channels it is projected to; name another layer, or fewer --channels"
            )


def _fitted(
    ask: _Asking, align: TeacherCache | None, batch: int, progress: Callable[[str, int, int], None]
) -> Projection:
    manifest, frames = ask.manifest, ask.cache.frames
    chosen = np.linspace(0, manifest.count - 1, manifest.fitted_on).round().astype(int).tolist()
    fit = ProjectionFit()
    for start in range(0, len(chosen), batch):
        positions = chosen[start : start + batch]
        seen = torch.stack([inside(frames[position], manifest.side) for position in positions]) > 0
        pixels = ask(positions)[0].embedding.permute(0, 2, 3, 1)[seen]
        other = torch.from_numpy(align.embedding[positions]).permute(0, 2, 3, 1)[seen] if align else None
        fit.add(pixels, other)
        progress("fitting its projection", start + len(positions), len(chosen))
    return fit.fit(manifest.channels)


def _resized(maps: Tensor, side: int) -> Tensor:
    if maps.shape[-2:] == (side, side):
        return maps
    return F.interpolate(maps, (side, side), mode="bilinear", align_corners=False, antialias=True)


def _dice(logits: Tensor, masks: NDArray[np.uint8], pictures: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(B, 1, h, w) logits, (B, S, S) masks, where the pictures are in their squares -> (B,): Dice of what is above a
    half, 1 if both are empty."""
    found = (_resized(logits.float(), masks.shape[-1]) > 0).squeeze(1).cpu().numpy() & pictures
    both, either = (found & (masks > 0)).sum((1, 2)), found.sum((1, 2)) + masks.astype(np.int64).sum((1, 2))
    return np.where(either > 0, 2 * both / np.maximum(either, 1), 1).astype(np.float32)


def _begin(home: Path, manifest: Manifest) -> None:
    """The folder with its arrays, empty, unless it is there; refused by name where it holds something else."""
    if (home / "manifest.json").exists():
        _refuse(home, _read(home), manifest)
        return
    free = shutil.disk_usage(home).free
    if manifest.size > free:
        raise CutisError(f"{home} needs {manifest.size / 1e9:.1f} GB, {free / 1e9:.1f} GB are free: name another disk")
    count, side = manifest.count, manifest.side
    empty_array(home / "logits.npy", (count, 1, side, side), np.float16)
    empty_array(home / "embedding.npy", (count, manifest.channels, side, side), np.float16)
    with atomic_path(home / "dice.npy") as temporary:
        np.save(temporary, np.full(count, np.nan, np.float32))
    atomic_write(home / "manifest.json", manifest.model_dump_json(indent=1))  # last: what it names is there


def empty_array(path: Path, shape: tuple[int, ...], kind: type) -> None:
    """A .npy file of zeros, to be filled through a memory map."""
    with atomic_path(path) as temporary:
        np.lib.format.open_memmap(temporary, mode="w+", dtype=kind, shape=shape).flush()


def _read(home: Path) -> Manifest:
    try:
        return Manifest.model_validate_json((home / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        reason = getattr(error, "strerror", None) or "its manifest.json is not one"
        raise CutisError(f"{home} is not a teacher's cache ({reason}): make one with 'cutis teach'") from error


_NAMES = {
    "format": "format of cache", "teacher": "teacher", "fingerprint": "teacher (other weights, layer or prompts)",
    "preprocessing": "preprocessing", "images": "image set", "count": "image set", "side": "shape",
    "channels": "shape", "fitted_on": "projection (fitted on another number of images)",
    "aligned_to": "projection (aligned to another teacher)",
}  # fmt: skip


def _refuse(home: Path, there: Manifest, here: Manifest) -> None:
    for field, what in _NAMES.items():
        old, new = getattr(there, field), getattr(here, field)
        if old != new:
            raise CutisError(
                f"{home} holds another {what}: {field} {_short(old)} there, {_short(new)} here; give another --output, "
                "or delete it"
            )


def _short(value: object) -> str:
    text = value.model_dump_json() if isinstance(value, BaseModel) else str(value)
    return text if isinstance(value, BaseModel) or len(text) < 40 else text[:12]


def _same_images(found: TeacherCache, cache: SegmentationCache) -> None:
    if found.manifest.images != cache.key:
        raise CutisError(
            f"{found.home} is of another image set ({found.manifest.count} images, {found.manifest.images[:12]}) than "
            f"this ({len(cache)} images, {cache.key[:12]}): make one of these with 'cutis teach'"
        )


def _sound(found: TeacherCache) -> TeacherCache:
    """Refused where its arrays are not of the shape that its manifest says."""
    facts = found.manifest
    maps = (facts.side, facts.side)
    for name, expected in (("logits", (facts.count, 1, *maps)), ("embedding", (facts.count, facts.channels, *maps))):
        try:
            array = np.load(found.home / f"{name}.npy", mmap_mode="r")
        except (OSError, ValueError) as error:
            raise CutisError(f"{found.home / f'{name}.npy'} cannot be read ({error}): delete the folder") from error
        if array.shape != expected or array.dtype != np.float16:
            raise CutisError(
                f"{found.home / f'{name}.npy'} is {array.shape} of {array.dtype}, its manifest says {expected} of "
                "float16: delete the folder"
            )
    return found


@contextmanager
def only_writer(home: Path) -> Iterator[None]:
    """Hold the folder's lock; CutisError where another process has it."""
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home / ".writer.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise CutisError(f"another process is writing {home}: wait for it, or give another --output") from error
    try:
        yield
    finally:
        lock.release()
