"""Images decoded once: letterboxed squares and masks of many samples in memory-mapped arrays, keyed by content.

The key is a hash of every image's and mask's bytes and of the framing, so that a changed file, sample list or size
makes a new cache and an old one is never taken for it. The folder appears under its name only when it is whole; what a
build that was killed left is removed by a later one. Colour steps are not stored: they follow the letterbox in
`Preprocessing.recolour`, before augmentation.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cutis.data.samples import Sample
from cutis.errors import CutisError
from cutis.imaging.frame import Frame, letterbox
from cutis.imaging.read import read_image, read_mask

__all__ = ["SegmentationCache", "open_cache", "uniform"]

_FORMAT = 1
_ABANDONED_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class SegmentationCache:
    """N samples: `images` (N, S, S, 3) uint8 RGB, `masks` (N, S, S) uint8 of 0 and 1, `frames` one a sample.

    The arrays are memory-mapped where they are first used, so that sending a cache to a worker process sends no pixels.
    """

    key: str
    home: Path
    samples: tuple[Sample, ...]
    frames: tuple[Frame, ...]

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        return np.load(self.home / "images.npy", mmap_mode="r")

    @cached_property
    def masks(self) -> NDArray[np.uint8]:
        return np.load(self.home / "masks.npy", mmap_mode="r")

    def __reduce__(self) -> tuple[type, tuple]:
        return SegmentationCache, (self.key, self.home, self.samples, self.frames)


def open_cache(
    samples: Sequence[Sample], size: int, folder: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> SegmentationCache:
    """Open the cache of `samples` (each with a mask) letterboxed to `size`; build it under `folder` if it is not there.

    Raises CutisError naming the first sample without a mask, with an unreadable file, or whose mask has another size.
    """
    for sample in samples:
        if sample.mask is None:
            raise CutisError(
                f"{sample.dataset} {sample.id} has no mask: run 'cutis data check' and leave it out or add the mask"
            )
    key = _key(samples, size)
    home = folder / f"segmentation-{size}-{key[:16]}"
    if not home.is_dir():
        _build(samples, size, home, key, progress)
    facts = json.loads((home / "index.json").read_text(encoding="utf-8"))
    if facts["key"] != key or facts["format"] != _FORMAT:
        raise CutisError(f"{home} is a cache of another content or format: delete it")
    return SegmentationCache(key, home, tuple(samples), tuple(Frame(*frame) for frame in facts["frames"]))


def uniform(cache: SegmentationCache) -> tuple[list[Sample], list[Sample]]:
    """Samples whose mask covers the whole picture, and those whose mask covers nothing, at the cache's size."""
    full, empty = [], []
    for sample, frame, mask in zip(cache.samples, cache.frames, cache.masks, strict=True):
        inside = frame.crop(mask)
        if inside.all():
            full.append(sample)
        elif not inside.any():
            empty.append(sample)
    return full, empty


def _build(samples: Sequence[Sample], size: int, home: Path, key: str, progress: Callable[[int, int], None]) -> None:
    _remove_abandoned(home)
    temporary = home.with_name(f".{home.name}.building-{uuid.uuid4().hex}")
    temporary.mkdir(parents=True)
    try:
        images = _array(temporary / "images.npy", (len(samples), size, size, 3))
        masks = _array(temporary / "masks.npy", (len(samples), size, size))
        frames: list[Frame] = []
        with ThreadPoolExecutor() as pool:
            for index, (image, mask, frame) in enumerate(pool.map(lambda sample: _decode(sample, size), samples)):
                images[index], masks[index] = image, mask
                frames.append(frame)
                progress(index + 1, len(samples))
        images.flush()
        masks.flush()
        facts = {"format": _FORMAT, "key": key, "ids": [s.id for s in samples], "frames": [list(f) for f in frames]}
        (temporary / "index.json").write_text(json.dumps(facts), encoding="utf-8")
        del images, masks  # Windows moves no folder with open files in it
        try:
            temporary.rename(home)
        except OSError:
            if not home.is_dir():  # else another process built the same content meanwhile
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_abandoned(home: Path) -> None:
    """Builds of the same content that were killed: older than a day, by when they were begun."""
    for folder in home.parent.glob(f".{home.name}.building-*"):
        if time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _decode(sample: Sample, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Frame]:
    picture = read_image(sample.image).pixels
    mask = read_mask(sample.mask) if sample.mask else np.zeros(picture.shape[:2], bool)
    if mask.shape != picture.shape[:2]:
        raise CutisError(
            f"{sample.mask} is {mask.shape[1]}x{mask.shape[0]} but its image is {picture.shape[1]}x{picture.shape[0]}: "
            "give a mask of the image's size"
        )
    square, frame = letterbox(picture, size)
    return square, (letterbox(mask.astype(np.uint8) * 255, size)[0] >= 128).astype(np.uint8), frame


def _array(path: Path, shape: tuple[int, ...]) -> np.memmap:
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)


def _key(samples: Sequence[Sample], size: int) -> str:
    """Hash of what the cache holds: every file's bytes, in order, and how they are framed."""
    with ThreadPoolExecutor() as pool:
        digests = pool.map(_digest, [path for s in samples for path in (s.image, s.mask) if path])
        whole = hashlib.blake2b(f"{_FORMAT}:{size}".encode(), digest_size=20)
        for digest in digests:
            whole.update(digest)
    return whole.hexdigest()


def _digest(path: Path) -> bytes:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=20).digest()
    except OSError as error:
        raise CutisError(f"{path} cannot be read ({error.strerror}): run 'cutis data check' on its folder") from error
