"""Who may ask: the right name, the right origin, the right token; and what every answer says to browsers.

A page of another site can make a browser send requests to 127.0.0.1, and with DNS rebinding even read the answers. So a
request must ask for a name that is ours, and nothing that changes or computes may come from another origin. Where the
service is reached from elsewhere, a token is needed for everything but the page's own files and the health.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cutis.serve.problems import ProblemError, answered
from cutis.serve.settings import Settings, is_loopback

__all__ = ["Guard", "is_data"]

SAFE_METHODS = ("GET", "HEAD")
PAGE_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; worker-src 'self' blob:; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
DATA_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self)",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",  # threads in WASM need both
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Around the app, within the log: checks a request before any of it is read, and dresses the answer."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self._hosts = app, {host.lower() for host in settings.hosts}
        self._token = settings.token.encode() if settings.token else None
        self._check_host = is_loopback(settings.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        data = is_data(scope["path"])

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers["Content-Security-Policy"] = DATA_POLICY if data else PAGE_POLICY
                if data:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        try:
            self._check(scope, data)
        except ProblemError as error:
            await answered(error)(scope, receive, dressed)
            return
        await self.app(scope, receive, dressed)

    def _check(self, scope: Scope, data: bool) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._check_host and not self._ours(_name(host)):
            what = "the request asks for another host: use 127.0.0.1 or localhost, or start cutis with --allow-host"
            raise ProblemError(421, what, name="wrong-host")
        origin = headers.get("origin")
        foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site") or (
            origin is not None and origin.partition("://")[2].lower() != host.lower()
        )
        if foreign and (scope["method"] not in SAFE_METHODS or data):
            raise ProblemError(403, "requests from pages of other origins are not answered", name="wrong-origin")
        if self._token and data and not self._right(headers.get("authorization", "")):
            what = "give the service's token: Authorization: Bearer TOKEN"
            raise ProblemError(401, what, name="token-needed", headers={"WWW-Authenticate": 'Bearer realm="cutis"'})

    def _ours(self, name: str) -> bool:
        return is_loopback(name) or name in self._hosts

    def _right(self, authorization: str) -> bool:
        assert self._token
        scheme, _, given = authorization.partition(" ")
        same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token)
        return same and scheme.lower() == "bearer"


def is_data(path: str) -> bool:
    """Whether a path is the API's or its description's; everything else is the page's files and the health.

    >>> [is_data(path) for path in ("/v1/models", "/openapi.json", "/", "/healthz", "/v1.js")]
    [True, True, False, False, False]
    """
    return path.startswith("/v1/") or path == "/openapi.json"


def _name(host: str) -> str:
    """The host's name without its port.

    >>> [_name(host) for host in ("localhost:8000", "[::1]:8000", "127.0.0.1", "[bad", "a:b:c")]
    ['localhost', '::1', '127.0.0.1', '', '']
    """
    try:
        return urlsplit(f"//{host}").hostname or "" if host.count(":") < 2 or host.startswith("[") else ""
    except ValueError:
        return ""
