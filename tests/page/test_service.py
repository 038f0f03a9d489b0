"""The page as `cutis serve` serves it: it loads and is ready under the service's own headers, isolated for threads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any


def test_the_service_serves_the_page(built: Path, browser: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "cutis.cli", "serve", "--port", "0", "--workers", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout
        url = process.stdout.readline().split()[1]
        context = browser.new_context(service_workers="block")
        context.set_default_timeout(120_000)
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.goto(url)
        page.wait_for_selector("html[data-ready]")
        assert page.evaluate("window.crossOriginIsolated") is True
        assert errors == []
        context.close()
    finally:
        process.kill()
        process.wait()
