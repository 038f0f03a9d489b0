"""The images of a request, in memory and never on disk, bounded before and while they are read.

A body that says it is too large is refused unread; one that does not say is cut off at the limit. All bodies together
share one budget, taken before a body is read. Images come as a form's files or as the body itself; what they are is
judged by the reader, by their content.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import NamedTuple

import python_multipart as _needed  # Starlette parses forms with it, and tells of its absence too late
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from cutis.imaging.formats import shown
from cutis.serve.pool import BusyError
from cutis.serve.problems import ProblemError
from cutis.serve.settings import MAX_FILES, MEGABYTE

__all__ = ["Budget", "Upload", "Uploads"]

assert _needed
BODY_LIMIT_S = 60.0  # for all of a body: whoever sends slower holds memory that others could use
UNNAMED = "image"
CHUNK = 1 << 16


class Upload(NamedTuple):
    """One image as it came; `name` is for its record only."""

    name: str
    content: bytes


class Budget:
    """Bytes that all request bodies in memory may take together."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0

    def take(self, count: int) -> None:
        if self.used + count > self.limit:
            raise BusyError(2)
        self.used += count


class Uploads:
    """Reads the images of requests: each body at most `body_bytes`, all of them within `budget`."""

    def __init__(self, body_bytes: int, budget: Budget) -> None:
        self._limit, self._budget = body_bytes, budget

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[list[Upload]]:
        """The request's images, in order; their room in the budget is free again after the block."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not (kind == "multipart/form-data" or kind.startswith("image/")):
            said = shown(kind)[:60] or "no content type"
            raise ProblemError(
                415, f"{said}: send multipart/form-data with files, or an image with its type, image/..."
            )
        length = request.headers.get("content-length")
        body = _Body(request, int(length) if length and length.isdigit() else None, self._limit, self._budget)
        try:
            yield await _within_time(_form(request, body) if kind == "multipart/form-data" else _raw(body))
        finally:
            body.free()


class _Body:
    """A request's body in chunks, counted."""

    def __init__(self, request: Request, length: int | None, limit: int, budget: Budget) -> None:
        self._request, self._limit, self._budget, self._taken, self._length = request, limit, budget, 0, length
        if length is not None and length > limit:
            raise self._too_large()
        self._take(length or 0)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        seen = 0
        async for chunk in self._request.stream():
            seen += len(chunk)
            if seen > self._limit:
                raise self._too_large()
            if seen > self._taken:
                self._take(seen - self._taken)
            yield chunk

    def free(self) -> None:
        self._budget.used -= self._taken

    def _take(self, count: int) -> None:
        self._budget.take(count)
        self._taken += count

    def _too_large(self) -> ProblemError:
        what = f"the body is larger than {self._limit / MEGABYTE:g} MB: send fewer or smaller images"
        return ProblemError(413, what, name="body-too-large")


class _InMemory(MultiPartParser):
    """Starlette's parser spools files over 1 MB to disk; here nothing ever is."""

    spool_max_size = 1 << 60


async def _within_time(reading: Coroutine[None, None, list[Upload]]) -> list[Upload]:
    try:
        return await asyncio.wait_for(reading, BODY_LIMIT_S)
    except asyncio.TimeoutError:
        raise ProblemError(408, f"the body did not arrive within {BODY_LIMIT_S:g} s") from None


async def _raw(body: _Body) -> list[Upload]:
    return [Upload(UNNAMED, b"".join([chunk async for chunk in body.chunks()]))]


async def _form(request: Request, body: _Body) -> list[Upload]:
    parser = _InMemory(request.headers, body.chunks(), max_files=MAX_FILES, max_fields=0)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise _bad_form(error.message) from error
    except (ProblemError, BusyError, ClientDisconnect, asyncio.CancelledError):
        raise
    except Exception as error:  # the parser's own exceptions share no base class with the above
        raise _bad_form(f"it cannot be parsed ({type(error).__name__})") from error
    uploads = []
    for _, value in form.multi_items():
        assert isinstance(value, UploadFile)  # max_fields=0
        uploads.append(Upload(shown(value.filename or UNNAMED), await value.read()))
        await value.close()
    if not uploads:
        raise _bad_form("there is no file in it")
    return uploads


def _bad_form(reason: str) -> ProblemError:
    what = f"the form is not as it should be: {shown(reason)}; send 1 to {MAX_FILES} files, options go into the query"
    return ProblemError(422, what, name="bad-form")
