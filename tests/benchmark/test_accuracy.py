"""Accuracy is found by the hash of the file that is timed, and a comparison by its pairs."""

from __future__ import annotations

import json

import pytest

from cutis.benchmark.accuracy import Accuracy, comparison_rows, read_accuracy
from cutis.benchmark.result import verdict
from cutis.errors import CutisError


def write(path, digits: str, *, difference=None, measure: str = "dice"):
    dice = {"mean": 0.9, "low": 0.88, "high": 0.92, "groups": 3}
    origin = {"model": f"toy 1, int8, SHA-256 {digits}"} | ({"compared with": "unet/rows.csv"} if difference else {})
    report = {"origin": origin, "datasets": [{"dataset": "ph2", "images": 5, "measures": {measure: dice}}]}
    report["comparisons"] = []
    if difference:
        ends = dict(zip(("mean", "low", "high"), difference, strict=True))
        report["comparisons"] = [{"dataset": "ph2", "measures": {"dice": {"difference": ends}}}]
    path.write_text(json.dumps(report))
    return path


def test_found_by_the_files_hash_on_the_named_data_set(tmp_path):
    file = write(tmp_path / "a.json", "0123456789ab")
    assert read_accuracy([file], "ph2") == {"0123456789ab": Accuracy(5, 0.9, 0.88, 0.92, None)}
    assert read_accuracy([file], "isic2017") == {}
    classifier = write(tmp_path / "b.json", "0123456789ab", measure="accuracy")
    assert read_accuracy([classifier], "ph2") == {}


@pytest.mark.parametrize(("difference", "met"), [((0.0, -0.01, 0.01), True), ((-0.02, -0.03, -0.01), False)])
def test_no_worse_means_within_the_paired_interval(tmp_path, difference, met):
    found = read_accuracy([write(tmp_path / "a.json", "0123456789ab", difference=difference)], "ph2")
    (row,) = comparison_rows(found, {"0123456789ab": "toy 1 int8", "ffffffffffff": "another"})
    assert row.name == "toy 1 int8, minus unet/rows.csv" and verdict(row) is met


@pytest.mark.parametrize("content", ["", "[]", '{"origin": {}}', '{"origin": [], "datasets": []}'])
def test_another_file_is_refused_by_name(tmp_path, content):
    file = tmp_path / "other.json"
    file.write_text(content)
    with pytest.raises(CutisError, match=r"other\.json is not a summary\.json of 'cutis evaluate'"):
        read_accuracy([file], "ph2")
