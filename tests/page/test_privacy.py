"""Private by construction: what the page asks for while it works, on its own server and without any."""

from __future__ import annotations

import hashlib
import json
import re
from urllib.parse import urlsplit

import numpy as np
import pytest
from page_asking import give, png
from page_server import HEADERS, serving

from cutis.data.synthetic import draw_lesion


@pytest.fixture(scope="module")
def picture() -> bytes:
    return png(draw_lesion(np.random.default_rng(1), width=320, height=240, symmetry=1).image)


def test_the_first_visit_loads_its_own_files_then_works_without_a_network(context, built, picture):
    asked: list[tuple[str, str]] = []
    context.on("request", lambda request: asked.append((request.method, request.url)))
    with serving(built) as server:
        page = context.new_page()
        page.goto(server.url)
        page.wait_for_selector("html[data-ready]")
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        assert 5e6 < server.sent < 12e6  # the whole first visit, from a server that compresses nothing
        before = len(asked)
        give(page, "first.png", picture)
        analysing = [url for _, url in asked[before:] if not url.startswith("blob:")]
        own = f"{urlsplit(server.url).netloc}"
        assert {method for method, _ in asked} == {"GET"}
        assert {urlsplit(url).netloc for _, url in asked if not url.startswith(("blob:", "data:"))} == {own}
        assert analysing == []  # not one request for a picture
        assert {method for method, _, _ in server.asked} == {"GET"}
        assert [path for _, path, status in server.asked if status >= 400] == []
        assert context.cookies() == []
        heard, url = len(server.asked), server.url
    context.set_offline(True)  # and the server is gone
    page.goto(url)
    page.wait_for_selector("html[data-ready]")
    give(page, "offline.png", picture)
    assert "Lesion found" in page.inner_text("#card")
    assert len(server.asked) == heard
    assert page.evaluate("Object.keys(localStorage).length") == 0


def test_a_model_that_is_not_the_manifests_is_refused(context, built, tmp_path):
    folder = tmp_path / "page"
    folder.mkdir()
    for path in built.rglob("*"):
        target = folder / path.relative_to(built)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            target.write_bytes(path.read_bytes())
    manifest = json.loads((folder / "models/manifest.json").read_text())
    other, first = (folder / "models" / manifest["models"][name]["file"] for name in ("symmetry", "segmenter"))
    first.write_bytes(other.read_bytes())
    with serving(folder) as server:
        page = context.new_page()
        page.goto(server.url)
        page.wait_for_selector("#problem:not([hidden])")
        assert "is not the file of the manifest" in page.inner_text("#problem")


def test_the_page_works_below_any_path_and_without_the_headers_for_threads(context, built, tmp_path, picture):
    (tmp_path / "some").mkdir()
    (tmp_path / "some/where").symlink_to(built, target_is_directory=True)
    with serving(tmp_path, headers={}) as server:
        page = context.new_page()
        page.goto(f"{server.url}some/where/")
        page.wait_for_selector("html[data-ready]")
        assert "1 thread" in page.inner_text("#made")
        give(page, "a.png", picture)
        assert "Lesion found" in page.inner_text("#card")


def test_the_page_itself_forbids_every_other_origin(built):
    page = (built / "index.html").read_text("utf-8")
    stated = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert stated
    expected = HEADERS["Content-Security-Policy"].split("; ")
    expected.remove("frame-ancestors 'none'")  # a meta tag cannot say it
    assert stated[1].split("; ") == expected
    for path in built.rglob("*"):
        if path.suffix in {".html", ".css", ".webmanifest"}:
            assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?https?:", path.read_text("utf-8")), path


def test_every_file_is_in_the_service_workers_list_with_its_hash(built):
    listed = re.search(r"^const FILES = (.+);$", (built / "sw.js").read_text("utf-8"), re.MULTILINE)
    assert listed
    files = {p.relative_to(built).as_posix(): p for p in built.rglob("*") if p.is_file() and p.name != "sw.js"}
    hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert dict(json.loads(listed[1])) == hashes
