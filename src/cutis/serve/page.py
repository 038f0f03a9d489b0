"""The page at /: the files that `make page` built, packed for the way, or a line that says how to build it."""

from __future__ import annotations

import asyncio
import gzip
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from cutis.serve.guard import is_data

__all__ = ["FOLDER", "add_page"]

FOLDER = Path(__file__).with_name("page")
NOT_BUILT = "The page was not built: run `make page` in the repository of cutis. The service works: see /openapi.json\n"
TYPES = {  # what a system calls them differs, and a browser runs a script or WASM of the right type only
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}
FOREVER = "public, max-age=31536000, immutable"  # a file in assets/ is named by its content


def add_page(app: FastAPI, folder: Path = FOLDER) -> None:
    """Serve `folder` at / of `app`, where nothing else answers, so that the API is the same with and without a page."""
    if (folder / "index.html").is_file():
        files, nothing = _Page(directory=folder, html=True), app.router.default

        async def file_or_nothing(scope: Scope, receive: Receive, send: Send) -> None:
            ours = scope["type"] == "http" and not is_data(scope["path"])
            await (files if ours else nothing)(scope, receive, send)

        app.router.default = file_or_nothing
        return

    @app.get("/", include_in_schema=False)
    async def not_built() -> PlainTextResponse:
        return PlainTextResponse(NOT_BUILT)


class _Page(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        file = getattr(response, "path", None)
        if file is None or response.status_code != 200:
            return response
        kind = TYPES.get(Path(file).suffix)
        if kind:
            response.headers["Content-Type"] = f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
        response.headers["Cache-Control"] = FOREVER if path.startswith("assets/") else "no-cache"
        if kind and "gzip" in Headers(scope=scope).get("accept-encoding", "") and scope["method"] == "GET":
            return await _packed(Path(file), response.headers.items())
        return response


async def _packed(path: Path, headers: Any) -> Response:
    kept = {
        name: value for name, value in headers if name in ("content-type", "cache-control", "etag", "last-modified")
    }
    content = await asyncio.to_thread(_gzip, path, path.stat().st_mtime_ns)
    return Response(content, headers={**kept, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"})


@lru_cache(maxsize=64)
def _gzip(path: Path, stamp: int) -> bytes:
    """Packed once, then kept: a few megabytes in all."""
    return gzip.compress(path.read_bytes(), 6)
