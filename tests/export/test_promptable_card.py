"""The promptable's card: of the bundled pair, every figure from a file, a missing one an error."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest
import yaml

from cutis.analysis.prompted import load_promptable_model
from cutis.errors import CutisError
from cutis.evaluation.evaluate import Row
from cutis.evaluation.summary import BOOTSTRAP, summarise
from cutis.evaluation.tables import TITLES, write_json, write_rows
from cutis.export.card import Sources, model_card

WEIGHTS = Path(str(resources.files("cutis"))) / "weights"
FILES = [WEIGHTS / f"promptable-{part}-int8.onnx" for part in ("encoder", "decoder")]
CONFIG = Path(__file__).parents[2] / "configs" / "promptable" / "ham10000.yaml"


@pytest.fixture
def sources(tmp_path) -> Sources:
    run, evaluation = tmp_path / "run", tmp_path / "evaluation"
    run.mkdir()
    evaluation.mkdir()
    (run / "config.yaml").write_text(CONFIG.read_text("utf-8"), "utf-8")
    counts = {part: {"ham10000": number} for part, number in (("train", 1234), ("validation", 30), ("test", 4))}
    facts = {
        "parameters": 4321, "versions": {"torch": "9.9"}, "weights": "from nothing", "scores": "the box alone chooses",
        "data": {"training": "abcdef", "validation": "fedcba", "counts": counts},
    }  # fmt: skip
    (run / "run.json").write_text(json.dumps(facts))
    rows = [
        Row(f"ph2 by {way}", f"img_{i}", f"les_{i}", 96, 72, 100, 90, dict.fromkeys(TITLES, value))
        for way in ("box", "1-point") for i, value in enumerate((0.3, 0.8, 0.9, 0.95))
    ]  # fmt: skip
    write_rows(evaluation / "rows.csv", rows)
    files = load_promptable_model(FILES[0])
    hashes = [files.info.sha256, files.decoder_info.sha256]
    name = f"toy, encoder SHA-256 {hashes[0][:12]}, decoder SHA-256 {hashes[1][:12]}"
    origin = {"model": name, "split": "test", "command": "cutis evaluate-prompts toy"}
    content = {"origin": origin, "bootstrap": BOOTSTRAP, "datasets": summarise(rows, BOOTSTRAP), "failures": []}
    write_json(evaluation / "summary.json", content)
    benchmark = {
        "benchmark": "prompts", "command": "cutis benchmark prompts", "date": "2026-01-01", "complaints": [],
        "machine": {"processor": "Abacus", "cores": 2}, "facts": {part: {"sha256": part} for part in hashes},
        "rows": [{"name": "encoder", "values": {"ms": 1.5, "ratio to U": 0.015}, "target": None, "met": None}],
    }  # fmt: skip
    (tmp_path / "prompts.json").write_text(json.dumps(benchmark))
    (tmp_path / "notes.md").write_text("Ink is mistaken for lesion.")
    made = evaluation / "summary.json"
    return Sources(run, FILES, [made], [tmp_path / "prompts.json"], tmp_path / "notes.md", "cutis train prompting")


def test_every_figure_is_on_the_card(sources):
    card = model_card(sources)
    for text in (
        "# Model card: promptable 0.1.0", "it is no SAM", "1,234", "4,321 parameters", "abcdef", "from nothing",
        "the box alone chooses", "cutis train prompting", "cutis evaluate-prompts toy", "0.7375 [", "1 of 4",
        "img_0 (0.30)", "Ink is mistaken", "0.015", "Abacus", "non-commercial", "torch 9.9", "seed 2026", "jitter 0.1",
        *(path.name for path in FILES),
    ):  # fmt: skip
        assert text in card, text
    options = json.dumps(yaml.safe_load(CONFIG.read_text("utf-8"))["network"]["options"])
    assert options in card and "{" not in card.replace(options, "")  # no field of the template is left over


def test_one_half_or_other_files_figures_are_refused(sources):
    with pytest.raises(CutisError, match="its encoder and its decoder: give both"):
        model_card(Sources(**{**vars(sources), "models": FILES[:1]}))
    text = sources.accuracy[0].read_text("utf-8").replace("decoder SHA-256 ", "decoder SHA-256 0")
    sources.accuracy[0].write_text(text, "utf-8")
    with pytest.raises(CutisError, match=r"no evaluation of promptable-decoder-int8\.onnx .*cutis evaluate-prompts"):
        model_card(sources)
