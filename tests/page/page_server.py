"""A server of files with the headers that a host of the page should send, which remembers what it was asked; and a
browser that asks for nothing of its own accord. For the tests, the benchmark and the screenshots of the page."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cutis.serve import guard

HEADERS = {**guard.HEADERS, "Content-Security-Policy": guard.PAGE_POLICY}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_browser() -> str | None:
    """The Chromium of this machine."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


@contextmanager
def opened() -> Iterator[Any]:
    """That Chromium, running without a window until the block ends."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=find_browser(), args=ARGUMENTS)
        try:
            yield running
        finally:
            running.close()


class _Handler(SimpleHTTPRequestHandler):
    extensions_map = {
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".webmanifest": "application/manifest+json",
    }

    def end_headers(self) -> None:
        for name, value in self.server.extra.items():
            self.send_header(name, value)
        super().end_headers()

    def send_response(self, code: int, message: str | None = None) -> None:
        self.server.asked.append((self.command, self.path, code))
        super().send_response(code, message)

    def copyfile(self, source: Any, outputfile: Any) -> None:
        self.server.sent += Path(source.name).stat().st_size
        super().copyfile(source, outputfile)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class StaticServer(ThreadingHTTPServer):
    """`asked`: (method, path, status) of every request so far; `sent`: bytes of all bodies."""

    daemon_threads = True

    def __init__(self, folder: Path, headers: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
        self.asked: list[tuple[str, str, int]] = []
        self.extra = headers
        self.sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


@contextmanager
def serving(folder: Path, headers: dict[str, str] | None = None) -> Iterator[StaticServer]:
    """Serve `folder` on a free port of this machine until the block ends."""
    server = StaticServer(folder, HEADERS if headers is None else headers)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
