"""The classifiers' model cards: every figure from a file, a missing one an error."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
import yaml

from cutis.errors import CutisError
from cutis.evaluation.class_summary import summarise_classes
from cutis.evaluation.classifiers import ClassRow
from cutis.evaluation.summary import Bootstrap
from cutis.evaluation.tables import write_json
from cutis.export.card import Sources, model_card

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


def rows(wrong: int) -> list[ClassRow]:
    """28 lesions, the first `wrong` of which are called the next class."""
    found = []
    for number in range(28):
        truth, answer = CLASSES[number % 7], CLASSES[(number + (number < wrong)) % 7]
        p = dict.fromkeys(CLASSES, 0.05) | {answer: 0.7}
        found.append(
            ClassRow("ham10000", str(number), str(number), truth, answer, number > 2, (answer,), 1.0, p, {"iou": 0.25})
        )
    return found


@pytest.fixture
def sources(tmp_path, lesion_run, exported_cascade) -> Sources:
    """A run with its facts, both files, an evaluation and a benchmark of each."""
    run = tmp_path / "run"
    run.mkdir()
    config = yaml.safe_load((lesion_run / "config.yaml").read_text(encoding="utf-8"))
    (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    counts = {part: {name: number for number, name in enumerate(CLASSES, 10)} for part in ("train", "test")}
    facts = {
        "parameters": 1_234_567, "weights": "from nothing", "versions": {"torch": "9.9"},
        "data": {"training": "fingerprint-of-training", "counts": counts},
    }  # fmt: skip
    (run / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    (tmp_path / "notes.md").write_text("Calls every third wart a naevus.", encoding="utf-8")
    models = [exported_cascade / f"toy-lesion-{precision}.onnx" for precision in ("fp32", "int8")]
    accuracy, speed = [], []
    for wrong, path in enumerate(models):
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        origin = {"model": f"toy, SHA-256 {sha256[:12]}", "split": "test", "masks": "own", "command": "cutis evaluate"}
        accuracy.append(tmp_path / f"{path.stem}.json")
        found = summarise_classes(rows(7 * wrong), Bootstrap(0.95, 50, 1))
        write_json(accuracy[-1], {"origin": origin, "datasets": found, "failures": []})
        speed.append(tmp_path / f"{path.stem}-speed.json")
        row = {"name": path.stem, "values": {"ms": 12.5, "ratio to U": 0.11}}
        benchmark = {
            "benchmark": "cascade", "facts": {"lesion": {"sha256": sha256}}, "complaints": [], "rows": [row],
            "command": "cutis benchmark cascade", "date": "2026-01-02", "machine": {"processor": "P", "cores": 2},
        }  # fmt: skip
        speed[-1].write_text(json.dumps(benchmark), encoding="utf-8")
    return Sources(run, models, accuracy, speed, tmp_path / "notes.md", "cutis train lesion --config x.yaml")


def test_every_figure_is_from_a_file(sources):
    card = model_card(sources)
    for words in (
        "# Model card: toy-lesion", "1,234,567 parameters", "akiec, bcc", "and the symmetry network's map", "quantile",
        "fingerprint-of-training", "from nothing", "Calls every third wart", "Balanced accuracy", "0.11",
        "Melanoma: sensitivity at specificity 0.9", "cutis train lesion --config x.yaml", "research only", "12.5",
    ):  # fmt: skip
        assert words in card, words
    assert "-0.2500" in card  # 7 of 28 wrong, one of each class: INT8 minus fp32
    for path in sources.models:
        assert hashlib.sha256(path.read_bytes()).hexdigest() in card


def test_a_missing_figure_is_an_error(sources, tmp_path):
    with pytest.raises(CutisError, match="no evaluation of toy-lesion-int8"):
        model_card(replace(sources, accuracy=sources.accuracy[:1]))
    with pytest.raises(CutisError, match="no benchmark of toy-lesion-int8"):
        model_card(replace(sources, speed=sources.speed[:1]))
    content = json.loads(sources.accuracy[0].read_text(encoding="utf-8"))
    del content["datasets"][0]["measures"]["coverage"]
    sources.accuracy[0].write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CutisError, match="has no coverage of ham10000"):
        model_card(sources)
