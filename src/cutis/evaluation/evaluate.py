"""Model x data set -> one row an image, each row every measure of `metrics/segmentation.py`.

A predictor is any function from a `Sample` to its lesion mask at the image's own size; where masks come from (a
bundled model, a training run, someone's folder of PNG files) is not this file's business. An image that cannot be
measured (no truth, no prediction, a file that cannot be read, sizes that differ) becomes a `Failure` with its reason:
it is named and counted, never left out in silence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from cutis.data.samples import Sample
from cutis.errors import CutisError
from cutis.imaging.read import read_mask
from cutis.metrics.segmentation import measure

__all__ = ["Evaluation", "Failure", "Predictor", "Row", "evaluate", "in_order"]

Predictor = Callable[[Sample], NDArray[np.bool_]]
"""(H, W) bool at the size of the sample's image; raises CutisError where it has no answer. Called from threads."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Row:
    """One image: what it is, its size and areas in pixels, and every measure (`segmentation.MEASURES`) by name."""

    dataset: str
    id: str
    group: str
    width: int
    height: int
    truth_area: int
    predicted_area: int
    measures: dict[str, float]


class Failure(NamedTuple):
    """An image that was asked for and not measured, and why, in one line."""

    dataset: str
    id: str
    reason: str


class Evaluation(NamedTuple):
    """Rows and failures, each in the order of the samples; together they account for every sample."""

    rows: list[Row]
    failures: list[Failure]


def evaluate(
    predict: Predictor, samples: Iterable[Sample], *, workers: int, done: Callable[[], None] = lambda: None
) -> Evaluation:
    """Measure `predict` on every sample, `workers` images at a time; `done` is called after each (a progress bar).

    The answer does not depend on `workers`, and memory does not grow with the number of samples.
    """
    result = Evaluation([], [])
    for outcome in in_order(lambda sample: _measured(predict, sample), samples, workers):
        if isinstance(outcome, Row):
            result.rows.append(outcome)
        else:
            result.failures.append(outcome)
        done()
    return result


def _measured(predict: Predictor, sample: Sample) -> Row | Failure:
    try:
        if sample.mask is None:
            raise CutisError("it has no truth mask")
        truth = read_mask(sample.mask)
        pred = predict(sample)
        if pred.shape != truth.shape:
            sizes = " x ".join(map(str, pred.shape[::-1])), " x ".join(map(str, truth.shape[::-1]))
            raise CutisError(f"the predicted mask is {sizes[0]} and the truth mask {sizes[1]} pixels")
    except CutisError as error:
        return Failure(sample.dataset, sample.id, str(error))
    height, width = truth.shape
    areas = int(np.count_nonzero(truth)), int(np.count_nonzero(pred))
    return Row(sample.dataset, sample.id, sample.group, width, height, *areas, measure(pred, truth))


def in_order(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Like `map`, in threads; at most three results a worker wait at a time.

    >>> list(in_order(abs, [-2, 1, -3], workers=2))
    [2, 1, 3]
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 3 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
