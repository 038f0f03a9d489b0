"""Do two forms of one classifier give the same answer on the same pixels? Probabilities, maps, unlikeness.

The counterpart of `parity`, which compares masks. Probabilities are compared before any temperature: what is compared
is the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cutis.export.parity import Answers, Feeds, answers
from cutis.metrics.calibration import softmax

if TYPE_CHECKING:
    import onnxruntime
    from rich.table import Table

__all__ = ["Agreement", "agreement_table", "answers_over", "compare_answers", "compare_classifiers"]

_BATCH = 8


@dataclass(frozen=True)
class Agreement:
    """How far two classifiers' answers to the same images are apart.

    `largest`, `mean`: absolute difference of a probability; `mean` of the images' largest. `answers`: share of images
    whose likeliest class differs. `maps`: mean absolute difference of the activation maps where both name one class,
    NaN where they never do. `unlikeness`: mean difference as a share of its mean; None where the network has none.
    """

    images: int
    largest: float
    mean: float
    answers: float
    maps: float
    unlikeness: float | None

    @property
    def order(self) -> tuple[float, ...]:
        """What makes one way of quantising better than another: the lesser."""
        return self.mean, self.answers

    @property
    def said(self) -> dict[str, str]:
        """The same for a table."""
        return {"mean |dp|": f"{self.mean:.2g}", "answers differ": f"{self.answers:.2%}", "maps": f"{self.maps:.2g}"}


def compare_answers(first: Answers, second: Answers) -> Agreement:
    """`logits` (N, K), `activation` (N, 1, h, w) and perhaps `unlikeness` (N,), twice.

    >>> def answer(logits, at, far):
    ...     return {"logits": np.log(logits), "activation": np.full((2, 1, 1, 1), at), "unlikeness": np.full(2, far)}
    >>> found = compare_answers(answer([[8, 2], [6, 4]], 0.5, 2.0), answer([[7, 3], [4, 6]], 0.7, 3.0))
    >>> [round(float(value), 3) for value in (found.largest, found.mean, found.answers, found.maps, found.unlikeness)]
    [0.2, 0.15, 0.5, 0.2, 0.5]
    """
    one, other = (softmax(side["logits"], 1.0) for side in (first, second))
    if one.shape != other.shape:
        raise ValueError(f"answers of different shapes cannot be compared: {one.shape} and {other.shape}")
    furthest = np.abs(one - other).max(1)
    same = one.argmax(1) == other.argmax(1)
    maps = np.abs(first["activation"].astype(np.float64) - second["activation"])[same]
    far = None
    if "unlikeness" in first:
        gaps = np.abs(first["unlikeness"].astype(np.float64) - second["unlikeness"])
        far = float(gaps.mean() / max(float(np.mean(first["unlikeness"])), 1e-12))
    return Agreement(
        len(one),
        float(furthest.max()),
        float(furthest.mean()),
        float(1 - same.mean()),
        float(maps.mean()) if same.any() else float("nan"),
        far,
    )


def compare_classifiers(
    first: onnxruntime.InferenceSession, second: onnxruntime.InferenceSession, feeds: Feeds
) -> Agreement:
    """Both on all of `feeds`, a few images at a time."""
    return compare_answers(
        answers_over(lambda part: answers(first, part), feeds), answers_over(lambda part: answers(second, part), feeds)
    )


def answers_over(
    answer: Callable[[Feeds], Answers], feeds: Feeds, tell: Callable[[int, int], None] = lambda done, total: None
) -> Answers:
    """The answers to all of `feeds`, asked for a few images at a time; `tell` hears images done and in all."""
    count = len(feeds["image"])
    found = []
    for start in range(0, count, _BATCH):
        found.append(answer({name: values[start : start + _BATCH] for name, values in feeds.items()}))
        tell(min(start + _BATCH, count), count)
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def agreement_table(rows: dict[str, Agreement]) -> Table:
    """A row a pair ('torch = fp32', 'fp32 = int8'), for the terminal."""
    from rich.table import Column, Table

    table = Table(
        Column("same pixels", no_wrap=True), "images", "max |dp|", "mean |dp|", "answers differ", "maps", "unlikeness"
    )
    for name, a in rows.items():
        far = "" if a.unlikeness is None else f"{a.unlikeness:.2%}"
        table.add_row(
            name, str(a.images), f"{a.largest:.2g}", f"{a.mean:.2g}", f"{a.answers:.2%}", f"{a.maps:.2g}", far
        )
    return table
