"""Whether the machine is busy: asked of the system, refused, and said of a measurement that was disturbed."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from cutis import cli
from cutis.benchmark import machine
from cutis.benchmark.machine import LOAD_LIMIT, Watch, busy_elsewhere, must_be_idle, watching
from cutis.errors import CutisError

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells how busy its cores were")


def ticking(monkeypatch, *moments: tuple[float, float] | None) -> None:
    """The system says these (busy, own) seconds, one after the other."""
    told = iter(moments)
    monkeypatch.setattr(machine, "_ticks", lambda: next(told))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def test_a_busy_machine_is_refused_unless_told(monkeypatch):
    monkeypatch.setattr(machine, "busy_elsewhere", lambda: 1.4)
    with pytest.raises(CutisError, match=r"keeps 1\.4 cores .* give --busy"):
        must_be_idle(False)
    must_be_idle(True)


@pytest.mark.parametrize("found", [None, 0.0, LOAD_LIMIT])
def test_an_idle_machine_and_one_that_does_not_tell_are_not_refused(monkeypatch, found):
    monkeypatch.setattr(machine, "busy_elsewhere", lambda: found)
    must_be_idle(False)


@pytest.mark.parametrize("verb", ["", "network", "pipeline", "cascade", "architectures", "memory"])
def test_every_verb_refuses_before_it_does_anything(monkeypatch, tmp_path, verb):
    monkeypatch.setattr(machine, "busy_elsewhere", lambda: 2.0)
    with pytest.raises(CutisError, match="give --busy"):
        cli.app(["benchmark", *([verb] if verb else []), "--output", str(tmp_path)], result_action="return_value")
    assert list(tmp_path.iterdir()) == []


def test_what_this_process_did_itself_is_not_other_work(monkeypatch):
    ticking(monkeypatch, (100.0, 10.0), (100.9, 10.4))  # busy 0.9 s in half a second, 0.4 s of it our own
    assert busy_elsewhere() == pytest.approx(1.0)


def test_the_load_average_stands_in_where_nothing_else_is_told(monkeypatch):
    ticking(monkeypatch, None, None)
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (1.5, 0.0, 0.0))
    assert busy_elsewhere() == pytest.approx(0.5)


def test_a_disturbed_measurement_says_so():
    watch = Watch()
    watch.load, watch.others, watch.share = 0.0, 0.6, 1.0
    assert watch.complaints(one_thread=True) == ["other work kept 0.60 cores busy during the measurement"]
    watch.others = 0.02
    assert watch.complaints(one_thread=True) == []


@LINUX
def test_a_process_that_computes_is_seen_and_a_child_that_was_waited_for_is_not():
    spin = "import time; end = time.process_time() + {}\nwhile time.process_time() < end: pass"
    with subprocess.Popen([sys.executable, "-S", "-c", spin.format(30)]) as other:
        time.sleep(0.3)
        try:
            found = busy_elsewhere()
        finally:
            other.kill()
    assert found is not None
    assert found > LOAD_LIMIT
    with watching() as watch:
        busy = machine._ticks()
        subprocess.run([sys.executable, "-S", "-c", spin.format(0.6)], check=True)
        after = machine._ticks()
    assert after[1] - busy[1] > 0.55  # the child's seconds are counted as ours
    assert watch.others is not None
