"""Images decoded once: letterboxed squares and masks of many samples in memory-mapped arrays, keyed by content.

The key is a hash of every image's and mask's bytes and of the framing, so that a changed file, sample list or size
makes a new cache and an old one is never taken for it. The folder appears under its name only when it is whole; what a
build that was killed left is removed by a later one. Colour steps are not stored: they follow the letterbox in
`Preprocessing.recolour`, before augmentation; `recoloured` stores them beside, where they are slow (hair removal).
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
from cutis.imaging.preprocessing import Preprocessing
from cutis.imaging.read import read_image, read_mask

__all__ = ["SegmentationCache", "content_key", "derived", "open_cache", "recoloured", "uniform"]

_FORMAT = 1
_ABANDONED_SECONDS = 24 * 3600.0
Square = tuple[NDArray[np.uint8], NDArray[np.uint8], Frame]


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


def _nothing(done: int, total: int) -> None:
    """Progress that nobody reads."""


def open_cache(
    samples: Sequence[Sample],
    size: int,
    folder: Path,
    progress: Callable[[int, int], None] = _nothing,
    *,
    masks: bool = True,
) -> SegmentationCache:
    """Open the cache of `samples` letterboxed to `size`; build it under `folder` if it is not there.

    Raises CutisError naming the first sample with an unreadable file, whose mask has another size, or without one;
    where `masks` is False that is allowed, and it is then empty in the cache.
    """
    for sample in samples if masks else ():
        if sample.mask is None:
            raise CutisError(
                f"{sample.dataset} {sample.id} has no mask: run 'cutis data check' and leave it out or add the mask"
            )
    key = content_key(samples, size)
    home = folder / f"segmentation-{size}-{key[:16]}"
    if not home.is_dir():
        _build(samples, size, home, key, lambda index: _decode(samples[index], size), progress)
    return _opened(samples, home, key)


def recoloured(
    cache: SegmentationCache, preprocessing: Preprocessing, progress: Callable[[int, int], None] = _nothing
) -> SegmentationCache:
    """The same cache after the colour steps of `preprocessing`, kept beside it; the same object if it has none."""
    steps = preprocessing.model_dump_json(exclude={"mean", "std"})
    if steps == Preprocessing(size=preprocessing.size, mean=(0, 0, 0), std=(1, 1, 1)).model_dump_json(
        exclude={"mean", "std"}
    ):
        return cache

    def decode(index: int) -> Square:
        image = preprocessing.recolour(np.asarray(cache.images[index]), cache.frames[index])
        return image, np.asarray(cache.masks[index]), cache.frames[index]

    return derived(cache, "recoloured", steps, cache.samples, decode, progress)


def derived(
    cache: SegmentationCache,
    name: str,
    steps: str,
    samples: Sequence[Sample],
    decode: Callable[[int], Square],
    progress: Callable[[int, int], None] = _nothing,
) -> SegmentationCache:
    """A cache made of another one's squares and kept beside it as `name`: `decode` gives the square of each of
    `samples`, `steps` says all that decides it but the squares themselves."""
    key = hashlib.blake2b(f"{cache.key}:{steps}".encode(), digest_size=20).hexdigest()
    size = cache.images.shape[1]
    home = cache.home.with_name(f"{name}-{size}-{key[:16]}")
    if not home.is_dir():
        _build(samples, size, home, key, decode, progress)
    return _opened(samples, home, key)


def _opened(samples: Sequence[Sample], home: Path, key: str) -> SegmentationCache:
    facts = json.loads((home / "index.json").read_text(encoding="utf-8"))
    if facts["key"] != key or facts["format"] != _FORMAT:
        raise CutisError(f"{home} is a cache of another content or format: delete it")
    return SegmentationCache(key, home, tuple(samples), tuple(Frame(*frame) for frame in facts["frames"]))


def uniform(cache: SegmentationCache) -> tuple[list[Sample], list[Sample]]:
    """Samples whose mask covers the whole picture, and those whose mask, if they have one, covers nothing, at the
    cache's size."""
    full, empty = [], []
    for sample, frame, mask in zip(cache.samples, cache.frames, cache.masks, strict=True):
        inside = frame.crop(mask)
        if inside.all():
            full.append(sample)
        elif sample.mask is not None and not inside.any():
            empty.append(sample)
    return full, empty


def _build(
    samples: Sequence[Sample],
    size: int,
    home: Path,
    key: str,
    decode: Callable[[int], Square],
    progress: Callable[[int, int], None],
) -> None:
    _remove_abandoned(home)
    temporary = home.with_name(f".{home.name}.building-{uuid.uuid4().hex}")
    temporary.mkdir(parents=True)
    try:
        images = _array(temporary / "images.npy", (len(samples), size, size, 3))
        masks = _array(temporary / "masks.npy", (len(samples), size, size))
        frames: list[Frame] = []
        with ThreadPoolExecutor() as pool:
            for index, (image, mask, frame) in enumerate(pool.map(decode, range(len(samples)))):
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


def _decode(sample: Sample, size: int) -> Square:
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


def content_key(samples: Sequence[Sample], size: int) -> str:
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
