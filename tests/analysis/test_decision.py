"""The rules by hand: softmax at a temperature, the set of classes that fit, and when the answer is 'not sure'."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutis.analysis.decision import (
    UNLIKE,
    ClassRule,
    Conformal,
    SymmetryRule,
    decide_class,
    decide_symmetry,
)

CLASSES = ("mel", "nv", "bcc", "akiec")


def rule(*, temperature: float = 1.0, quantile: float = 0.75, widest: int = 1, limit: float = 4.0) -> ClassRule:
    return ClassRule(CLASSES, temperature, Conformal(coverage=0.9, quantile=quantile, widest=widest), limit)


def logits(*p: float) -> np.ndarray:
    """Logits whose softmax at temperature 1 is `p`, moved by a constant, which changes nothing."""
    return np.log(np.array(p, np.float64)) + 7


def test_a_temperature_takes_the_root_of_the_odds() -> None:
    """p^(1/T), normalised: odds of 4 to 1 become 2 to 1 at T = 2."""
    found = decide_symmetry(logits(0.8, 0.2), SymmetryRule(("asymmetric", "symmetric"), 2.0, 0.5))
    assert found.probabilities == {"asymmetric": 0.6667, "symmetric": 0.3333}
    far = decide_class(np.array([1000.0, 0.0, -1000.0, 0.0]), 1.0, rule(temperature=0.5))
    assert far.probabilities == {"mel": 1.0, "nv": 0.0, "bcc": 0.0, "akiec": 0.0}


def test_one_class_that_fits_is_the_answer() -> None:
    found = decide_class(logits(0.1, 0.7, 0.15, 0.05), 1.0, rule())
    assert (found.label, found.prediction_set, found.reasons) == ("nv", ["nv"], [])
    assert found.probabilities == {"mel": 0.1, "nv": 0.7, "bcc": 0.15, "akiec": 0.05}
    assert (found.coverage, found.unlikeness, found.unlikeness_limit) == (0.9, 1.0, 4.0)


def test_the_set_holds_every_class_whose_score_is_within_the_quantile() -> None:
    """1 - p <= q: 0.2501 is in at q = 0.75, 0.2498 is not; the boundary itself, exact for four quarters, is."""
    found = decide_class(logits(0.2501, 0.5, 0.2498, 0.0001), 1.0, rule())
    assert found.prediction_set == ["nv", "mel"] and found.label is None
    assert found.reasons == ["two classes fit: melanocytic naevus and melanoma"]
    assert decide_class(logits(0.2501, 0.5, 0.2498, 0.0001), 1.0, rule(widest=2)).label == "nv"
    assert decide_class(np.zeros(4), 1.0, rule()).prediction_set == list(CLASSES)


def test_three_classes_and_none() -> None:
    wide = decide_class(logits(0.3, 0.32, 0.28, 0.1), 1.0, rule(widest=2))
    assert wide.reasons == ["three classes fit: melanocytic naevus, melanoma and basal cell carcinoma"]
    none = decide_class(logits(0.3, 0.32, 0.28, 0.1), 1.0, rule(quantile=0.5))
    assert (none.label, none.prediction_set, none.reasons) == (None, [], ["no class fits"])


def test_an_image_unlike_those_of_the_training_has_no_class_however_sure_it_looks() -> None:
    sure = logits(0.997, 0.001, 0.001, 0.001)
    assert decide_class(sure, 4.0, rule()).label == "mel"
    found = decide_class(sure, 4.01, rule())
    assert (found.label, found.prediction_set, found.reasons) == (None, ["mel"], [UNLIKE])


@given(st.lists(st.floats(-30, 30), min_size=4, max_size=4), st.floats(0, 1), st.integers(1, 4), st.floats(0, 10))
def test_a_label_is_the_likeliest_class_of_a_narrow_set(
    values: list[float], quantile: float, widest: int, unlikeness: float
) -> None:
    found = decide_class(np.array(values), unlikeness, rule(quantile=quantile, widest=widest))
    ranked = [found.probabilities[name] for name in found.prediction_set]
    assert ranked == sorted(ranked, reverse=True)
    assert (found.label is None) == bool(found.reasons)
    assert (found.label is None) == (not 1 <= len(found.prediction_set) <= widest or unlikeness > 4.0)
    if found.label:
        assert found.probabilities[found.label] == max(found.probabilities.values())


@pytest.mark.parametrize(("threshold", "label", "p"), [(0.39, "symmetric", 0.4), (0.41, "asymmetric", 0.6)])
def test_two_symmetries_are_told_apart_by_the_threshold(threshold: float, label: str, p: float) -> None:
    found = decide_symmetry(logits(0.6, 0.4), SymmetryRule(("asymmetric", "symmetric"), 1.0, threshold))
    assert (found.label, found.probability, found.threshold) == (label, p, threshold)
    assert found.probabilities == {"asymmetric": 0.6, "symmetric": 0.4}


def test_of_three_symmetries_the_likeliest_is_the_answer() -> None:
    found = decide_symmetry(logits(0.3, 0.5, 0.2), SymmetryRule(("asymmetric", "one_axis", "two_axes"), 1.0, None))
    assert (found.label, found.probability, found.threshold) == ("one_axis", 0.5, None)
