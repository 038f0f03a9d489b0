"""Answers -> the measures a table prints, their mean and spread over folds, and paired comparisons of two models.

SE-LCN, Sec. 5.3: accuracy, Cohen's kappa, macro precision, recall and F1 (lesion); balanced accuracy, kappa, weighted
precision, recall and F1 (symmetry). The paper's ± is the population standard deviation over folds (its published
predictions give its printed deviations of models 2 and 4 that way, not with n - 1), so ours is too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutis.errors import CutisError
from cutis.evaluation.statistics import Paired, paired
from cutis.evaluation.summary import BOOTSTRAP
from cutis.experiments.answers import Answers
from cutis.metrics import classification as measure

__all__ = ["MEASURES", "Comparison", "Spread", "compare", "measures_of", "spread"]

Values = NDArray[np.float64]

MEASURES: Mapping[str, Callable[[Values], Values]] = {
    "accuracy": measure.accuracy,
    "balanced_accuracy": measure.balanced_accuracy,
    "kappa": measure.cohen_kappa,
    "macro_precision": lambda m: measure.macro(measure.precision(m), m),
    "macro_recall": lambda m: measure.macro(measure.recall(m), m),
    "macro_f1": lambda m: measure.macro(measure.f1(m), m),
    "weighted_precision": lambda m: measure.weighted(measure.precision(m), m),
    "weighted_recall": lambda m: measure.weighted(measure.recall(m), m),
    "weighted_f1": lambda m: measure.weighted(measure.f1(m), m),
}
"""Name -> function of a confusion matrix."""


class Spread(NamedTuple):
    """Mean and population standard deviation of `n` values."""

    mean: float
    sd: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.sd:.3f}" if self.n > 1 else f"{self.mean:.3f}"


class Comparison(NamedTuple):
    """One model against another: per run (seed, fold) and per image, in accuracy and in balanced accuracy.

    `runs`: difference of each pair of runs; `accuracy` and `balanced_accuracy`: paired over the test images, an image's
    value being the share of the runs that got it right (weighted so that classes count alike in the second).
    """

    runs: dict[str, tuple[float, ...]]
    accuracy: Paired
    balanced_accuracy: Paired


def measures_of(answers: Answers, names: Sequence[str]) -> dict[str, float]:
    """The named measures of one run's answers.

    >>> answers = Answers(("a", "b"), (("d", "1", "1"), ("d", "2", "2")), np.array([0, 1]), np.eye(2))
    >>> measures_of(answers, ["accuracy", "kappa"])
    {'accuracy': 1.0, 'kappa': 1.0}
    """
    matrix = measure.confusion_matrix(answers.truth, answers.called, len(answers.classes))
    return {name: float(MEASURES[name](matrix)) for name in names}


def spread(values: Sequence[float]) -> Spread:
    """Values of runs -> their `Spread`.

    >>> str(spread([0.8, 0.9])), str(spread([0.8]))
    ('0.850 ± 0.050', '0.800')
    """
    return Spread(float(np.mean(values)), float(np.std(values)), len(values))


def compare(here: Mapping[tuple[int, int], Answers], there: Mapping[tuple[int, int], Answers]) -> Comparison:
    """Runs by (seed, fold) of two models on the same images -> here minus there; needs scipy.

    CutisError where they share no run or were evaluated on other images.
    """
    shared = sorted(here.keys() & there.keys())
    if not shared:
        raise CutisError("the two models share no seed and fold: run the grid for both")
    first = here[shared[0]]
    for key in shared:
        if here[key].names != first.names or there[key].names != first.names:
            raise CutisError(f"seed {key[0]}, fold {key[1]} was evaluated on other images: run the experiment again")
    right = [
        np.mean([side[key].called == first.truth for key in shared], axis=0).astype(np.float64)
        for side in (here, there)
    ]
    counts = np.bincount(first.truth, minlength=len(first.classes))
    weight = len(first.truth) / (np.count_nonzero(counts) * counts[first.truth])
    runs = {
        name: tuple(measures_of(here[key], [name])[name] - measures_of(there[key], [name])[name] for key in shared)
        for name in ("accuracy", "balanced_accuracy")
    }
    plain, balanced = (
        paired(right[0] * by, right[1] * by, first.lesions, **BOOTSTRAP._asdict()) for by in (np.float64(1), weight)
    )
    return Comparison(runs, plain, balanced)
