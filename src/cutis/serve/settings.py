"""Every choice of `cutis serve`, checked before anything is started."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cutis.errors import CutisError

__all__ = ["MAX_FILES", "MEGABYTE", "Settings", "is_loopback"]

MEGABYTE = 1_000_000
MAX_FILES = 32  # images in one request
TOKEN_LENGTH = 16


@dataclass(frozen=True)
class Settings:
    """`queue`: images that may wait for a worker; `deadline_s`: how long one may wait. `body_mb`: one request's body;
    `inflight_mb`: all bodies that are in memory at once. `keep_s`, `keep_mb`: how long, and how much, uploads are kept
    for the links to their pictures. `hosts`: names beside loopback that a request may ask for. `symmetry_model`,
    `class_model`, `cascade`: as for `cutis analyze`.

    >>> Settings(host="0.0.0.0", workers=2)
    Traceback (most recent call last):
    cutis.errors.CutisError: 0.0.0.0 is not this machine alone: give --token, so that not everyone there can use it
    """

    workers: int
    host: str = "127.0.0.1"
    port: int = 8000
    model: str | None = None
    symmetry_model: str | None = None
    class_model: str | None = None
    cascade: bool = True
    token: str | None = None
    hosts: tuple[str, ...] = ()
    queue: int = 256
    deadline_s: float = 30.0
    body_mb: float = 64.0
    inflight_mb: float = 256.0
    keep_s: float = 300.0
    keep_mb: float = 128.0
    store: Path | None = None

    def __post_init__(self) -> None:
        for flag, value, least in (("workers", self.workers, 1), ("queue", self.queue, MAX_FILES)):
            if value < least:
                raise CutisError(f"--{flag} is {value}: give {least} or more")
        if not 0 <= self.port <= 65535:
            raise CutisError(f"--port is {self.port}: give 0 (any free one) to 65535")
        for flag, amount in (("deadline", self.deadline_s), ("max-body", self.body_mb), ("keep-seconds", self.keep_s)):
            if not 0 < amount < 1e6:
                raise CutisError(f"--{flag} is {amount:g}: give more than 0")
        if self.token is not None and (len(self.token) < TOKEN_LENGTH or not _plain(self.token)):
            what = f"{TOKEN_LENGTH} or more letters and digits"
            raise CutisError(
                f"the token must be {what}, without spaces: python -c 'import secrets; print(secrets.token_urlsafe())'"
            )
        for where in (self.host, *self.hosts):
            if not self.token and not is_loopback(where):
                raise CutisError(
                    f"{where} is not this machine alone: give --token, so that not everyone there can use it"
                )

    @property
    def body_bytes(self) -> int:
        return int(self.body_mb * MEGABYTE)

    @property
    def inflight_bytes(self) -> int:
        """Never less than one body, which could otherwise never be sent."""
        return int(max(self.inflight_mb, self.body_mb) * MEGABYTE)

    @property
    def keep_bytes(self) -> int:
        """Never less than one body, whose links would otherwise lead nowhere."""
        return int(max(self.keep_mb, self.body_mb) * MEGABYTE)


def is_loopback(host: str) -> bool:
    """Whether a name or address is reached from this machine alone.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "192.168.1.5", "lesion.example")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _plain(token: str) -> bool:
    return token.isascii() and token.isprintable() and " " not in token
