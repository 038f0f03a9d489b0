"""A card holds every figure, each of the very file it describes, or it is not written."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cutis import cli
from cutis.errors import CutisError
from cutis.evaluation.evaluate import Row
from cutis.evaluation.summary import BOOTSTRAP, summarise
from cutis.evaluation.tables import TITLES, write_json, write_rows
from cutis.export.card import Sources, model_card
from cutis.recipes.config import load_config

SMOKE = Path(__file__).parents[2] / "configs" / "sparsesegnet" / "smoke.yaml"


def write_evaluation(folder: Path, sha256: str) -> Path:
    values = (0.3, 0.8, 0.9, 0.95)
    rows = [
        Row("folder", f"img_{i}", f"les_{i}", 96, 72, 100, 90, dict.fromkeys(TITLES, value))
        for i, value in enumerate(values)
    ]
    folder.mkdir(parents=True)
    write_rows(folder / "rows.csv", rows)
    origin = {"model": f"toy 1.2, fp32, SHA-256 {sha256[:12]}", "split": "test", "command": "cutis evaluate toy.onnx"}
    content = {"origin": origin, "bootstrap": BOOTSTRAP, "datasets": summarise(rows, BOOTSTRAP), "failures": []}
    write_json(folder / "summary.json", content)
    return folder / "summary.json"


@pytest.fixture
def sources(tmp_path, exported) -> Sources:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(yaml.safe_dump(load_config(SMOKE, {}).model_dump(mode="json")))
    counts = {part: {"folder": n} for part, n in (("train", 1234), ("validation", 30), ("test", 4))}
    data = {"training": "abcdef", "validation": "fedcba", "counts": counts}
    (run / "run.json").write_text(json.dumps({"parameters": 4321, "data": data, "versions": {"torch": "9.9"}}))
    sha256 = hashlib.sha256(exported.read_bytes()).hexdigest()
    benchmark = {
        "benchmark": "network", "command": "cutis benchmark network toy.onnx", "date": "2026-01-01", "complaints": [],
        "machine": {"processor": "Abacus", "cores": 2}, "facts": {"toy": {"sha256": sha256}},
        "rows": [{"name": "toy", "values": {"ms": 1.5, "ratio to U": 0.015}, "target": None, "met": None}],
    }  # fmt: skip
    (tmp_path / "network.json").write_text(json.dumps(benchmark))
    (tmp_path / "notes.md").write_text("Hair is mistaken for lesion.")
    accuracy = write_evaluation(tmp_path / "evaluation", sha256)
    return Sources(run, [exported], [accuracy], [tmp_path / "network.json"], tmp_path / "notes.md", "cutis train toy")


def test_every_figure_is_on_the_card(sources, exported):
    card = model_card(sources)
    sha256 = hashlib.sha256(exported.read_bytes()).hexdigest()
    for text in (
        "# Model card: toy 1.2", sha256, f"{exported.stat().st_size / 1e6:.2f} MB", "1,234", "4,321 parameters",
        "abcdef",
        "cutis train toy", "cutis evaluate toy.onnx", "0.7375 [", "1 of 4", "img_0 (0.30)", "Hair is mistaken",
        "0.015", "Abacus", "non-commercial", "torch 9.9", "seed 0", "For research only",
    ):  # fmt: skip
        assert text in card, text
    options = json.dumps(yaml.safe_load((sources.run / "config.yaml").read_text())["network"]["options"])
    assert options in card and "{" not in card.replace(options, "")  # no field of the template is left over


def test_what_was_pruned_is_on_the_card(sources):
    path = sources.run / "run.json"
    pruned = {"by": {"kind": "fisher"}, "left": {"encoder.stage4.entry": [16, 8]}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pruned": pruned}))
    assert "pruned last by fisher (encoder.stage4.entry 16 to 8 channels), 4,321 parameters" in model_card(sources)


def drop(path: Path, *keys) -> None:
    content = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("measure", TITLES)
def test_a_missing_measure_is_an_error(sources, measure):
    drop(sources.accuracy[0], "datasets", 0, "measures", measure)
    with pytest.raises(CutisError, match=f"no {measure} of folder"):
        model_card(sources)


@pytest.mark.parametrize("name", ["parameters", "data", "versions"])
def test_a_missing_fact_of_the_run_is_an_error(sources, name):
    drop(sources.run / "run.json", name)
    with pytest.raises(CutisError, match=name):
        model_card(sources)


def test_figures_of_another_file_are_not_this_ones(sources, tmp_path):
    other = write_evaluation(tmp_path / "other", "0" * 64)
    with pytest.raises(CutisError, match="no evaluation of"):
        model_card(replace(sources, accuracy=[other]))
    network = json.loads(sources.speed[0].read_text())
    network["facts"]["toy"]["sha256"] = "0" * 64
    sources.speed[0].write_text(json.dumps(network))
    with pytest.raises(CutisError, match="no benchmark of"):
        model_card(sources)


def test_times_of_a_busy_machine_are_refused(sources):
    network = json.loads(sources.speed[0].read_text())
    network["complaints"] = ["load 7"]
    sources.speed[0].write_text(json.dumps(network))
    with pytest.raises(CutisError, match="busy machine"):
        model_card(sources)


@pytest.mark.parametrize("field", ["accuracy", "speed", "models"])
def test_nothing_may_be_left_out(sources, field):
    with pytest.raises(CutisError):
        model_card(replace(sources, **{field: []}))


def test_images_that_could_not_be_measured_are_an_error(sources):
    content = json.loads(sources.accuracy[0].read_text())
    content["failures"] = [["folder", "img_9", "gone"]]
    sources.accuracy[0].write_text(json.dumps(content))
    with pytest.raises(CutisError, match="could not be measured"):
        model_card(sources)


def test_verb(sources, tmp_path):
    words = [
        "card",
        sources.run,
        "--models",
        *sources.models,
        "--accuracy",
        *sources.accuracy,
        "--speed",
        *sources.speed,
    ]
    words += ["--notes", sources.notes, "--command", sources.command, "--output", tmp_path / "toy.md"]
    assert cli.app([str(word) for word in words], result_action="return_value") == 0
    assert (tmp_path / "toy.md").read_text(encoding="utf-8") == model_card(sources)
