"""The queue and the workers: bounds, deadlines, deaths, cancellation; with workers whose every step a test decides."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cutis.errors import CutisError
from cutis.records import ModelInfo
from cutis.serve import pool as module
from cutis.serve.kept import Kept
from cutis.serve.pool import BusyError, LostError, Pool
from cutis.serve.worker import Answer, Job, Models, WorkerDied

INFO = ModelInfo(name="toy", version="1", precision="fp32", sha256="0")
MODELS = Models(None, None, None, True)


class Script:
    """What the fake workers do: wait for `open`, die over names in `deadly` (once or always), fail to start."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun: list[str] = []
        self.deadly: dict[str, int] = {}
        self.fails: list[Exception] = []
        self.started = self.ended = 0


class FakeWorker:
    script: Script

    def __init__(self, models: Models) -> None:
        self.script.started += 1
        self.models, self.pid = [INFO, None, None], 1

    def warm(self) -> None:
        if self.script.fails:
            raise self.script.fails.pop(0)

    def ask(self, job: Job, limit_s: float) -> Answer:
        self.script.begun.append(job.name)
        assert self.script.open.wait(20)
        if self.script.deadly.get(job.name, 0) > 0:
            self.script.deadly[job.name] -= 1
            raise WorkerDied
        return Answer(job.name.encode())

    def end(self) -> None:
        self.script.ended += 1


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    made = Script()
    monkeypatch.setattr(FakeWorker, "script", made, raising=False)
    monkeypatch.setattr(module, "Worker", FakeWorker)
    return made


def play(script: Script, scene: Callable[[Pool], Coroutine[Any, Any, None]], **changed: Any) -> None:
    async def run() -> None:
        pool = Pool(MODELS, **{"workers": 1, "queue": 3, "deadline_s": 20.0, **changed})
        pool.start()
        try:
            await scene(pool)
        finally:
            script.open.set()
            await pool.close()
        assert script.ended == script.started

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it does not happen")


def jobs(*names: str) -> list[Job]:
    return [Job(b"", name, "") for name in names]


def ask(pool: Pool, *names: str) -> asyncio.Task[list[Answer]]:
    return asyncio.ensure_future(pool.analyse(jobs(*names)))


def test_answers_are_in_the_order_of_the_jobs(script: Script) -> None:
    async def scene(pool: Pool) -> None:
        script.open.set()
        assert [answer.record for answer in await pool.analyse(jobs("a", "b", "c"))] == [b"a", b"b", b"c"]
        assert pool.ready and pool.models == [INFO, None, None]

    play(script, scene, workers=2)


def test_what_does_not_fit_is_refused_at_once_and_whole(script: Script) -> None:
    async def scene(pool: Pool) -> None:
        working = ask(pool, "in work")
        await until(lambda: script.begun == ["in work"])
        waiting = ask(pool, "1", "2")
        await asyncio.sleep(0)
        with pytest.raises(BusyError) as caught:
            await pool.analyse(jobs("3", "4"))
        assert caught.value.retry_after >= 1
        pool.check_room(1)
        with pytest.raises(BusyError):
            pool.check_room(2)
        script.open.set()
        assert len(await working) == 1 and len(await waiting) == 2
        assert script.begun == ["in work", "1", "2"]
        pool.check_room(3)

    play(script, scene)


def test_who_waits_too_long_is_told_and_never_begun(script: Script) -> None:
    async def scene(pool: Pool) -> None:
        working = ask(pool, "in work")
        await until(lambda: script.begun == ["in work"])
        with pytest.raises(BusyError):
            await pool.analyse(jobs("late"))
        pool.check_room(3)
        script.open.set()
        assert [answer.record for answer in await working] == [b"in work"]  # in work there is no deadline
        await pool.analyse(jobs("next"))
        assert script.begun == ["in work", "next"]

    play(script, scene, deadline_s=0.1)


def test_who_goes_away_is_not_begun_and_leaves_room(script: Script) -> None:
    async def scene(pool: Pool) -> None:
        working, left = ask(pool, "in work"), None
        await until(lambda: script.begun == ["in work"])
        left = ask(pool, "left 1", "left 2", "left 3")
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        pool.check_room(3)
        working.cancel()
        script.open.set()
        await pool.analyse(jobs("next"))
        assert script.begun == ["in work", "next"]

    play(script, scene)


def test_a_dead_worker_is_replaced_and_its_image_tried_once_more(script: Script) -> None:
    async def scene(pool: Pool) -> None:
        script.open.set()
        script.deadly = {"unlucky": 1}
        assert [answer.record for answer in await pool.analyse(jobs("unlucky", "b"))] == [b"unlucky", b"b"]
        assert script.started == 2 and script.begun.count("unlucky") == 2
        await until(lambda: pool.ready)

    play(script, scene)


def test_an_image_that_kills_two_workers_is_given_up_and_no_other(script: Script) -> None:
    async def scene(pool: Pool) -> None:
        script.open.set()
        script.deadly = {"deadly": 99}
        other, deadly = ask(pool, "a", "b"), ask(pool, "deadly")
        with pytest.raises(LostError):
            await deadly
        assert len(await other) == 2 and script.begun.count("deadly") == 2 and script.started == 3
        assert len(await pool.analyse(jobs("next"))) == 1

    play(script, scene, workers=1)


def test_a_worker_that_dies_at_its_start_is_started_again(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(pool: Pool) -> None:
        script.open.set()
        assert not pool.ready and pool.models is None
        assert len(await pool.analyse(jobs("a"))) == 1

    script.fails = [WorkerDied()]
    play(script, scene)
    assert script.started == 2


def test_networks_that_cannot_be_loaded_are_told_of_once(script: Script) -> None:
    heard: list[str] = []

    async def scene(pool: Pool) -> None:
        await until(lambda: bool(heard))
        await asyncio.sleep(0.05)
        assert not pool.ready and script.started == 1

    script.fails = [CutisError("no model 'x'")]
    play(script, scene, on_failure=lambda error: heard.append(str(error)))
    assert heard == ["no model 'x'"]


def test_closing_tells_who_waits(script: Script) -> None:
    async def run() -> None:
        pool = Pool(MODELS, workers=1, queue=3, deadline_s=20)
        waiting = ask(pool, "a")  # no worker was started
        await asyncio.sleep(0)
        await pool.close()
        with pytest.raises(BusyError):
            await waiting

    asyncio.run(run())


def kept(scene: Callable[[Kept, Callable], Coroutine[Any, Any, None]], *, seconds: float = 20, limit: int = 100) -> int:
    made: list[str] = []

    async def draw(job: Job) -> dict[str, bytes]:
        made.append(job.name)
        await asyncio.sleep(0.01)
        return {"mask": job.content[:10], "overlay": b"o"}

    async def run() -> None:
        await scene(Kept(seconds, limit), draw)

    asyncio.run(run())
    return len(made)


def test_pictures_are_drawn_once_and_take_the_uploads_place() -> None:
    async def scene(store: Kept, draw: Callable) -> None:
        store.put("a", Job(b"x" * 60, "a", ""), None)
        assert store.used == 60
        found = await asyncio.gather(*(store.picture("a", name, draw) for name in ("mask", "overlay", "mask", "class")))
        assert found == [b"x" * 10, b"o", b"x" * 10, None] and store.used == 11
        store.put("b", Job(b"y" * 60, "b", ""), {"mask": b"there already"})
        assert await store.picture("b", "mask", draw) == b"there already" and store.used == 24

    assert kept(scene) == 1


def test_the_oldest_go_when_there_are_many_and_all_go_in_time() -> None:
    async def scene(store: Kept, draw: Callable) -> None:
        for name in "abc":
            store.put(name, Job(b"x" * 40, name, ""), None)
        assert (len(store), store.used) == (2, 80)
        assert await store.picture("a", "mask", draw) is None and await store.picture("b", "mask", draw)
        await asyncio.sleep(0.2)
        assert (len(store), store.used) == (0, 0) and await store.picture("b", "mask", draw) is None

    assert kept(scene, seconds=0.1) == 1
