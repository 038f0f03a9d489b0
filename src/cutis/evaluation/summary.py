"""Rows -> means: one summary a data set, and the comparison of two models on the images both have measured.

Means are over images (never over pooled pixels), each with the bootstrap interval by lesion. Empty masks are counted
beside them, because they follow a rule and not a measurement (see `metrics/`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cutis.errors import CutisError
from cutis.evaluation.evaluate import Row
from cutis.evaluation.statistics import Interval, Paired, bootstrap_mean, paired

__all__ = ["BOOTSTRAP", "Bootstrap", "Comparison", "Empties", "Summary", "compare", "summarise"]


class Bootstrap(NamedTuple):
    """How intervals are drawn."""

    confidence: float
    resamples: int
    seed: int


BOOTSTRAP = Bootstrap(confidence=0.95, resamples=2000, seed=2026)
"""What every published figure of this project uses."""


class Empties(NamedTuple):
    """Images with an empty truth only, an empty prediction only, and both empty."""

    truth: int
    predicted: int
    both: int


class Summary(NamedTuple):
    """One data set: images, lesions, the images' sizes, empty masks, and each measure's mean with its interval."""

    dataset: str
    images: int
    lesions: int
    sizes: str
    empty: Empties
    measures: dict[str, Interval]


class Comparison(NamedTuple):
    """Two models on the images of one data set that both have measured; those that only one has are counted."""

    dataset: str
    only_here: int
    only_there: int
    measures: dict[str, Paired]


def summarise(rows: Iterable[Row], bootstrap: Bootstrap) -> list[Summary]:
    """Rows of any number of data sets -> a `Summary` of each, in the order they appear."""
    return [_summary(dataset, of, bootstrap) for dataset, of in _by_dataset(rows).items()]


def compare(here: Iterable[Row], there: Iterable[Row], bootstrap: Bootstrap) -> list[Comparison]:
    """Paired tests of every measure over the images (data set, id) that both have; differences are here minus there.

    CutisError where they share none.
    """
    sides = [_by_dataset(here), _by_dataset(there)]
    found = []
    for dataset in (name for name in sides[0] if name in sides[1]):
        one, two = ({row.id: row for row in side[dataset]} for side in sides)
        shared = [name for name in one if name in two]
        if len(shared) < 2:
            continue
        groups = [one[name].group for name in shared]
        measures = {
            measure: paired(
                [one[name].measures[measure] for name in shared],
                [two[name].measures[measure] for name in shared],
                groups,
                **bootstrap._asdict(),
            )
            for measure in one[shared[0]].measures
        }
        found.append(Comparison(dataset, len(one) - len(shared), len(two) - len(shared), measures))
    if not found:
        raise CutisError("the two evaluations share no two images of a data set: evaluate both on the same data")
    return found


def _summary(dataset: str, rows: Sequence[Row], bootstrap: Bootstrap) -> Summary:
    groups = [row.group for row in rows]
    measures = {
        name: bootstrap_mean([row.measures[name] for row in rows], groups, **bootstrap._asdict())
        for name in rows[0].measures
    }
    empty = [(row.truth_area == 0, row.predicted_area == 0) for row in rows]
    counts = Empties(empty.count((True, False)), empty.count((False, True)), empty.count((True, True)))
    return Summary(dataset, len(rows), len(set(groups)), _sizes(rows), counts, measures)


def _sizes(rows: Sequence[Row]) -> str:
    """The images' size where all are alike, else the smallest and the largest.

    >>> def row(width, height):
    ...     return Row("", "", "", width, height, 0, 0, {})
    >>> _sizes([row(40, 30)] * 3), _sizes([row(40, 30), row(60, 50), row(20, 20)])
    ('40x30', '20x20 to 60x50')
    """
    every = sorted({(row.width * row.height, f"{row.width}x{row.height}") for row in rows})
    return every[0][1] if len(every) == 1 else f"{every[0][1]} to {every[-1][1]}"


def _by_dataset(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.dataset, []).append(row)
    return found
