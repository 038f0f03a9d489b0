"""Looking at a data set before training on it: what is there, what cannot be used, what would flatter a test.

Every image and mask is decoded once, on all cores; a finding is a problem (something to repair or to leave out) or a
note (something to know). A lesion on two sides of the data set's own split is a problem, since a test score on it is
too good; the same image in two data sets is a note, since `splits.split` keeps it on one side.
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from cutis.data.fingerprint import Fingerprint, duplicates, fingerprint
from cutis.data.samples import Dataset, Sample
from cutis.data.splits import crossing, lesions
from cutis.errors import CutisError
from cutis.imaging.read import read_image, read_mask

__all__ = ["KINDS", "Finding", "Report", "check"]

KINDS: dict[str, tuple[str, str]] = {
    "image_unreadable": ("problem", "image that cannot be read"),
    "mask_missing": ("problem", "image without its mask"),
    "mask_orphan": ("problem", "mask without its image"),
    "mask_unreadable": ("problem", "mask that cannot be read"),
    "mask_size": ("problem", "mask of another size than its image"),
    "mask_empty": ("problem", "mask that marks nothing"),
    "mask_full": ("problem", "mask that marks the whole image"),
    "mask_not_binary": ("problem", "mask of more than two values"),
    "mask_zero_one": ("problem", "mask of 0 and 1 instead of 0 and 255 (read as it is meant)"),
    "lesion_across_split": ("problem", "lesion on several sides of the data set's own split"),
    "duplicate_across_split": ("problem", "same picture under two names, on several sides of the data set's own split"),
    "duplicate": ("note", "same picture under two names"),
    "shared": ("note", "images that two data sets share (kept together by splits of ours)"),
    "absent": ("note", "listed, but the image is not here"),
}
"""Kind of finding -> how bad it is, and what it says."""
_NO_INFECTION = frozenset({"Non-COVID", "Normal"})


@dataclass(frozen=True)
class Finding:
    """One thing found: its kind (see `KINDS`), the data set, the ids it is about, what was seen, and in which file."""

    kind: str
    data_set: str
    ids: tuple[str, ...]
    detail: str = ""
    file: Path | None = None

    @property
    def is_problem(self) -> bool:
        return KINDS[self.kind][0] == "problem"


@dataclass(frozen=True)
class Report:
    """What was looked at, what was found, and how long it took."""

    data_sets: tuple[Dataset, ...]
    findings: tuple[Finding, ...]
    images: int
    seconds: float

    @property
    def problems(self) -> int:
        return sum(finding.is_problem for finding in self.findings)


@dataclass
class _Look:
    """What decoding one image and its mask gave."""

    findings: list[Finding] = field(default_factory=list)
    print: Fingerprint | None = None


def check(
    data_sets: Sequence[Dataset], *, workers: int | None = None, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Look at every image and mask of the data sets. `progress(done, all)` is called after each image.

    A file that belongs to several data sets (SymDerm's images are HAM10000's) is looked at once, for the first of them.
    """
    start = time.perf_counter()
    workers = (os.cpu_count() or 1) if workers is None else workers
    if workers < 1:
        raise CutisError(f"{workers} workers: give 1 or more")
    files: dict[Path, Sample] = {}
    for sample in (sample for data_set in data_sets for sample in data_set):
        files.setdefault(sample.image, sample)
    unique = list(files.values())
    looks = _look_at_all(unique, _masked_splits(data_sets), workers, progress)
    findings = [finding for look in looks for finding in look.findings]
    findings += [found for data_set in data_sets for found in _lists(data_set)]
    findings += _same_pictures(unique, looks)
    findings += _shared(data_sets)
    order = {kind: number for number, kind in enumerate(KINDS)}
    findings.sort(key=lambda finding: (order[finding.kind], finding.data_set, finding.ids))
    return Report(tuple(data_sets), tuple(findings), len(unique), time.perf_counter() - start)


def _look_at_all(
    samples: Sequence[Sample],
    masked: set[tuple[str, str | None]],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> list[_Look]:
    with ThreadPoolExecutor(workers) as pool:
        try:
            looks = []
            for look in pool.map(lambda sample: _look(sample, (sample.dataset, sample.split) in masked), samples):
                looks.append(look)
                if progress:
                    progress(len(looks), len(samples))
            return looks
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _look(sample: Sample, mask_expected: bool) -> _Look:
    look = _Look()
    size: tuple[int, int] | None = None
    try:
        picture = read_image(sample.image, min_side=64)
        size = (picture.height, picture.width)
        look.print = fingerprint(picture.pixels)
    except CutisError as error:
        look.findings.append(_about(sample, "image_unreadable", str(error), sample.image))
    if sample.mask is not None:
        look.findings += [
            _about(sample, kind, detail, sample.mask) for kind, detail in _mask_faults(sample, sample.mask, size)
        ]
    elif mask_expected:
        look.findings.append(_about(sample, "mask_missing", "", sample.image))
    return look


def _mask_faults(sample: Sample, path: Path, size: tuple[int, int] | None) -> Iterator[tuple[str, str]]:
    try:
        mask = read_mask(path)
    except CutisError as error:
        yield "mask_not_binary" if "not a mask" in str(error) else "mask_unreadable", str(error)
        return
    if size is not None and mask.shape != size:
        yield "mask_size", f"mask {mask.shape[1]}x{mask.shape[0]}, image {size[1]}x{size[0]}"
    if not mask.any():
        if sample.label not in _NO_INFECTION:  # COVID-QU-Ex masks nothing where there is no infection
            yield "mask_empty", ""
    elif mask.all():
        yield "mask_full", ""
    if mask.any() and _stores_ones(path):
        yield "mask_zero_one", ""


def _stores_ones(path: Path) -> bool:
    """Whether the file's highest value is 1; read by another library than the mask, as it is stored."""
    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    return values is not None and int(values.max()) == 1


def _masked_splits(data_sets: Iterable[Dataset]) -> set[tuple[str, str | None]]:
    """(data set, split) where images have masks: test images of a challenge often have none, and that is no fault."""
    return {(sample.dataset, sample.split) for data_set in data_sets for sample in data_set if sample.mask is not None}


def _lists(data_set: Dataset) -> Iterator[Finding]:
    """What the data set's own tables show: images that are not here, lesions on two sides of its own split."""
    for name in data_set.orphans:
        yield Finding("mask_orphan", data_set.name, (name,))
    if absent := sorted(set(data_set.absent) - set(data_set.orphans)):
        yield Finding("absent", data_set.name, tuple(absent))
    parts: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in data_set:
        if sample.split is not None:
            parts[sample.split].append(sample)
    for lesion, sides in crossing(parts).items():
        yield Finding("lesion_across_split", data_set.name, (lesion,), " and ".join(sides))


def _same_pictures(samples: Sequence[Sample], looks: Sequence[_Look]) -> Iterator[Finding]:
    seen = [(sample, look.print) for sample, look in zip(samples, looks, strict=True) if look.print is not None]
    for group in duplicates([found for _, found in seen]):
        alike = sorted((seen[index][0] for index in group), key=lambda sample: (sample.dataset, sample.id))
        if len({sample.id for sample in alike}) == 1:
            continue
        sides = {
            sample.dataset: {s.split for s in alike if s.dataset == sample.dataset and s.split} for sample in alike
        }
        across = any(len(found) > 1 for found in sides.values()) and len(lesions(alike)) > 1
        names = tuple(f"{sample.dataset}/{sample.id}" for sample in alike)
        detail = " and ".join(sample.split or "none" for sample in alike) if across else ""
        yield Finding("duplicate_across_split" if across else "duplicate", alike[0].dataset, names, detail)


def _shared(data_sets: Sequence[Dataset]) -> Iterator[Finding]:
    ids = {data_set.name: {sample.id: sample.split for sample in data_set} for data_set in data_sets}
    for number, one in enumerate(ids):
        for other in list(ids)[number + 1 :]:
            both = sorted(ids[one].keys() & ids[other].keys())
            sides = Counter((ids[one][name], ids[other][name]) for name in both)
            apart = sum(count for (left, right), count in sides.items() if left and right and left != right)
            if both:
                differing = f", {apart} of them in another split there" if apart else ""
                yield Finding("shared", one, tuple(both), f"{len(both)} images are in {other} too{differing}")


def _about(sample: Sample, kind: str, detail: str, file: Path) -> Finding:
    return Finding(kind, sample.dataset, (sample.id,), detail, file)
