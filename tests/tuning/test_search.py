"""The search goes on after whatever stops it, prunes, refuses what is not its own; what it finds trains.

Most tests give the trials a formula in place of a training: what is looked at is the search. One trains drawn lesions.
"""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
optuna = pytest.importorskip("optuna")

from optuna.trial import TrialState  # noqa: E402

from cutis.data.synthetic import write_folder  # noqa: E402
from cutis.errors import CutisError  # noqa: E402
from cutis.recipes.config import load_config  # noqa: E402
from cutis.recipes.engine import Diverged  # noqa: E402
from cutis.tuning import database  # noqa: E402
from cutis.tuning import search as searches  # noqa: E402
from cutis.tuning.kinds import Kind  # noqa: E402
from cutis.tuning.search import search  # noqa: E402

SMOKE = Path(__file__).parents[2] / "configs" / "sparsesegnet" / "smoke.yaml"
SPACE = "learning_rate: {type: float, low: 1.0e-4, high: 1.0e-2, log: true}\nbatch_size: {choices: [4, 8]}\n"
COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL


@pytest.fixture
def asked(asked):
    asked.space.write_text(SPACE, encoding="utf-8")
    return asked


def formula(config, data, folder, *, resume, after_epoch, **rest):
    """A run whose value rises to 1 - |log10(learning rate) + 3|, and which keeps where it is as a training does."""
    checkpoint = folder / "checkpoints" / "last.ckpt"
    first = json.loads(checkpoint.read_text()) + 1 if resume else 0
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    for epoch in range(first, config.epochs):
        after_epoch(epoch, (1 - abs(math.log10(config.learning_rate) + 3)) * (epoch + 1) / config.epochs)
        checkpoint.write_text(json.dumps(epoch))


@pytest.fixture
def trained_by(monkeypatch):
    """Put another function in the place of the training."""

    def put(train, better="maximize"):
        def kind_of(path, flags, *, symmetry):
            return Kind("supervised", lambda flags: load_config(path, flags), train, "dice", better)

        monkeypatch.setattr(searches, "kind_of", kind_of)

    put(formula)
    return put


def states(study):
    return [trial.state for trial in study.trials]


def test_finds_the_best_and_writes_what_train_takes(asked, trained_by, capsys):
    study = search(asked._replace(trials=16))
    assert len(study.trials) == 16
    assert study.best_value > 0.9
    assert set(states(study)) == {COMPLETE, PRUNED}
    best = load_config(asked.output / "best.yaml", {})
    assert (best.learning_rate, best.batch_size) == (
        study.best_params["learning_rate"],
        study.best_params["batch_size"],
    )
    given = load_config(asked.config, {}).model_copy(update=study.best_params)
    assert best == given
    first = (asked.output / "best.yaml").read_text(encoding="utf-8").splitlines()
    assert first[0] == f"# cutis train supervised --config {asked.output / 'best.yaml'} --data {asked.data}"
    assert "# cutis tune ..." in first
    for name in ("history.png", "importances.png"):
        assert (asked.output / name).read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert f" {study.best_trial.number} * " in said
    assert "pruned after epoch" in said
    importance = optuna.importance.get_param_importances(study)
    assert importance["learning_rate"] > importance["batch_size"]


def test_a_loss_is_minimised(asked, trained_by):
    trained_by(
        lambda *a, after_epoch, **k: formula(*a, after_epoch=lambda e, v: after_epoch(e, 2 - v), **k), "minimize"
    )
    study = search(asked)
    assert study.best_value == min(trial.value for trial in study.trials if trial.state == COMPLETE)
    assert min(study.best_trial.intermediate_values.values()) == study.best_value


def test_goes_on_to_the_trials_asked_for_and_draws_as_if_never_stopped(asked, trained_by):
    search(asked._replace(trials=8))
    continued = search(asked._replace(trials=11))
    assert len(search(asked._replace(trials=11)).trials) == 11
    at_once = search(asked._replace(trials=11, output=asked.output.with_name("other")))
    assert [t.params for t in continued.trials] == [t.params for t in at_once.trials]
    assert len({t.params["learning_rate"] for t in continued.trials}) == 11
    others = search(asked._replace(output=asked.output.with_name("third"), seed=2, trials=1))
    assert others.trials[0].params != at_once.trials[0].params


def test_a_trial_that_diverges_or_wants_too_much_memory_is_a_bad_one(asked, trained_by, capsys):
    def train(config, data, folder, **rest):
        if folder.name == "0001":
            raise Diverged("the loss is not a number")
        if folder.name == "0002":
            raise torch.OutOfMemoryError("out of memory")
        formula(config, data, folder, **rest)

    trained_by(train)
    study = search(asked)
    assert states(study) == [COMPLETE, PRUNED, PRUNED, COMPLETE]
    assert [t.user_attrs["why"] for t in study.trials[1:3]] == ["diverged", "out of memory"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])  # Lightning makes the second of the first
def test_a_stopped_trial_is_gone_on_with(asked, trained_by, stop):
    resumed = []

    def train(config, data, folder, *, resume, after_epoch, **rest):
        resumed.append((folder.name, resume))

        def stops(epoch, value):
            after_epoch(epoch, value)
            if folder.name == "0001" and epoch == 1 and not resume:
                raise stop

        formula(config, data, folder, resume=resume, after_epoch=stops, **rest)

    trained_by(train)
    with pytest.raises(KeyboardInterrupt):
        search(asked)
    study = search(asked)
    assert states(study) == [COMPLETE, FAIL, COMPLETE, COMPLETE, COMPLETE]
    assert resumed == [("0000", False), ("0001", False), ("0001", True), ("0003", False), ("0004", False)]
    assert study.trials[2].params == study.trials[1].params
    assert list(study.trials[2].intermediate_values) == [0, 1, 2]


def test_stopped_in_its_first_epoch_it_begins_anew(asked, trained_by):
    calls = []

    def train(config, data, folder, **rest):
        assert not folder.exists()
        calls.append(folder.name)
        (folder / "logs").mkdir(parents=True)
        if len(calls) == 1:
            raise KeyboardInterrupt
        formula(config, data, folder, **rest)

    trained_by(train)
    with pytest.raises(KeyboardInterrupt):
        search(asked)
    search(asked._replace(trials=1))
    assert calls == ["0000", "0000"]


def test_a_trial_taken_for_dead_gives_way(asked, trained_by, capsys):
    """As a suspended laptop does: what another process marked failed and queued again is not told a second value."""

    def train(config, data, folder, *, resume, after_epoch, **rest):
        if folder.name == "0000" and not resume:
            folder.joinpath("checkpoints").mkdir(parents=True)
            folder.joinpath("checkpoints", "last.ckpt").write_text("0")
            study = optuna.load_study(study_name="smoke", storage=database.sqlite_url(asked.output / "study.db"))
            study.tell(0, state=FAIL)
            database.retry()(study, study.trials[0])
        formula(config, data, folder, resume=resume, after_epoch=after_epoch, **rest)

    trained_by(train)
    study = search(asked._replace(trials=2))
    assert states(study) == [FAIL, COMPLETE, COMPLETE]
    assert "another process has it now" in capsys.readouterr().out


def test_other_processes_finish_what_they_run(asked, trained_by, capsys):
    search(asked._replace(trials=1))
    url = database.sqlite_url(asked.output / "study.db")
    other = optuna.load_study(study_name="smoke", storage=url)
    other.ask()  # runs, and has no heart: as one whose process is on another machine and well
    begun = time.monotonic()
    study = search(asked._replace(trials=2))
    assert time.monotonic() - begun > database.GRACE
    assert states(study) == [COMPLETE, TrialState.RUNNING]
    assert "1 trials are running in other processes" in capsys.readouterr().out


def test_no_trial_begins_after_the_time_is_up(asked, trained_by, capsys):
    assert search(asked._replace(minutes=0)).trials == []
    assert "nothing to draw" in capsys.readouterr().out
    assert not (asked.output / "best.yaml").exists()


def test_a_study_is_refused_to_another_search(asked, trained_by, drawn, tmp_path):
    search(asked._replace(trials=1))
    asked.space.write_text(SPACE.replace("[4, 8]", "[4, 8, 12]"), encoding="utf-8")
    with pytest.raises(
        CutisError, match=r"study 'smoke' in .*study\.db was made with another space \(field 'batch_size'\)"
    ):
        search(asked)
    asked.space.write_text(SPACE, encoding="utf-8")
    more = tmp_path / "more"
    shutil.copytree(drawn, more)
    write_folder(more, 13, seed=5, width=64, height=48)
    with pytest.raises(CutisError, match="was made with another data: go on"):
        search(asked._replace(data=more))
    config = asked.config.read_text(encoding="utf-8")
    asked.config.write_text(config.replace("boundary: 0.2", "boundary: 0.3"), encoding="utf-8")
    with pytest.raises(CutisError, match=r"another configuration \(field 'loss\.boundary'\)"):
        search(asked)
    asked.config.write_text(config.replace("workers: 0", "workers: 1"), encoding="utf-8")
    assert len(search(asked._replace(trials=2)).trials) == 2
    with pytest.raises(CutisError, match="is of another study: give another --output"):
        search(asked._replace(study="second"))


def test_a_study_in_which_every_trial_failed_may_be_mended(asked, trained_by):
    def broken(config, data, folder, **rest):
        raise CutisError("nosuch.pt is not there")

    trained_by(broken)
    with pytest.raises(CutisError, match="is not there"):
        search(asked)
    trained_by(formula)
    asked.config.write_text(asked.config.read_text(encoding="utf-8").replace("boundary: 0.2", "boundary: 0.3"))
    assert states(search(asked._replace(trials=1))) == [FAIL, COMPLETE]


def test_no_password_is_written(asked, trained_by, monkeypatch, tmp_path):
    url = f"sqlite:///{tmp_path.as_posix()}/elsewhere.db"
    monkeypatch.setattr("cutis.tuning.results.shown", lambda url: "host without password")
    search(asked._replace(storage=url, trials=1, command=f"cutis tune --storage {url} --trials 1"))
    text = (asked.output / "best.yaml").read_text(encoding="utf-8")
    assert "# cutis tune --storage host without password --trials 1\n" in text
    assert url not in text


def foreign(path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE patients (name TEXT)")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (foreign, "another program's database"),
        (lambda path: path.write_bytes(b"not a database at all" * 99), "file is not a database"),
        (lambda path: path.mkdir(), "unable to open database file"),
    ],
)
def test_a_foreign_file_is_one_line_and_left_alone(asked, trained_by, make, message):
    asked.output.mkdir()
    path = asked.output / "study.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(CutisError, match=message) as error:
        search(asked)
    assert "\n" not in str(error.value)
    assert before is None or path.read_bytes() == before


def test_a_locked_database_is_one_line(asked, trained_by):
    search(asked._replace(trials=1))
    other = sqlite3.connect(asked.output / "study.db")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(CutisError, match=r"study\.db cannot be used \(.*locked\): another program holds it"):
        search(asked)
    other.close()
    assert len(search(asked._replace(trials=2)).trials) == 2


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "database of --storage cannot be used"),
        ("nosuch://host/db", "Can't load plugin"),
        ("postgresql+pg8000://user:secret@host/db", r"user:\*\*\*@host/db needs pg8000: pip install it"),
    ],
)
def test_a_wrong_url_is_one_line_without_its_password(asked, trained_by, url, message):
    with pytest.raises(CutisError, match=message) as error:
        search(asked._replace(storage=url))
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_study_of_another_program_is_refused(asked, trained_by):
    url = database.sqlite_url(asked.output / "study.db")
    optuna.create_study(storage=url, study_name="smoke").optimize(lambda trial: 1.0, n_trials=1)
    with pytest.raises(CutisError, match="was not made by 'cutis tune'"):
        search(asked)


def test_wrong_calls_are_one_line(asked, drawn, tmp_path):
    with pytest.raises(CutisError, match="give at least 1"):
        search(asked._replace(trials=0))
    with pytest.raises(CutisError, match="cannot be read"):
        search(asked._replace(config=tmp_path / "nosuch.yaml"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CutisError, match="holds no images of folder"):
        search(asked._replace(data=tmp_path / "empty"))


KILLED = """
import time
from pathlib import Path
from cutis.tuning import search as searches
real = searches.kind_of

def slow(config, data, folder, *, after_epoch, **rest):
    def stuck(epoch, value):
        after_epoch(epoch, value)
        if folder.name == "0001" and epoch == 1:
            folder.with_name("stuck").touch()
            time.sleep(600)
    return train(config, data, folder, after_epoch=stuck, **rest)

train = real(Path({config!r}), (), symmetry=None).train
searches.kind_of = lambda *a, **k: real(*a, **k)._replace(train=slow)
asked = searches.Search(*{asked})
searches.search(asked)
"""


def test_a_killed_process_loses_no_finished_trial_and_its_trial_goes_on(asked, tmp_path):
    """Real trainings of drawn lesions; killed without warning in the second trial, after its second epoch."""
    asked = asked._replace(trials=2)
    code = KILLED.replace("{config!r}", repr(str(asked.config))).replace(
        "{asked}", repr(tuple(asked)).replace("PosixPath(", "Path(").replace("WindowsPath(", "Path(")
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stuck = asked.output / "trials" / "stuck"
    try:
        while not stuck.exists():
            assert worker.poll() is None, "the worker ended by itself"
            time.sleep(0.1)
    finally:
        worker.kill()
        worker.wait()
    study = search(asked)
    assert states(study) == [COMPLETE, FAIL, COMPLETE]
    first, cut, again = study.trials
    assert again.params == cut.params != first.params
    assert list(again.intermediate_values) == [0, 1, 2]
    assert [again.intermediate_values[e] for e in (0, 1)] == [cut.intermediate_values[e] for e in (0, 1)]
    folder = asked.output / "trials" / "0001"
    assert sorted(p.name for p in (folder / "logs").iterdir()) == ["start_0", "start_1"]
    assert not (asked.output / "trials" / "0002").exists()
    assert load_config(folder / "config.yaml", {}).learning_rate == again.params["learning_rate"]
    assert again.value == max(again.intermediate_values.values()) > 0
    assert load_config(asked.output / "best.yaml", {}).epochs == 3


def test_a_classifier_is_searched_by_what_its_configuration_selects_by(asked, monkeypatch, tmp_path):
    from cutis.recipes.classification_config import ClassificationConfig
    from cutis.tuning import kinds

    given = []

    def train(config, data, folder, *, symmetry, **rest):
        given.append((config.momentum, config.name, symmetry))
        formula(config, data, folder, **rest)

    monkeypatch.setattr(kinds, "train_classifier", train)
    configs = SMOKE.parents[1] / "se-lcn"
    asked.space.write_text("momentum: {type: float, low: 0.5, high: 0.99}\n", encoding="utf-8")
    asked = asked._replace(config=configs / "symmetry-smoke.yaml", flags=("--name", "mine"), trials=2)
    study = search(asked)
    assert study.study_name == "mine"
    assert given == [(trial.params["momentum"], "mine", None) for trial in study.trials]
    best = asked.output / "best.yaml"
    assert best.read_text(encoding="utf-8").startswith(f"# cutis train symmetry --config {best} ")
    assert load_config(best, {}, ClassificationConfig).momentum == study.best_params["momentum"]

    lesion = kinds.kind_of(configs / "lesion-smoke.yaml", ("--select", "loss"), symmetry=tmp_path)
    assert (lesion.verb, lesion.measure, lesion.better) == ("lesion", "loss", "minimize")
    assert lesion.train.keywords == {"symmetry": tmp_path}
    with pytest.raises(CutisError, match="one of its networks at a time"):
        kinds.kind_of(configs / "cascade.yaml", (), symmetry=None)
    with pytest.raises(CutisError, match="takes no maps: leave --symmetry out"):
        kinds.kind_of(SMOKE, (), symmetry=tmp_path)
