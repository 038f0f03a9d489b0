"""Pictures behind the links of a record: in memory, for a bounded time, within bounded bytes; then they are gone.

Drawing and packing the pictures takes half as long as the analysis, and few are looked at. So what is kept is the
upload, and the pictures are made from it when the first of them is asked for; then they take its place.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from cutis.serve.worker import Job

__all__ = ["Kept"]

Pictures = dict[str, bytes]


class _Entry:
    def __init__(self, job: Job, pictures: Pictures | None) -> None:
        self.job: Job | None = None if pictures else job
        self.pictures, self.making = pictures, asyncio.Lock()

    @property
    def size(self) -> int:
        packed = sum(map(len, (self.pictures or {}).values()))
        return packed + (len(self.job.content) if self.job else 0)


class Kept:
    """What links lead to: at most `limit_bytes`, the oldest goes first; nothing longer than `seconds`."""

    def __init__(self, seconds: float, limit_bytes: int) -> None:
        self._seconds, self._limit, self.used = seconds, limit_bytes, 0
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, identity: str, job: Job, pictures: Pictures | None) -> None:
        """Keep an upload, or its pictures where they were made already."""
        entry = _Entry(job, pictures)
        self._entries[identity] = entry
        self.used += entry.size
        self._bound()
        asyncio.get_running_loop().call_later(self._seconds, self._forget, identity)

    async def picture(self, identity: str, name: str, make: Callable[[Job], Awaitable[Pictures]]) -> bytes | None:
        """A picture's PNG, or None where it is not (or no longer) there. `make` draws all of them from an upload."""
        entry = self._entries.get(identity)
        if entry is None:
            return None
        async with entry.making:
            if entry.pictures is None:
                assert entry.job is not None
                pictures, before = await make(entry.job), entry.size
                entry.pictures, entry.job = pictures, None
                if self._entries.get(identity) is entry:
                    self.used += entry.size - before
                    self._bound()
        return entry.pictures.get(name)

    def _forget(self, identity: str) -> None:
        entry = self._entries.pop(identity, None)
        if entry:
            self.used -= entry.size

    def _bound(self) -> None:
        while self.used > self._limit and self._entries:
            self._forget(next(iter(self._entries)))
