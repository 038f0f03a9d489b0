"""`cutis serve` with its flags: settings and certificate from them, then the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cutis.analysis.batch import MAX_WORKERS, cores
from cutis.errors import CutisError
from cutis.serve import tls as certificates
from cutis.serve.run import serve
from cutis.serve.settings import Settings

__all__ = ["run"]


def run(*, workers: int | None, tls: bool, tls_cert: Path | None, tls_key: Path | None, **fields: Any) -> int:
    """Run the service; `fields` are those of `Settings`."""
    settings = Settings(workers=min(cores(), MAX_WORKERS) if workers is None else workers, **fields)
    if tls and tls_cert:
        raise CutisError("--tls makes a certificate and --tls-cert gives one: leave out one of them")
    if tls_key and not tls_cert:
        raise CutisError("--tls-key is given without --tls-cert: give both")
    certificate = None
    if tls_cert:
        certificate = certificates.given(tls_cert, tls_key)
    elif tls:
        certificate = certificates.self_signed([settings.host, *settings.hosts])
    return serve(settings, certificate)
