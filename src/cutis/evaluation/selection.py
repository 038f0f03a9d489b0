"""Which images an evaluation is about: the data sets asked for, the split a model was trained with, a limit.

A model may only be judged on lesions that it never saw. The split of the training is made again, by the same names,
from its own data sets; a data set that was not trained on is test data as a whole, except lesions that it shares (by id
or lesion) with the training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cutis.data.catalogue import open_all
from cutis.data.samples import Sample
from cutis.data.splits import lesions, split
from cutis.errors import CutisError

__all__ = ["EVERYTHING", "SplitRule", "divide", "select", "thin_out"]

EVERYTHING = "all"
"""The split that holds every image."""


@dataclass(frozen=True)
class SplitRule:
    """How a training divided its data: `datasets` by name, the share of each side, the seed."""

    datasets: tuple[str, ...]
    fractions: Mapping[str, float]
    seed: int


def select(
    data: Path, *, datasets: Sequence[str] | None, part: str, rule: SplitRule, limit: int | None
) -> dict[str, list[Sample]]:
    """Samples by data set: those of `part` in the data sets named, `limit` of each.

    By default those that the model was trained on; where none of them is there, all that have masks. CutisError for a
    name that is not there or a part that is empty.
    """
    opened = {dataset.name: dataset for dataset in open_all(data)}
    unknown = [name for name in datasets or () if name not in opened]
    if unknown:
        raise CutisError(f"{data} holds no data set {unknown[0]!r}; it holds: {', '.join(opened)}")
    with_masks = [name for name, dataset in opened.items() if any(sample.mask for sample in dataset)]
    wanted = datasets or [name for name in with_masks if name in rule.datasets] or with_masks
    chosen = divide((sample for dataset in opened.values() for sample in dataset), part, rule)
    found = {name: thin_out([sample for sample in chosen if sample.dataset == name], limit) for name in wanted}
    if not any(found.values()):
        raise CutisError(f"no image of {', '.join(wanted) or data} is in the split {part!r}: name another, or 'all'")
    return {name: samples for name, samples in found.items() if samples}


def divide(samples: Iterable[Sample], part: str, rule: SplitRule) -> list[Sample]:
    """The samples of one side of `rule`, or 'all' of them; strangers to the training are on the side 'test'.

    >>> own = [Sample(str(n), Path(f"{n}.jpg"), "own") for n in range(8)]
    >>> new = [Sample(str(n), Path(f"{n}.png"), "new") for n in range(6, 10)]
    >>> rule = SplitRule(("own",), {"train": 0.5, "test": 0.5}, seed=1)
    >>> [sample.id for sample in divide(own, "test", rule)]
    ['0', '1', '3']
    >>> [sample.id for sample in divide(new, "test", rule)]
    ['6', '7', '8', '9']
    >>> [sample.id for sample in divide(own + new, "test", rule) if sample.dataset == "new"]
    ['8', '9']
    """
    everything = list(samples)
    if part == EVERYTHING:
        return everything
    if part not in rule.fractions:
        raise CutisError(f"no split {part!r}; there are: {', '.join(rule.fractions)}, {EVERYTHING}")
    sides = split((sample for sample in everything if sample.dataset in rule.datasets), rule.fractions, rule.seed)
    chosen = list(sides[part])
    if part == "test":
        seen = {(s.dataset, s.id) for name, side in sides.items() if name != "test" for s in side}
        for lesion in lesions(everything):
            if not any((sample.dataset, sample.id) in seen for sample in lesion):
                chosen += [sample for sample in lesion if sample.dataset not in rule.datasets]
    return sorted(chosen, key=lambda sample: (sample.dataset, sample.id))


def thin_out(samples: Sequence[Sample], limit: int | None) -> list[Sample]:
    """At most `limit` samples, evenly from the whole list: the first ones would all come from one clinic.

    >>> thin_out(list("abcdefgh"), 3)  # any list will do
    ['a', 'c', 'f']
    """
    if limit is None or limit >= len(samples):
        return list(samples)
    if limit < 1:
        raise CutisError(f"--limit {limit}: give at least 1")
    return [samples[i * len(samples) // limit] for i in range(limit)]
