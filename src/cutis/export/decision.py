"""What turns logits into an answer, fitted on validation lesions: temperature, threshold, conformal quantile, limit.

The export fits these for each file from that file's own logits, because INT8 is another network than fp32; they travel
in its metadata, and `analysis/decision.py` only applies them.

Temperature (Guo et al., 2017) from all validation images. The conformal quantile (Sadinle et al., 2019) from one image
a lesion, since several images of a lesion are no independent draws; it is fitted after the temperature on the same
lesions, which with one parameter costs the coverage nothing that can be seen. The unlikeness limit is a quantile of the
validation images' own, so the share of images like these that it turns away is known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cutis.data.labels import Task
from cutis.metrics.calibration import conformal_quantile, fit_temperature, softmax
from cutis.metrics.classification import balanced_accuracy, confusion_matrix

__all__ = ["COVERAGE", "LIMIT_QUANTILE", "WIDEST", "Decision", "best_threshold", "fit_decision", "one_a_group"]

COVERAGE = 0.9
"""Share of lesions whose class is to be in its set."""
WIDEST = 2
"""A set of two classes still says something to the reader; one of three or more is 'not sure'."""
LIMIT_QUANTILE = 0.99
"""Share of validation images that are less unlike the training than the limit."""


@dataclass(frozen=True)
class Decision:
    """`threshold`: of the binary symmetry network. `quantile`, `unlikeness_limit`: of the lesion network."""

    temperature: float
    threshold: float | None = None
    quantile: float | None = None
    unlikeness_limit: float | None = None

    def facts(self) -> dict[str, str]:
        """As metadata, without the prefix `cutis.`.

        >>> Decision(1.5, quantile=0.75, unlikeness_limit=3.0).facts()["conformal"]
        '{"coverage": 0.9, "quantile": 0.75, "widest": 2}'
        """
        found = {"temperature": repr(self.temperature)}
        if self.threshold is not None:
            found["threshold"] = repr(self.threshold)
        if self.quantile is not None:
            found["conformal"] = json.dumps({"coverage": COVERAGE, "quantile": self.quantile, "widest": WIDEST})
        if self.unlikeness_limit is not None:
            found["unlikeness_limit"] = repr(self.unlikeness_limit)
        return found


def fit_decision(
    task: Task, logits: ArrayLike, truth: NDArray[np.int64], groups: Sequence[str], unlikeness: ArrayLike | None
) -> Decision:
    """(N, K) logits, (N,) class indices, lesions and, of a lesion network, (N,) unlikeness of validation images."""
    temperature = fit_temperature(logits, truth)
    probabilities = softmax(logits, temperature)
    if task == "symmetry":
        binary = probabilities.shape[1] == 2
        return Decision(temperature, threshold=best_threshold(probabilities[:, 1], truth) if binary else None)
    first = one_a_group(groups)
    quantile = conformal_quantile(probabilities[first], truth[first], COVERAGE)
    limit = float(np.quantile(np.asarray(unlikeness, np.float64), LIMIT_QUANTILE))
    return Decision(temperature, quantile=quantile, unlikeness_limit=limit)


def best_threshold(scores: ArrayLike, truth: NDArray[np.int64]) -> float:
    """(N,) probabilities of class 1 and (N,) 0 or 1 -> the cut of highest balanced accuracy, inside (0, 1).

    Cuts lie halfway between neighbouring scores; of equals, the one nearest to 0.5.

    >>> best_threshold([0.1, 0.2, 0.4, 0.9], np.array([0, 0, 1, 1])).__round__(3)
    0.3
    """
    scores = np.asarray(scores, np.float64)
    known = np.unique(scores)
    cuts = np.unique(np.clip(np.r_[0.5, (known[1:] + known[:-1]) / 2], 1e-6, 1 - 1e-6))
    reached = [float(balanced_accuracy(confusion_matrix(truth, (scores >= cut).astype(int), 2))) for cut in cuts]
    best = np.flatnonzero(np.asarray(reached) >= max(reached) - 1e-12)
    return float(min(cuts[best], key=lambda cut: abs(cut - 0.5)))


def one_a_group(groups: Sequence[str]) -> NDArray[np.int64]:
    """The place of each group's first member.

    >>> one_a_group(["a", "b", "a", "c"]).tolist()
    [0, 1, 3]
    """
    return np.sort(np.unique(np.asarray(groups), return_index=True)[1])
