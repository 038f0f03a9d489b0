"""Accuracy beside speed: what `cutis evaluate` measured of the very files that are timed, found by their SHA-256.

An untrained peer has none, so accuracy is compared only where both networks were trained and evaluated here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cutis.benchmark.result import Row
from cutis.errors import CutisError

__all__ = ["Accuracy", "comparison_rows", "read_accuracy"]

_HASH = re.compile(r"SHA-256 ([0-9a-f]{12})")


class Accuracy(NamedTuple):
    """Mean Dice of one model on one data set with its interval. `against`: (rows it was compared with, difference,
    its low end, its high end), where the evaluation was paired."""

    images: int
    dice: float
    low: float
    high: float
    against: tuple[str, float, float, float] | None

    def values(self) -> dict[str, float]:
        """As a row's."""
        return {"Dice": self.dice, "Dice low": self.low, "Dice high": self.high}


def read_accuracy(files: Sequence[Path], dataset: str) -> dict[str, Accuracy]:
    """summary.json files of `cutis evaluate` -> first twelve digits of a model's SHA-256 -> its accuracy on `dataset`.

    Files of classifiers, and of other data sets, are passed over.
    """
    found = {}
    for file in files:
        try:
            report = json.loads(file.read_text(encoding="utf-8"))
            digits = _HASH.search(report["origin"].get("model", ""))
            measured = next((of for of in report["datasets"] if of["dataset"] == dataset), None)
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise CutisError(f"{file} is not a summary.json of 'cutis evaluate' ({error!r}): give another") from error
        if digits and measured and "dice" in measured["measures"]:
            dice = measured["measures"]["dice"]
            compared = _against(report, dataset)
            found[digits[1]] = Accuracy(measured["images"], dice["mean"], dice["low"], dice["high"], compared)
    return found


def comparison_rows(found: Mapping[str, Accuracy], titles: Mapping[str, str]) -> list[Row]:
    """SHA-256's digits -> accuracy, and -> title: one row a model that was compared, pair by pair, with another.

    The target: that the other is not better beyond the interval of the paired difference.
    """
    rows = []
    for digits, title in titles.items():
        accuracy = found.get(digits)
        if accuracy is not None and accuracy.against is not None:
            rival, mean, low, high = accuracy.against
            values = {"Dice difference": mean, "Dice difference low": low, "Dice difference high": high}
            rows.append(Row(f"{title}, minus {rival}", values, ("Dice difference high", ">=", 0.0)))
    return rows


def _against(report: dict[str, Any], dataset: str) -> tuple[str, float, float, float] | None:
    for comparison in report.get("comparisons") or ():
        if comparison["dataset"] == dataset:
            difference = comparison["measures"]["dice"]["difference"]
            rival = str(report["origin"].get("compared with", "another"))
            return rival, difference["mean"], difference["low"], difference["high"]
    return None
