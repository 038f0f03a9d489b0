"""The workers and the queue before them, for the event loop.

The queue is bounded twice: by how many images wait, and by how long one may wait. What does not fit is refused at once,
which a program can act upon; a queue that grows only makes everyone late. A worker that dies is replaced, and the image
it had in hand is tried once more: it may have been another's fault (memory), and it may have been the image's.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from cutis.errors import CutisError
from cutis.records import ModelInfo
from cutis.serve.worker import Answer, Job, Models, Worker, WorkerDied

__all__ = ["BusyError", "LostError", "Pool"]

RUN_LIMIT_S = 120.0  # 64 megapixels with hair removal take under 10 s; what takes longer hangs
LONGEST_PAUSE_S = 30.0  # between two attempts at starting a worker
_LOG = logging.getLogger("cutis.serve")


class BusyError(Exception):
    """The queue is full, or an image waited too long; worth another try after `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"busy, try again after {retry_after} s")
        self.retry_after = retry_after


class LostError(Exception):
    """Two workers died over this image."""


class _Ticket:
    """A job on its way through the queue."""

    def __init__(self, job: Job, answer: asyncio.Future[Answer]) -> None:
        self.job, self.answer, self.retried = job, answer, False


class Pool:
    """`workers` processes, `queue` images before them, each waiting at most `deadline_s`.

    `on_failure` hears that the networks cannot be loaded, which no further try would change.
    """

    def __init__(
        self,
        models: Models,
        *,
        workers: int,
        queue: int,
        deadline_s: float,
        on_failure: Callable[[CutisError], None] = lambda error: None,
    ) -> None:
        self._models, self._count, self._limit, self._deadline_s = models, workers, queue, deadline_s
        self._on_failure = on_failure
        self._queue: asyncio.Queue[_Ticket] = asyncio.Queue()
        self._waiting: set[_Ticket] = set()
        self._warm: set[Worker] = set()
        self._seconds = 0.05  # an image's, lately; a first guess
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="cutis-pipe")
        self._slots: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        """Whether every worker is warm."""
        return len(self._warm) == self._count

    def check_room(self, count: int = 1) -> None:
        """Raises `BusyError` where `count` more images do not fit into the queue."""
        if len(self._waiting) + count > self._limit:
            raise BusyError(self.retry_after)

    @property
    def models(self) -> list[ModelInfo | None] | None:
        """Of segmentation, symmetry and class; None until a worker is warm."""
        return next((worker.models for worker in self._warm), None)

    @property
    def pids(self) -> list[int]:
        """Processes of the warm workers."""
        return [worker.pid for worker in self._warm if worker.pid]

    @property
    def retry_after(self) -> int:
        """Seconds after which half of what waits now should be done."""
        return max(1, math.ceil(len(self._waiting) * self._seconds / self._count / 2))

    def start(self) -> None:
        """Begin to start the workers; `ready` says when they are."""
        self._slots = [asyncio.create_task(self._slot()) for _ in range(self._count)]

    async def close(self) -> None:
        """End the workers; whoever still waits is told that the service is busy."""
        for slot in self._slots:
            slot.cancel()
        await asyncio.gather(*self._slots, return_exceptions=True)
        for ticket in list(self._waiting):
            self._expire(ticket)
        self._threads.shutdown(wait=True)

    async def analyse(self, jobs: Sequence[Job]) -> list[Answer]:
        """Answers in the order of the jobs. Raises `BusyError` or `LostError`, then for all of them; cancelled, none of
        them is begun any more."""
        self.check_room(len(jobs))
        tickets = [self._put(job) for job in jobs]
        try:
            return await asyncio.gather(*(ticket.answer for ticket in tickets))
        finally:
            for ticket in tickets:
                ticket.answer.cancel()
                self._waiting.discard(ticket)

    def _put(self, job: Job) -> _Ticket:
        loop = asyncio.get_running_loop()
        ticket = _Ticket(job, loop.create_future())
        self._waiting.add(ticket)
        self._queue.put_nowait(ticket)
        late = loop.call_later(self._deadline_s, self._expire, ticket)
        ticket.answer.add_done_callback(lambda _: late.cancel())
        return ticket

    def _expire(self, ticket: _Ticket) -> None:
        """It waited too long. A ticket in work is no longer among the waiting."""
        if ticket in self._waiting and not ticket.answer.done():
            self._waiting.discard(ticket)
            ticket.answer.set_exception(BusyError(self.retry_after))

    async def _slot(self) -> None:
        """One worker after another, each until it dies."""
        pause = 1.0
        while True:
            worker = Worker(self._models)
            try:
                await self._in_thread(worker.warm)
                self._warm.add(worker)
                await self._feed(worker)
            except CutisError as error:
                self._on_failure(error)
                return
            except WorkerDied:
                if worker in self._warm:
                    pause = 1.0
                    _LOG.error("a worker died; it is replaced")
                else:
                    _LOG.error("a worker died while it was started; next attempt in %.0f s", pause)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_S)
            finally:
                self._warm.discard(worker)
                worker.end()

    async def _feed(self, worker: Worker) -> None:
        while True:
            ticket = await self._queue.get()
            if ticket.answer.done():  # cancelled, or too late
                continue
            self._waiting.discard(ticket)
            start = time.monotonic()
            try:
                answer = await self._in_thread(worker.ask, ticket.job, RUN_LIMIT_S)
            except WorkerDied:
                self._again(ticket)
                raise
            self._seconds += 0.1 * (time.monotonic() - start - self._seconds)
            if not ticket.answer.done():
                ticket.answer.set_result(answer)

    def _again(self, ticket: _Ticket) -> None:
        if ticket.answer.done():
            return
        if ticket.retried:
            ticket.answer.set_exception(LostError())
        else:
            ticket.retried = True
            self._queue.put_nowait(ticket)

    async def _in_thread(self, call, *arguments):
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)
