"""The one sample type that every data set yields, and the data set that holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np

__all__ = ["Dataset", "Sample", "choose"]


@dataclass(frozen=True)
class Sample:
    """One image with what is known about it.

    `dataset` is the registry name of the data set it came from. `group` names what must not be shared between splits:
    the lesion where the data set says so, else the image itself. `label` is a class name (HAM10000's seven, PH2's
    diagnosis, ...); `symmetry` is SymDerm's code: 0 asymmetric, 1 one axis, 2 two axes; `split` is the data set's own
    official split ('train', 'validation', 'test') where it has one.
    """

    id: str
    image: Path
    dataset: str = ""
    mask: Path | None = None
    label: str | None = None
    symmetry: int | None = None
    group: str = ""
    split: str | None = None
    extra: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.group:
            object.__setattr__(self, "group", self.id)


@dataclass(frozen=True)
class Dataset:
    """A named list of samples under one folder; `classes` in the order of their label indices, if it is labelled.

    `absent` holds the ids that the data set's own tables name but whose image is not in the folder; `orphans` those of
    masks without their image.
    """

    name: str
    root: Path
    samples: tuple[Sample, ...]
    classes: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def choose(samples: Sequence[Sample], count: int, seed: int) -> list[Sample]:
    """`count` samples, equally many of each data set as far as they go, by a seeded shuffle; all if there are fewer.

    >>> pictures = [Sample(str(n), Path(f"{n}.jpg"), dataset="small" if n < 2 else "large") for n in range(20)]
    >>> [sample.dataset for sample in choose(pictures, 5, seed=1)]
    ['large', 'small', 'large', 'small', 'large']
    """
    rng = np.random.default_rng(seed)
    by_set: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda sample: (sample.dataset, sample.id)):
        by_set.setdefault(sample.dataset, []).append(sample)
    shuffled = [[of[i] for i in rng.permutation(len(of))] for of in by_set.values()]
    return [sample for turn in zip_longest(*shuffled) for sample in turn if sample is not None][:count]
