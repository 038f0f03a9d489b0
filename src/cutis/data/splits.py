"""Dividing samples into train, validation and test so that no lesion is on two sides.

Samples belong together when they share `group` (the lesion) or `id` (ISIC 2017 and 2018, HAM10000 and ISIC 2019 hold
the same images), directly or through others. Two ways to divide:

- `split`: a lesion's side is a hash of its own name and the seed, nothing else. Adding or removing samples never moves
  another one (unless it links or names a lesion anew), so a test image stays a test image when more data arrives. The
  price: sizes and class shares hold on average only, with a standard deviation of sqrt(n f (1 - f)) lesions of a class
  with n (10% of 160 is 16 +- 4).
- `deal`: each class of each data set is dealt in hash order like cards, so sizes and class shares are exact to a
  lesion; one sample more or less can move others. It serves the papers' fixed counts and k-fold cross-validation.

Both depend on names and the seed alone (SHA-256 of NFC text): the same on each machine, platform and Python.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final, TypedDict

from cutis.data.samples import Sample
from cutis.errors import CutisError

__all__ = ["OURS", "crossing", "deal", "kfold", "lesions", "official", "split"]


class Division(TypedDict):
    """What `split` needs beside the samples."""

    fractions: dict[str, float]
    seed: int


OURS: Final[Division] = {"fractions": {"train": 0.85, "validation": 0.05, "test": 0.10}, "seed": 2026}
"""The division behind the bundled model and every figure of ours: `split(samples, **OURS)`."""


_ORDER = ("train", "validation", "test")


def split(samples: Iterable[Sample], fractions: Mapping[str, float], seed: int) -> dict[str, tuple[Sample, ...]]:
    """Divide by lesion; a sample's side depends on its lesion's name, `fractions` and `seed` alone: train, validation
    and test divide alike in whatever order a file lists them, other names in theirs.

    >>> from pathlib import Path
    >>> pictures = [Sample(id=f"IMG_{n}", image=Path(f"{n}.jpg"), group=f"lesion_{n // 2}") for n in range(1000)]
    >>> parts = split(pictures, {"train": 0.8, "test": 0.2}, seed=1)
    >>> len(parts["train"]), len(parts["test"]), crossing(parts)
    (796, 204, {})
    """
    names, shares = _checked(fractions, total=1.0)
    edges = list(accumulate(shares[:-1]))
    parts: dict[str, list[Sample]] = {name: [] for name in names}
    for lesion in lesions(samples):
        position = _position(_key(lesion), seed)
        parts[names[sum(position >= edge for edge in edges)]].extend(lesion)
    return _sorted(parts)


def deal(samples: Iterable[Sample], counts: Mapping[str, float], seed: int) -> dict[str, tuple[Sample, ...]]:
    """Divide by lesion in the proportions of `counts`, the same within each (data set, label): exact to a lesion.

    Each lesion, in hash order within its stratum, goes to the side that lacks most; what a stratum leaves over or
    short is carried to the next, so that with one image a lesion and whole counts the counts come out exactly.

    >>> from pathlib import Path
    >>> pictures = [Sample(id=str(n), image=Path(f"{n}.jpg"), label="ab"[n % 2]) for n in range(200)]
    >>> {name: len(part) for name, part in deal(pictures, {"train": 140, "validation": 20, "test": 40}, 7).items()}
    {'train': 140, 'validation': 20, 'test': 40}
    """
    names, shares = _checked(counts, total=None)
    parts: dict[str, list[Sample]] = {name: [] for name in names}
    dealt = 0
    for lesion in sorted(lesions(samples), key=lambda lesion: (_stratum(lesion), _position(_key(lesion), seed))):
        dealt += len(lesion)
        lacking = [share * dealt - len(parts[name]) for name, share in zip(names, shares, strict=True)]
        parts[names[lacking.index(max(lacking))]].extend(lesion)
    return _sorted(parts)


def kfold(samples: Iterable[Sample], k: int, seed: int) -> list[tuple[tuple[Sample, ...], tuple[Sample, ...]]]:
    """k pairs (training, held out), by lesion and stratified: each sample is held out exactly once."""
    everything = tuple(samples)
    if not 2 <= k <= len(everything):
        raise CutisError(f"{k} folds of {len(everything)} samples: give k from 2 to the number of samples")
    folds = list(deal(everything, {str(fold): 1 for fold in range(k)}, seed).values())
    return [(tuple(s for j, part in enumerate(folds) if j != i for s in part), folds[i]) for i in range(k)]


def official(samples: Iterable[Sample]) -> dict[str, tuple[Sample, ...]]:
    """The data set's own split, as its reader found it; refused where a sample has none."""
    parts: dict[str, list[Sample]] = {name: [] for name in ("train", "validation", "test")}
    for sample in samples:
        if sample.split is None:
            raise CutisError(f"{sample.dataset} names no official split for {sample.id}: divide it with a seed instead")
        parts.setdefault(sample.split, []).append(sample)
    return _sorted({name: part for name, part in parts.items() if part})


def crossing(parts: Mapping[str, Iterable[Sample]]) -> dict[str, tuple[str, ...]]:
    """Lesions that are in more than one part, with the parts they are in: what makes a test score too good."""
    sides = {(sample.dataset, sample.id): name for name, part in parts.items() for sample in part}
    found: dict[str, tuple[str, ...]] = {}
    for lesion in lesions(sample for part in parts.values() for sample in part):
        names = sorted({sides[sample.dataset, sample.id] for sample in lesion})
        if len(names) > 1:
            found[_key(lesion)] = tuple(names)
    return dict(sorted(found.items()))


def lesions(samples: Iterable[Sample]) -> list[tuple[Sample, ...]]:
    """Samples that must stay together: connected by a shared `group` or a shared `id`, across data sets."""
    everything = list(samples)
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for sample in everything:
        parent[root(f"id {sample.id}")] = root(f"group {sample.group}")
    joined: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in everything:
        joined[root(f"id {sample.id}")].append(sample)
    return [tuple(lesion) for lesion in joined.values()]


def _key(lesion: Sequence[Sample]) -> str:
    """A name that stays when other images of the lesion come or go: its lesion id if it has one, else its image id."""
    named = [sample.group for sample in lesion if sample.group != sample.id]
    return min(named or [sample.id for sample in lesion])


def _stratum(lesion: Sequence[Sample]) -> tuple[str, str]:
    return min((sample.dataset, sample.label or "") for sample in lesion)


def _position(key: str, seed: int) -> float:
    """A number in [0, 1) from the text alone."""
    digest = hashlib.sha256(f"{seed}:{unicodedata.normalize('NFC', key)}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _checked(fractions: Mapping[str, float], total: float | None) -> tuple[list[str], list[float]]:
    names = [name for name in _ORDER if name in fractions] if set(fractions) <= set(_ORDER) else list(fractions)
    found = sum(fractions[name] for name in names)
    if not fractions or min(fractions.values()) < 0 or found <= 0:
        raise CutisError(f"fractions {dict(fractions)}: give at least one, none negative, not all zero")
    if total is not None and abs(found - total) > 1e-6:
        raise CutisError(f"fractions {dict(fractions)} sum to {found:g}: they must sum to {total:g}")
    return names, [fractions[name] / found for name in names]


def _sorted(parts: Mapping[str, list[Sample]]) -> dict[str, tuple[Sample, ...]]:
    return {name: tuple(sorted(part, key=lambda sample: (sample.dataset, sample.id))) for name, part in parts.items()}
