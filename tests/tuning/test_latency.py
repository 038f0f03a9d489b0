"""Two objectives: the front is the front, what is too slow is not trained, and a study goes on as what it was made for.

Most tests give the trials formulas in place of a training and of a clock; the last one trains and times drawn lesions.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as some

torch = pytest.importorskip("torch")
optuna = pytest.importorskip("optuna")

from optuna.trial import TrialState, create_trial  # noqa: E402

from cutis.errors import CutisError  # noqa: E402
from cutis.recipes.config import load_config  # noqa: E402
from cutis.tuning import search as searches  # noqa: E402
from cutis.tuning.front import front  # noqa: E402
from cutis.tuning.kinds import Kind  # noqa: E402
from cutis.tuning.latency import Latency, Ratio, ratio_of  # noqa: E402
from cutis.tuning.search import search  # noqa: E402

SPACE = """
network.options.widths.1: {type: int, low: 8, high: 64, step: 8}
network.options.depths.3: {choices: [1, 2, 3]}
learning_rate: {type: float, low: 1.0e-4, high: 1.0e-2, log: true}
"""
COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL


class Clock:
    """A made-up clock: the configuration as given, 16 channels and three blocks, takes the reference's time."""

    def __init__(self):
        self.timed = []

    def __call__(self, network, side):
        width, depth = network.options["widths"][1], network.options["depths"][3]
        self.timed.append((width, depth, side))
        ratio = width * depth / 48
        return Ratio(ratio, 0.9 * ratio, 1.1 * ratio)

    def latency(self, limit=None):
        return Latency(self, "the-reference", {"processor": "of the test"}, limit)


def formula(config, data, folder, *, resume, after_epoch, **rest):
    """Falls from epoch to epoch, so that the first one must be remembered; more channels and blocks are better."""
    checkpoint = folder / "checkpoints" / "last.ckpt"
    first = json.loads(checkpoint.read_text()) + 1 if resume else 0
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    width, depth = config.network.options["widths"][1], config.network.options["depths"][3]
    for epoch in range(first, config.epochs):
        after_epoch(epoch, (1 - 1 / (width * depth**0.5)) * (1 - 10 * config.learning_rate) - 0.1 * epoch)
        checkpoint.write_text(json.dumps(epoch))


@pytest.fixture
def trained_by(monkeypatch):
    def put(train):
        def kind_of(path, flags, *, symmetry):
            return Kind("supervised", partial(load_config, path), train, "dice", "maximize")

        monkeypatch.setattr(searches, "kind_of", kind_of)

    put(formula)
    return put


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def asked(asked, clock):
    asked.space.write_text(SPACE, encoding="utf-8")
    return asked._replace(latency=clock.latency())


def beaten(one, other):
    """(accuracy, time), twice: whether `other` is as good in both and better in one."""
    return other[0] >= one[0] and other[1] <= one[1] and tuple(other) != tuple(one)


points = some.lists(some.tuples(*[some.integers(0, 6).map(lambda n: n / 6)] * 2, some.sampled_from([-1.0, 0.0, 0.5])))


@given(points)
def test_the_front_is_what_nothing_beats_and_nothing_above_the_limit(found):
    study = optuna.create_study(directions=["maximize", "minimize"])
    for dice, time, above in found:
        study.add_trial(create_trial(values=(dice, time), system_attrs={"constraints:latency": above}))
    study.add_trial(create_trial(state=PRUNED))
    allowed = {n: point[:2] for n, point in enumerate(found) if point[2] <= 0}
    wanted = {n for n, one in allowed.items() if not any(beaten(one, other) for other in allowed.values())}
    assert {trial.number for trial in front(study)} == wanted
    times = [trial.values[1] for trial in front(study)]
    assert times == sorted(times)


def test_finds_the_front_and_writes_what_train_takes(asked, trained_by, clock, capsys):
    study = search(asked._replace(trials=14))
    trials = study.trials
    assert [trial.state for trial in trials] == [COMPLETE] * 14  # none is pruned on the way
    wanted = {a.number for a in trials if not any(beaten(a.values, b.values) for b in trials)}
    assert 1 < len(wanted) < 14
    folder = asked.output / "front"
    assert {path.name for path in folder.iterdir()} == {f"{number:04d}.yaml" for number in wanted}
    given = load_config(asked.config, {})
    for number in wanted:
        path, params = folder / f"{number:04d}.yaml", trials[number].params
        config = load_config(path, {})
        width, depth = params["network.options.widths.1"], params["network.options.depths.3"]
        options = {"widths": [8, width, 24, 24], "depths": [1, 1, 1, depth]}
        network = given.network.model_copy(update={"options": options})
        assert config == given.model_copy(update={"network": network, "learning_rate": params["learning_rate"]})
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[0] == f"# cutis train supervised --config {path} --data {asked.data}"
        assert f"validation dice {trials[number].values[0]:.4f}, {width * depth / 48:.3f} of the" in lines[2]
    assert (asked.output / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert not (asked.output / "best.yaml").exists()
    assert not (asked.output / "history.png").exists()
    said = capsys.readouterr().out
    assert f"Pareto front: {len(wanted)} of 14 trained networks" in " ".join(said.split())
    assert "no trial is pruned while it trains" in said
    assert all(f" {number} * " in said for number in wanted)


def test_the_first_trial_is_the_configuration_as_given(asked, trained_by, clock):
    first = search(asked._replace(trials=2)).trials[0]
    assert first.params == {
        "network.options.widths.1": 16, "network.options.depths.3": 3, "learning_rate": 0.004,
    }  # fmt: skip
    assert first.values[1] == 1.0 and ratio_of(first) == (1.0, 0.9, 1.1)
    assert first.user_attrs["given"] is True
    assert clock.timed[0] == (16, 3, 32)


def test_a_configuration_outside_the_space_is_not_tried(asked, trained_by, capsys):
    asked.space.write_text(SPACE.replace("[1, 2, 3]", "[1, 2]"), encoding="utf-8")
    study = search(asked._replace(trials=1))
    assert "network.options.depths.3 is 3, which the space does not hold" in capsys.readouterr().out
    assert "given" not in study.trials[0].user_attrs


def test_what_is_too_slow_is_not_trained(asked, trained_by, clock, capsys):
    trained = []

    def train(config, data, folder, **rest):
        trained.append(folder.name)
        formula(config, data, folder, **rest)

    trained_by(train)
    study = search(asked._replace(trials=12, latency=clock.latency(limit=0.8)))
    slow = [trial for trial in study.trials if ratio_of(trial).median > 0.8]
    assert len(study.trials) == len(clock.timed) == 12 and 0 < len(slow) < 12
    for trial in slow:
        assert trial.state == PRUNED and trial.user_attrs["why"] == "over the limit"
        assert trial.constraints == {"latency": pytest.approx(ratio_of(trial).median - 0.8)}
    assert trained == [f"{t.number:04d}" for t in study.trials if t not in slow]
    assert {path.name for path in (asked.output / "trials").iterdir()} == set(trained)
    assert all(trial.values[1] <= 0.8 for trial in front(study))
    assert "over the limit" in capsys.readouterr().out


def test_where_all_are_too_slow_there_is_no_front(asked, trained_by, clock, capsys):
    study = search(asked._replace(trials=3, latency=clock.latency(limit=0.001)))
    assert [trial.state for trial in study.trials] == [PRUNED] * 3
    assert "nothing to draw" in capsys.readouterr().out
    assert not (asked.output / "trials").exists()
    assert not (asked.output / "pareto.png").exists()


def test_goes_on_with_its_study_and_draws_as_if_never_stopped(asked, trained_by, clock):
    first = [trial.params for trial in search(asked._replace(trials=2)).trials]
    stale = asked.output / "front" / "9999.yaml"
    stale.write_text("{}", encoding="utf-8")
    continued = search(asked._replace(trials=12))
    assert len(clock.timed) == 12
    assert [t.params for t in continued.trials[:2]] == first
    at_once = search(asked._replace(trials=12, output=asked.output.with_name("other")))
    assert [t.params for t in continued.trials] == [t.params for t in at_once.trials]
    assert [t.values for t in continued.trials] == [t.values for t in at_once.trials]
    assert not stale.exists()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_stopped_trial_keeps_its_time_and_its_epochs(asked, trained_by, clock, stop):
    def train(config, data, folder, *, resume, after_epoch, **rest):
        def stops(epoch, value):
            after_epoch(epoch, value)
            if folder.name == "0001" and epoch == 1 and not resume:
                raise stop

        formula(config, data, folder, resume=resume, after_epoch=stops, **rest)

    trained_by(train)
    asked = asked._replace(trials=2, latency=clock.latency(limit=100))
    with pytest.raises(KeyboardInterrupt):
        search(asked)
    study = search(asked)
    assert [trial.state for trial in study.trials] == [COMPLETE, FAIL, COMPLETE]
    cut, again = study.trials[1:]
    assert again.params == cut.params
    assert len(clock.timed) == 2
    assert list(again.user_attrs["epochs"]) == ["0", "1", "2"]
    assert again.values == [max(again.user_attrs["epochs"].values()), ratio_of(again).median]
    assert again.values[0] == again.user_attrs["epochs"]["0"]  # of the process that was stopped
    assert not (asked.output / "trials" / "0002").exists()


def test_stopped_while_it_is_timed_it_is_timed_again(asked, trained_by, clock):
    calls = []

    def measure(network, side):
        calls.append(side)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return clock(network, side)

    asked = asked._replace(trials=1, latency=clock.latency(limit=2)._replace(measure=measure))
    with pytest.raises(KeyboardInterrupt):
        search(asked)
    study = search(asked)
    assert [trial.state for trial in study.trials] == [FAIL, COMPLETE]
    assert len(calls) == 2 and study.trials[1].user_attrs["given"] is True


def test_a_trial_that_diverges_is_not_on_the_front(asked, trained_by):
    def train(config, data, folder, **rest):
        if folder.name == "0000":
            raise searches.Diverged("the loss is not a number")
        formula(config, data, folder, **rest)

    trained_by(train)
    study = search(asked._replace(trials=3))
    assert [trial.state for trial in study.trials] == [PRUNED, COMPLETE, COMPLETE]
    assert 0 not in {trial.number for trial in front(study)}


def test_a_study_goes_on_as_what_it_was_made_for(asked, trained_by, clock, tmp_path):
    alone = asked._replace(latency=None, trials=1)
    assert len(search(alone).directions) == 1
    with pytest.raises(CutisError, match=r"made for one objective, and not for two .*: leave --latency out") as error:
        search(asked)
    assert "\n" not in str(error.value)
    asked = asked._replace(output=tmp_path / "second", trials=1)
    search(asked)
    with pytest.raises(CutisError, match=r"made for two objectives, .*, and not for one .*: give --latency"):
        search(asked._replace(latency=None))
    with pytest.raises(CutisError, match=r"another latency \(field 'limit'\)"):
        search(asked._replace(latency=clock.latency(limit=0.5)))
    other = clock.latency()._replace(facts={"processor": "another"})
    with pytest.raises(CutisError, match=r"another latency \(field 'processor'\)"):
        search(asked._replace(latency=other))
    given = asked.config.read_text(encoding="utf-8")
    asked.config.write_text(given.replace("- 16\n", "- 32\n", 1), encoding="utf-8")  # a width that is searched
    assert yaml.safe_load(asked.config.read_text(encoding="utf-8"))["network"]["options"]["widths"] == [8, 32, 24, 24]
    assert len(search(asked._replace(trials=2)).trials) == 2
    asked.config.write_text(given.replace("- 24\n", "- 32\n", 1), encoding="utf-8")  # one that is not
    with pytest.raises(CutisError, match=r"another configuration \(field 'network.options.widths.2'\)"):
        search(asked)


def test_a_classifier_has_no_latency(asked):
    config = Path(__file__).parents[2] / "configs" / "se-lcn" / "symmetry-smoke.yaml"
    with pytest.raises(CutisError, match="is of a classifier: --latency is for segmenters"):
        search(asked._replace(config=config))


def test_drawn_lesions_are_trained_and_timed(asked, tmp_path):
    """Everything real: a network of 8 to 24 channels at 32 pixels takes far less than the bundled one at 256."""
    from cutis.benchmark.shape import shape_latency

    study = search(asked._replace(trials=1, latency=shape_latency(0.5, tmp_path / "cache")))
    (trial,) = study.trials
    assert trial.state == COMPLETE
    assert 0 < ratio_of(trial).low <= trial.values[1] <= ratio_of(trial).high < 0.5
    assert 0 < trial.values[0] <= 1
    assert load_config(asked.output / "front" / "0000.yaml", {}) == load_config(asked.config, {})
