"""Which image format a file's first bytes announce, and how files and failures are called in messages."""

from __future__ import annotations

from pathlib import Path

__all__ = ["GIVE", "reason", "shown", "sniff"]

GIVE = "give a JPEG, PNG, BMP, TIFF or WebP file"


def sniff(head: bytes) -> str | None:
    """The format that a file's first 12 bytes announce: one of those we read, GIF, or None.

    >>> sniff(b"GIF89a"), sniff(b"hello")
    ('GIF', None)
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head.startswith(b"BM"):
        return "BMP"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    return None


def shown(path: Path | str) -> str:
    """A name for a message of one line, whatever bytes it is made of."""
    return " ".join(str(path).encode("utf-8", "backslashreplace").decode().splitlines())


def reason(error: Exception) -> str:
    """Why an exception says it failed, in one line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
