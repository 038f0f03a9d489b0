"""What a promptable model saw in every image, on disk: float16, memory-mapped, made once and checked ever after.

Knowledge mining, Sec. 2.4: with it, a pseudo-label costs the mask decoder only. A folder: `manifest.json` (all that
decides the content), `embedding.npy` (N, K, h, w) float16, `done.npy` (N,) bool: whether an image's values are on the
disk, written after them, so that a cache that was cut off is completed by asking again.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from cutis.data.cache import SegmentationCache
from cutis.errors import CutisError
from cutis.files import atomic_write
from cutis.imaging.preprocessing import Preprocessing
from cutis.teachers.base import squares
from cutis.teachers.cache import empty_array, only_writer
from cutis.teachers.promptable import Promptable

__all__ = ["EmbeddingCache", "open_embeddings"]

_FORMAT = 1
_LARGEST = float(np.finfo(np.float16).max)


class _Manifest(BaseModel):
    """`images` is the key of the `SegmentationCache` that positions refer to; `shape` is one embedding's."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: int
    promptable: str
    fingerprint: str
    preprocessing: Preprocessing
    images: str
    count: int
    shape: tuple[int, int, int]

    @property
    def key(self) -> str:
        content = self.model_dump_json(exclude={"promptable"})  # a name decides nothing
        return hashlib.blake2b(content.encode(), digest_size=20).hexdigest()


@dataclass(frozen=True)
class EmbeddingCache:
    """`embedding` (N, K, h, w) float16 by position in the images' cache, mapped where it is first used, so that a
    worker process is sent no values."""

    home: Path

    @cached_property
    def embedding(self) -> NDArray[np.float16]:
        return np.load(self.home / "embedding.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self.embedding)

    def __reduce__(self) -> tuple[type, tuple]:
        return EmbeddingCache, (self.home,)


def open_embeddings(
    promptable: Promptable, images: SegmentationCache, folder: Path, *, batch: int, device: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> EmbeddingCache:  # fmt: skip
    """The embeddings of all `images`, below `folder`: opened where they are there, made or completed where not.

    Raises CutisError where another process writes them, the disk is too small, or an embedding has no numbers.
    """
    first = _embedded(promptable, images, [0], device)
    manifest = _Manifest(
        format=_FORMAT, promptable=promptable.name, fingerprint=promptable.fingerprint,
        preprocessing=promptable.preprocessing, images=images.key, count=len(images), shape=tuple(first.shape[1:]),
    )  # fmt: skip
    name = re.sub(r"[^a-z0-9]+", "-", promptable.name.lower()).strip("-")[:32]
    home = folder / f"embeddings-{name}-{manifest.key[:16]}"
    with only_writer(home):
        _begin(home, manifest)
        done, values = (np.load(home / f"{name}.npy", mmap_mode="r+") for name in ("done", "embedding"))
        todo = np.flatnonzero(~done)
        for start in range(0, len(todo), batch):
            positions = todo[start : start + batch].tolist()
            found = _embedded(promptable, images, positions, device).float().clamp(-_LARGEST, _LARGEST)
            for position, finite in zip(positions, found.flatten(1).isfinite().all(1).tolist(), strict=True):
                if not finite:
                    sample = images.samples[position]
                    raise CutisError(f"{promptable.name} has no numbers for {sample.dataset} {sample.id}")
            values[positions] = found.half().cpu().numpy()
            values.flush()
            done[positions] = True
            done.flush()
            progress(len(images) - len(todo) + start + len(positions), len(images))
    return EmbeddingCache(home)


def _embedded(promptable: Promptable, images: SegmentationCache, positions: list[int], device: str) -> Tensor:
    return promptable.embed(squares(images, positions, promptable.preprocessing, device))


def _begin(home: Path, manifest: _Manifest) -> None:
    path = home / "manifest.json"
    if path.exists():
        try:
            before = _Manifest.model_validate_json(path.read_text(encoding="utf-8"))
            sound = before.key == manifest.key and _sound(home, manifest)
        except (OSError, ValueError, ValidationError) as error:
            reason = " ".join(str(error).split())[:120]
            raise CutisError(f"{home} cannot be read ({reason}): delete the folder") from error
        if not sound:
            raise CutisError(f"{home} holds something else than its manifest says: delete the folder")
        return
    shape = (manifest.count, *manifest.shape)
    size, free = 2 * int(np.prod(shape)), shutil.disk_usage(home).free
    if size > free:
        raise CutisError(
            f"{manifest.count} embeddings need {size / 1e9:.1f} GB and {home} has {free / 1e9:.1f} GB free: give "
            "another --cache"
        )
    empty_array(home / "embedding.npy", shape, np.float16)
    empty_array(home / "done.npy", shape[:1], np.bool_)
    atomic_write(path, manifest.model_dump_json(indent=1))


def _sound(home: Path, manifest: _Manifest) -> bool:
    values, done = (np.load(home / f"{name}.npy", mmap_mode="r") for name in ("embedding", "done"))
    shapes = values.shape == (manifest.count, *manifest.shape) and done.shape == (manifest.count,)
    return shapes and values.dtype == np.float16 and done.dtype == np.bool_
