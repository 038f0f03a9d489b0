"""One line a request: method, route, status, milliseconds. No file name, no query, no address, no image.

The route is the pattern that matched ("/v1/analyses/{identity}/{picture}.png"), never what was asked for.
"""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Log", "start_logging"]

_LOG = logging.getLogger("cutis.serve")


class Log:
    """The outermost layer: tells of each request when it is answered, or left."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def heard(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, heard)
        finally:
            route = getattr(scope.get("route"), "path", "-")
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
            _LOG.info("%s %s %d %.0f ms", method, route, status, (time.perf_counter() - start) * 1000)


def start_logging() -> None:
    """Lines with their time on stderr: ours, and what uvicorn warns of; not its own line a request, which has URLs, and
    nothing of the form's parser, which quotes what it read."""
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL + 1)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name, level in (("cutis.serve", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
