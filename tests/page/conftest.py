"""A built page on a small server of its own, and a real browser: skipped loudly where one of them is missing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside this file

from page_server import StaticServer, find_browser, opened, serving

ROOT = Path(__file__).parents[2]
PATIENCE = 240_000  # ms: a busy machine is no failure
BUILT = ROOT / "src/cutis/serve/page"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These tests come last: while the browser is open, playwright keeps an event loop, and no other can be run."""
    items.sort(key=lambda item: item.path.parent == Path(__file__).parent)


def missing(what: str, remedy: str) -> NoReturn:
    """Fail where a browser is required, else skip: either way in words that say what to do."""
    message = f"{what}, so the page is NOT tested: {remedy}"
    if os.environ.get("CUTIS_REQUIRE_BROWSER"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def built() -> Path:
    if not (BUILT / "sw.js").is_file():
        missing("the page is not built", "run `make page` (needs node 20 or newer)")
    return BUILT


@pytest.fixture(scope="session")
def server(built: Path) -> Iterator[StaticServer]:
    with serving(built) as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if find_browser() is None:
        missing("no Chromium was found", "install it (Debian: apt-get install chromium)")
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
    with opened() as running:
        yield running


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    fresh = browser.new_context(viewport={"width": 1280, "height": 900})
    fresh.set_default_timeout(PATIENCE)
    yield fresh
    fresh.close()


@pytest.fixture(scope="session")
def loaded(browser: Any, server: StaticServer) -> Iterator[Any]:
    """A page that has loaded its networks, for all tests; service workers kept out."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, service_workers="block")
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.goto(server.url)
    page.wait_for_selector("html[data-ready]")
    yield page
    context.close()
    assert errors == []
