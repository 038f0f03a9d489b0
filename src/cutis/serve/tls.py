"""HTTPS: one's own certificate, or a self-signed one, made once and kept in the user's configuration folder.

A phone's browser gives camera and threads to secure pages only. A self-signed certificate encrypts; whom one talks to
it does not prove, so its fingerprint is shown for comparing.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import platformdirs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cutis.errors import CutisError
from cutis.imaging.formats import reason

__all__ = ["Certificate", "given", "self_signed"]

LIFE = datetime.timedelta(days=397)  # browsers refuse longer ones
RENEW = datetime.timedelta(days=14)


class Certificate(NamedTuple):
    """PEM files, which may be one and the same; `fingerprint` of a self-signed one, SHA-256."""

    chain: Path
    key: Path
    fingerprint: str | None = None


def given(chain: Path, key: Path | None) -> Certificate:
    """One's own; the key may be in the same file."""
    for path in (chain, key or chain):
        if not path.is_file():
            raise CutisError(f"{path} does not exist: give a certificate and its key as PEM files")
    return Certificate(chain, key or chain)


def self_signed(hosts: Sequence[str], folder: Path | None = None) -> Certificate:
    """For this machine and for `hosts`; the one made before, while it lasts and knows all of them."""
    path = (folder or platformdirs.user_config_path("cutis", appauthor=False)) / "self-signed.pem"
    names = sorted(name for name in {*hosts, *_own_names()} if name.isascii())
    try:
        certificate = _still_good(path, names) or _make(path, names)
    except OSError as error:
        what = f"the certificate cannot be kept in {path.parent} ({reason(error)})"
        raise CutisError(f"{what}: give --tls-cert and --tls-key") from error
    return Certificate(path, path, certificate.fingerprint(hashes.SHA256()).hex(":").upper())


def _own_names() -> set[str]:
    """Names and addresses by which this machine may be asked for."""
    found = {"localhost", "127.0.0.1", "::1", socket.gethostname()}
    with contextlib.suppress(OSError):
        found |= {str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None)}
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing: it asks which address would be used
        found.add(probe.getsockname()[0])
    return {name.partition("%")[0] for name in found}


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _still_good(path: Path, names: Sequence[str]) -> x509.Certificate | None:
    try:
        content = path.read_bytes()
        certificate = x509.load_pem_x509_certificate(content)
        serialization.load_pem_private_key(content, None)
        known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, TypeError, x509.ExtensionNotFound):
        return None
    lasts = certificate.not_valid_after_utc - RENEW > datetime.datetime.now(datetime.timezone.utc)
    return certificate if lasts and set(map(_general, names)) <= set(known) else None


def _make(path: Path, names: Sequence[str]) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cutis on this machine")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    packed = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)  # for its owner's eyes alone, which atomic_write is not
    with os.fdopen(handle, "wb") as stream:
        stream.write(packed + certificate.public_bytes(serialization.Encoding.PEM))
    Path(temporary).replace(path)
    return certificate
