"""From a network's logits to an answer: calibrated probabilities, the classes that fit, and when to say 'not sure'.

Temperature scaling: Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017). Prediction sets: Sadinle, Lei
and Wasserman, "Least Ambiguous Set-Valued Classifiers with Bounded Error Levels" (JASA 114, 2019): the score of a class
is 1 - p, and the set holds every class whose score is at most a quantile of the true classes' scores on validation
lesions, so that the true class is in it for the stated share of lesions like those. Unlikeness is measured in the graph
(a Mahalanobis distance of the features, after Lee et al., NeurIPS 2018) and only compared here.

The numbers (temperature, quantile, limits) are fitted by the export and travel in the model's metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field

from cutis.analysis.words import class_name
from cutis.metrics.calibration import prediction_sets, softmax
from cutis.records import Diagnosis, Symmetry

__all__ = ["ClassRule", "Conformal", "SymmetryRule", "decide_class", "decide_symmetry"]

UNLIKE = "unlike the images it was trained on"
NONE_FITS = "no class fits"


class Conformal(BaseModel):
    """`coverage`: share of lesions whose class is in its set. `quantile`: the largest score 1 - p in a set. `widest`:
    how many classes a set may hold before the answer is 'not sure'."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    coverage: float = Field(gt=0, lt=1)
    quantile: float = Field(ge=0, le=1)
    widest: int = Field(ge=1)


class SymmetryRule(NamedTuple):
    """`threshold`: of two classes, the probability of 'symmetric' from which that is the answer; of three, None."""

    classes: Sequence[str]
    temperature: float
    threshold: float | None


class ClassRule(NamedTuple):
    """`unlikeness_limit`: the squared distance from the training images above which the answer is 'not sure'."""

    classes: Sequence[str]
    temperature: float
    conformal: Conformal
    unlikeness_limit: float


def decide_symmetry(logits: ArrayLike, rule: SymmetryRule) -> Symmetry:
    """(2,) or (3,) logits -> the answer of the symmetry network.

    >>> rule = SymmetryRule(("asymmetric", "symmetric"), 1.0, threshold=0.3)
    >>> found = decide_symmetry([np.log(0.6), np.log(0.4)], rule)
    >>> found.label, found.probability
    ('symmetric', 0.4)
    """
    p = softmax(logits, rule.temperature)
    likeliest = int(p.argmax()) if rule.threshold is None else int(p[1] >= rule.threshold)
    return Symmetry(
        label=rule.classes[likeliest],  # one of SYMMETRIES: checked when the model was opened
        probability=_rounded(p[likeliest]),
        probabilities=dict(zip(rule.classes, map(_rounded, p), strict=True)),
        threshold=rule.threshold,
    )


def decide_class(logits: ArrayLike, unlikeness: float, rule: ClassRule) -> Diagnosis:
    """(K,) logits and the distance from the training images -> a class, or none and the reasons.

    >>> rule = ClassRule(("mel", "nv"), 1.0, Conformal(coverage=0.9, quantile=0.7, widest=1), unlikeness_limit=2.0)
    >>> decide_class([np.log(0.2), np.log(0.8)], 1.1, rule).label
    'nv'
    >>> decide_class([np.log(0.4), np.log(0.6)], 2.5, rule).reasons
    ['two classes fit: melanocytic naevus and melanoma', 'unlike the images it was trained on']
    """
    p = softmax(logits, rule.temperature)
    ranked = [int(k) for k in np.argsort(-p, kind="stable")]
    fits = prediction_sets(p, rule.conformal.quantile)
    fitting = [rule.classes[k] for k in ranked if fits[k]]
    reasons = []
    if not fitting:
        reasons.append(NONE_FITS)
    elif len(fitting) > rule.conformal.widest:
        reasons.append(_several(fitting))
    if unlikeness > rule.unlikeness_limit:
        reasons.append(UNLIKE)
    return Diagnosis(
        label=None if reasons else fitting[0],
        probabilities=dict(zip(rule.classes, map(_rounded, p), strict=True)),
        prediction_set=fitting,
        coverage=rule.conformal.coverage,
        unlikeness=_rounded(unlikeness),
        unlikeness_limit=rule.unlikeness_limit,
        reasons=reasons,
    )


def _several(fitting: Sequence[str]) -> str:
    counted = ("two", "three", "four", "five", "six", "seven", "eight", "nine")
    number = counted[len(fitting) - 2] if 2 <= len(fitting) <= 9 else str(len(fitting))
    names = [class_name(label) for label in fitting]
    return f"{number} classes fit: {', '.join(names[:-1])} and {names[-1]}"


def _rounded(value: float) -> float:
    return round(float(value), 4)
