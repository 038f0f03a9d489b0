"""Writing files so that a full disk or a killed process never leaves half of one in place of a good one, and seals that
tell a file that was altered."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

__all__ = ["UNSEALED", "atomic_path", "atomic_write", "is_sealed", "seal", "seal_is_whole"]

UNSEALED = "seal:" + 64 * "0"
"""What is written into a file, once, where its seal goes."""
_SEAL = re.compile(rb"seal:[0-9a-f]{64}")
_ASKING = threading.Lock()


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name in the same folder; move it to `path` when the block ends well, else remove it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write `content` to `path`, all of it or nothing.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     atomic_write(Path(folder) / "a" / "note.txt", "whole")
    ...     (Path(folder) / "a" / "note.txt").read_text()
    'whole'
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def seal(content: bytes) -> bytes:
    """The same with `UNSEALED`, which must be in it once, replaced by the SHA-256 of `content` as it is given.

    >>> sealed = seal(b"weights and " + UNSEALED.encode())
    >>> seal_is_whole(sealed), seal_is_whole(sealed.replace(b"weights", b"Weights"))
    (True, False)
    """
    if content.count(UNSEALED.encode()) != 1 or len(_SEAL.findall(content)) != 1:
        raise ValueError("there is not one place for a seal")
    return content.replace(UNSEALED.encode(), b"seal:" + hashlib.sha256(content).hexdigest().encode())


def is_sealed(content: bytes) -> bool:
    """Whether there is a seal in it, whole or broken.

    >>> is_sealed(b"weights"), is_sealed(seal(UNSEALED.encode()))
    (False, True)
    """
    return _SEAL.search(content) is not None


def seal_is_whole(content: bytes) -> bool:
    """Whether the content is as it was sealed; True where it never was.

    >>> seal_is_whole(b"never sealed")
    True
    """
    found = _SEAL.findall(content)
    if not found:
        return True
    return len(found) == 1 and seal(content.replace(found[0], UNSEALED.encode())) == content


@functools.cache
def _umask() -> int:
    """Asking means setting it for a moment: once, and never from two threads at the same time."""
    with _ASKING:
        mask = os.umask(0)
        os.umask(mask)
    return mask
