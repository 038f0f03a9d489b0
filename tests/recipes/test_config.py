"""Configurations: every YAML is valid, flags win, mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from cutis.errors import CutisError
from cutis.recipes.config import describe_fields, load_config, parse_flags
from cutis.recipes.distillation_config import DistillationConfig

FILES = sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml"))
CONFIGS = [path for path in FILES if path.read_text(encoding="utf-8").startswith("# cutis train supervised ")]


def test_found_the_configurations():
    assert len(CONFIGS) >= 3


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_is_valid_and_ends_at_the_networks_size(path):
    config = load_config(path, {})
    assert config.phases[-1].size == config.preprocessing.size
    assert config.phases[0].start == 0
    assert sum(config.split.fractions.values()) == pytest.approx(1)
    assert path.read_text(encoding="utf-8").startswith("# cutis train supervised --config ")


DISTILLED = [path for path in FILES if path.read_text(encoding="utf-8").startswith("# cutis train distillation ")]


def test_distillations_configurations_are_valid_and_have_the_papers_weights():
    assert len(DISTILLED) >= 2
    for path in DISTILLED:
        config = load_config(path, {}, DistillationConfig)
        loss = config.loss
        assert (loss.dice, loss.boundary, loss.ag_op, loss.padd, loss.effu) == (1, 0.2, 1.0, 0.1, 0.01)
        assert tuple(config.agreement.model_dump().values()) == (0.05, 0.4)
        assert config.phases[-1].size == config.preprocessing.size


def test_flags_win_over_the_file():
    config = load_config(CONFIGS[0], parse_flags(["--epochs", "3", "--loss.boundary=0", "--learning-rate", "1e-3"]))
    assert (config.epochs, config.loss.boundary, config.learning_rate) == (3, 0, 1e-3)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--nosuch", "1"], "field 'nosuch': Extra inputs"),
        (["--epochs", "many"], "field 'epochs': Input should be a valid integer"),
        (["--epochs.a", "1"], "'epochs' holds no fields"),
        (["--augmentation.hair", "3"], "field 'augmentation.hair': Input should be less than or equal to 1"),
        (["epochs"], "'epochs' is not a flag"),
        (["--epochs"], "--epochs has no value"),
    ],
)
def test_mistakes_are_named(flags, message):
    with pytest.raises(CutisError, match=message):
        load_config(CONFIGS[0], parse_flags(flags))


def test_bad_files_are_named(tmp_path):
    with pytest.raises(CutisError, match="cannot be read"):
        load_config(tmp_path / "no.yaml", {})
    (tmp_path / "bad.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(CutisError, match="not valid YAML"):
        load_config(tmp_path / "bad.yaml", {})


def test_every_field_is_described():
    lines = describe_fields().splitlines()
    assert "--loss.boundary  float" in lines
    assert len(lines) > 30
