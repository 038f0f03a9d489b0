"""One worker: a process of its own with its own networks, one thread, one image at a time.

It shares nothing with the others: what one image does to it, even ending it, the others do not notice. It speaks with
the service over a pipe and ends when that closes, so it outlives no service that was killed.
"""

from __future__ import annotations

import base64
import contextlib
import multiprocessing
import signal
import warnings
import weakref
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, NamedTuple

from cutis.errors import CutisError
from cutis.records import Analysis, ModelInfo

if TYPE_CHECKING:
    from cutis.analysis.batch import Options
    from cutis.analysis.runtime import Segmenter

__all__ = ["Answer", "Job", "Models", "Worker", "WorkerDied"]

START_LIMIT_S = 120.0  # a start takes 2 s on an idle machine


class Models(NamedTuple):
    """What a worker loads; as for `cutis analyze`."""

    model: str | None
    symmetry_model: str | None
    class_model: str | None
    cascade: bool


class Job(NamedTuple):
    """An image's bytes and how to analyse it. `name` goes into the record; its pictures are called `base`/mask.png and
    so on there, or stand in it themselves where `inline`; they are made only where `inline` or `pictures`."""

    content: bytes
    name: str
    base: str
    hair_removal: bool = False
    mm_per_pixel: float | None = None
    inline: bool = False
    pictures: bool = False


class Answer(NamedTuple):
    """`record`: an `Analysis` as JSON. `error`: why its status is 'failed'. `links`: whether it has links to pictures.
    `pictures`: name -> PNG, where they were asked for."""

    record: bytes
    error: str | None = None
    links: bool = False
    pictures: dict[str, bytes] | None = None


class Loaded(NamedTuple):
    """What a worker says when it is warm."""

    models: list[ModelInfo | None]


class WorkerDied(Exception):  # noqa: N818 - it says what happened
    """The process ended, or was ended because it took too long, before it answered."""


class Worker:
    """A worker process as the service sees it: started at once, to be warmed before it is asked. Calls block."""

    def __init__(self, models: Models) -> None:
        context = multiprocessing.get_context("spawn")  # the service has threads: a fork would copy their locks
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, models), name="cutis-worker", daemon=True)
        self._process.start()
        theirs.close()
        self.end = weakref.finalize(self, _end, self._process)
        """Ends the process, whatever it does; called at the latest when the service ends."""
        self.models: list[ModelInfo | None] = []

    def warm(self) -> None:
        """Wait until it has loaded its networks and tried them. Raises `CutisError` where it cannot, `WorkerDied`."""
        said = self._hear(START_LIMIT_S)
        if not isinstance(said, Loaded):
            raise CutisError(str(said))
        self.models = said.models

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def ask(self, job: Job, limit_s: float) -> Answer:
        """Let it analyse one image. Raises `WorkerDied`; then it is of no more use."""
        try:
            self._pipe.send(job)
        except OSError as error:
            raise WorkerDied from error
        answer = self._hear(limit_s)
        assert isinstance(answer, Answer)
        return answer

    def _hear(self, limit_s: float) -> object:
        try:
            if not self._pipe.poll(limit_s):
                self._process.kill()
                raise WorkerDied
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            raise WorkerDied from error


def _end(process: SpawnProcess) -> None:
    process.kill()
    process.join()


def _work(pipe: Connection, models: Models) -> None:
    """The process: load, warm up, answer until the pipe closes."""
    for number in (signal.SIGINT, signal.SIGTERM):  # both are for the service, which lets us finish
        signal.signal(number, signal.SIG_IGN)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # they may quote a file
    import cv2

    from cutis.analysis.batch import Options
    from cutis.analysis.cascade import choose_cascade
    from cutis.analysis.runtime import load_model

    cv2.setNumThreads(1)
    with contextlib.suppress(EOFError, OSError):
        try:
            segmenter = load_model(models.model)
            networks = choose_cascade(models.symmetry_model, models.class_model, models.cascade)
            _answer(Job(_drawn(), "", "", inline=True), segmenter, Options(cascade=networks))
        except CutisError as error:
            pipe.send(str(error))
            return
        pipe.send(Loaded([segmenter.info, networks.symmetry_info, networks.class_info]))
        while True:
            job = pipe.recv()
            options = Options(cascade=networks, hair_removal=job.hair_removal, mm_per_pixel=job.mm_per_pixel)
            pipe.send(_answer(job, segmenter, options))


def _answer(job: Job, segmenter: Segmenter, options: Options) -> Answer:
    from cutis.analysis.batch import analyze_or_fail
    from cutis.analysis.pictures import encode_pictures, name_pictures

    outcome = analyze_or_fail(job.content, job.name, segmenter, options)
    if isinstance(outcome, Analysis):
        return Answer(outcome.model_dump_json().encode(), error=outcome.error)
    pictures = encode_pictures(outcome) if job.inline or job.pictures else {}

    def name_of(picture: str) -> str:
        return _data_url(pictures[picture]) if job.inline else f"{job.base}/{picture}.png"

    record = name_pictures(outcome.analysis, name_of)
    links = record.lesion is not None and not job.inline
    return Answer(record.model_dump_json().encode(), links=links, pictures=pictures if job.pictures else None)


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _drawn() -> bytes:
    """A drawn lesion, to warm up with: what every step needs is loaded and allocated before the first request."""
    import numpy as np

    from cutis.analysis.overlay import encode_png
    from cutis.data.synthetic import draw_lesion

    return encode_png(draw_lesion(np.random.default_rng(7), width=600, height=450, symmetry=1).image)
