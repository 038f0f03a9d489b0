"""`cutis serve`: bind, start, answer until told to stop, finish what runs, end."""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from cutis.analysis.words import RESEARCH_ONLY
from cutis.errors import CutisError
from cutis.imaging.formats import reason
from cutis.serve.app import create_app
from cutis.serve.log import start_logging
from cutis.serve.pool import RUN_LIMIT_S
from cutis.serve.settings import Settings
from cutis.serve.tls import Certificate

__all__ = ["serve"]


def serve(settings: Settings, certificate: Certificate | None = None) -> int:
    """Run the service until SIGINT or SIGTERM; 0 when it ended as it should.

    Raises `CutisError` where the address is taken or the networks cannot be loaded."""
    failures: list[CutisError] = []

    def on_failure(error: CutisError) -> None:
        failures.append(error)
        server.should_exit = True

    start_logging()
    config = uvicorn.Config(
        create_app(settings, on_failure),
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=math.ceil(settings.deadline_s + RUN_LIMIT_S),
        ssl_certfile=certificate.chain if certificate else None,
        ssl_keyfile=certificate.key if certificate else None,
    )
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise CutisError(f"the certificate cannot be used ({reason(error)}): check --tls-cert and --tls-key") from error
    server = uvicorn.Server(config)
    _prepare(settings.store)
    with _bound(settings) as listening:
        _say(listening, certificate)
        with _heard_once():
            server.run(sockets=[listening])
    if failures:
        raise failures[0]
    return 0


@contextlib.contextmanager
def _heard_once() -> Iterator[None]:
    """uvicorn raises a signal again when it has finished; by then it was obeyed."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _bound(settings: Settings) -> socket.socket:
    where = f"{settings.host} port {settings.port}"
    try:
        family, kind, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
    except OSError as error:
        raise CutisError(f"{where} is no address of this machine ({reason(error)}): choose another --host") from error
    try:
        if os.name != "nt":  # there it would let two services share an address
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise CutisError(f"{where} cannot be used ({reason(error)}): choose another --port or --host") from error
    return listening


def _prepare(folder: Path | None) -> None:
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CutisError(f"{folder} cannot be written ({reason(error)}): choose another --store") from error


def _say(listening: socket.socket, certificate: Certificate | None) -> None:
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    print(f"cutis: http{'s' if certificate else ''}://{shown}:{port}  (Ctrl-C ends it)  {RESEARCH_ONLY}", flush=True)
    if certificate and certificate.fingerprint:
        print(f"cutis: self-signed; a browser should show SHA-256 {certificate.fingerprint}", flush=True)
