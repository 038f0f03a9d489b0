"""Search spaces: what may vary is read, drawn and refused as the recipe's own configuration says."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import optuna
import pytest

from cutis.errors import CutisError
from cutis.recipes.config import load_config
from cutis.tuning.space import Choices, Interval, as_flags, check_space, read_space

CONFIGS = Path(__file__).parents[2] / "configs"
LOAD = partial(load_config, CONFIGS / "sparsesegnet" / "smoke.yaml")


def space_of(text, tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(text, encoding="utf-8")
    space = read_space(path)
    check_space(space, path, LOAD)
    return space


def test_reads_ranges_and_choices(tmp_path):
    space = space_of(
        "learning_rate: {type: float, low: 1e-4, high: 1.0e-2, log: true}\n"
        "batch_size: {choices: [4, 8]}\n"
        "epochs: {type: int, low: 3, high: 9, step: 3}\n"
        "datasets.folder: {type: float, low: 0.5, high: 2.0}\n",
        tmp_path,
    )
    assert space["learning_rate"] == Interval(type="float", low=1e-4, high=1e-2, log=True)
    assert space["batch_size"] == Choices(choices=(4, 8))
    trial = optuna.create_study().ask()
    drawn = {name: values.suggest(name, trial) for name, values in space.items()}
    assert 1e-4 <= drawn["learning_rate"] <= 1e-2
    assert drawn["batch_size"] in (4, 8)
    assert drawn["epochs"] in (3, 6, 9)
    config = LOAD(as_flags(drawn))
    assert config.learning_rate == drawn["learning_rate"]
    assert (config.epochs, config.datasets["folder"]) == (drawn["epochs"], drawn["datasets.folder"])


def test_the_entries_of_a_list_vary_one_by_one(tmp_path):
    space = space_of(
        "network.options.widths.2: {type: int, low: 8, high: 32, step: 8}\n"
        "network.options.depths.0: {choices: [1, 2]}\n",
        tmp_path,
    )
    assert LOAD({}).network.options == {"widths": [8, 16, 24, 24], "depths": [1, 1, 1, 3]}
    drawn = {"network.options.widths.2": 32, "network.options.depths.0": 2}
    assert LOAD(as_flags(drawn)).network.options == {"widths": [8, 16, 32, 24], "depths": [2, 1, 1, 3]}
    assert LOAD(as_flags({"phases.1.size": 96})).phases[1].size == 96
    assert [space["network.options.widths.2"].holds(value) for value in (8, 24, 12, 40, "8", 8.0)] == [
        True, True, False, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "held", "outside"),
    [
        (Interval(type="float", low=0, high=1), [0, 0.3, 1.0], [-0.1, 1.1, None, "0.3", True]),
        (Interval(type="float", low=0, high=0.3, step=0.1), [0.1, 0.2, 0.3], [0.15]),
        (Interval(type="int", low=2, high=5), [2, 5], [1, 6, 2.0, True]),
        (Choices(choices=(1, "cosine", None)), [1, "cosine", None], [True, 2, "constant"]),
        (Choices(choices=(True, False)), [True, False], [1, 0, None]),
    ],
)
def test_holds_what_it_may_be(values, held, outside):
    assert all(values.holds(value) for value in held)
    assert not any(values.holds(value) for value in outside)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nosuch: {choices: [1, 2]}", "field 'nosuch' cannot be 1: .*Extra inputs"),
        ("loss.nosuch: {choices: [1, 2]}", "field 'loss.nosuch' cannot be 1: .*Extra inputs"),
        ("epochs.a: {choices: [1, 2]}", "'epochs' holds no fields"),
        ("network.options.widths.4: {choices: [8, 16]}", "'4' is no place in a list of 4, from 0"),
        ("network.options.widths.x: {choices: [8, 16]}", "'x' is no place in a list of 4, from 0"),
        ("network.options.widths.0.1: {choices: [8, 16]}", "'0' holds no fields"),
        ("batch_size: {type: int, low: 0, high: 8}", "'batch_size' cannot be 0: .*greater than or equal to 1"),
        ("augmentation.hair: {type: float, low: 0, high: 3}", "cannot be 3.0: .*less than or equal to 1"),
        ("batch_size: {type: float, low: 8, high: 32}", "'batch_size' cannot be 15.6.*valid integer"),
        ("precision: {choices: [32-true, 8-true]}", "cannot be '8-true'"),
        ("learning_rate: {type: float, low: 2, high: 1}", "low 2 is not below high 1"),
        ("learning_rate: {type: float, low: 0, high: 1, log: true}", "begins above 0"),
        ("learning_rate: {type: float, low: 1, high: .inf}", "high: Input should be a finite number"),
        ("learning_rate: {low: 1, high: 2}", "type: Field required"),
        ("batch_size: {type: int, low: 1.5, high: 2}", "whole numbers"),
        ("batch_size: {choices: [8]}", "choices: Tuple should have at least 2 items"),
        ("batch_size: [8, 16]", "is no range: write"),
        ("split.seed: {choices: [1, 2]}", "decides what is measured"),
        ("{}", "holds no field to search"),
        ("", "holds no field to search"),
        ("a: [", "not valid YAML"),
    ],
)
def test_mistakes_are_one_line(text, message, tmp_path):
    with pytest.raises(CutisError, match=message) as error:
        space_of(text, tmp_path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CutisError, match="cannot be read"):
        read_space(tmp_path / "nosuch.yaml")
