"""report.html: one file, nothing from outside, nothing that a file name can do to it."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from cutis.analysis.batch import Options, analyze_to_folder
from cutis.analysis.report import Report
from cutis.analysis.runtime import Segmenter
from cutis.records import Analysis, Diagnosis, Symmetry

VOID = {"meta", "img", "input", "br", "link", "hr"}


class Page(HTMLParser):
    """Collects tags with their attributes; every tag must be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def page(photos: Path, toy: Segmenter, tmp_path: Path) -> str:
    hostile = photos / 'x" onerror="alert(1)'
    hostile.mkdir()
    (hostile / "<script>alert(1)<script>.png").write_bytes((photos / "a.png").read_bytes())
    (hostile / "<img src=x>.png").write_bytes(b"no image")
    list(analyze_to_folder([photos], tmp_path / "out", toy, Options(mm_per_pixel=0.05), resume=False))
    return (tmp_path / "out" / "report.html").read_text("utf-8")


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    assert "http:" not in page and "https:" not in page and "//" not in re.sub(r"base64,[\w+/=]+", "", page)
    found = Page(page)
    for tag, attributes in found.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form"}
        assert not [name for name in attributes if name.startswith("on") or name in {"style", "srcset", "href"}]
        if "src" in attributes:
            assert (attributes["src"] or "").startswith("data:image/jpeg;base64,")
            assert base64.b64decode((attributes["src"] or "").split(",")[1])[:2] == b"\xff\xd8"


def test_the_policy_allows_the_style_and_no_more(page: str) -> None:
    (policy,) = [a["content"] for t, a in Page(page).tags if a.get("http-equiv") == "Content-Security-Policy"]
    style = page.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:")
    assert f"'sha256-{digest}'" in policy and "unsafe" not in policy
    assert "url(" not in style and "@import" not in style


def test_names_are_text_whatever_they_say(page: str) -> None:
    found = Page(page)
    assert "<script>alert(1)<script>.png" in found.text
    assert any("<img src=x>.png" in text for text in found.text)
    assert all(not (attributes.get("src") or "data:").startswith("x") for _, attributes in found.tags)


def test_each_image_has_its_say(page: str) -> None:
    found = Page(page)
    said = " ".join(" ".join(found.text).split())
    assert [tag for tag, _ in found.tags].count("article") == 5
    assert "Research use only, not a diagnosis." in said
    for words in (
        "Lesion found",
        "No lesion found",
        "Not analysed",
        "broken.jpg",
        "mm²",
        "dark brown",
        "Asymmetry",
        "toy 1",
    ):
        assert words in said
    assert all(attributes.get("alt") for tag, attributes in found.tags if tag == "img")
    assert "Symmetry network" not in said and "Most like" not in said


def test_symmetry_and_class_are_shown_when_there_are_any(tmp_path: Path) -> None:
    analysis = Analysis(
        file="a.jpg",
        status="no_lesion",
        width=4,
        height=3,
        symmetry=Symmetry(label="asymmetric", probability=0.8),
        diagnosis=Diagnosis(label=None, probabilities={"nv": 0.5, "<mel>": 0.4}, prediction_set=["nv", "<mel>"]),
        cutis="0",
    )
    with Report(tmp_path / "report.html", 1) as report:
        report.add(analysis, None)
    said = " ".join(Page((tmp_path / "report.html").read_text()).text)
    assert "asymmetric (80%)" in said and "not sure" in said and "<mel>" in said


def test_a_page_of_a_thousand_is_written_as_it_goes(tmp_path: Path) -> None:
    """The cards wait in a file: what the report holds in memory does not grow."""
    analysis = Analysis(file="a.jpg", status="no_lesion", width=4, height=3, cutis="0")
    with Report(tmp_path / "report.html", 1000) as report:
        for _ in range(1000):
            report.add(analysis, b"\xff\xd8" + bytes(20_000))
        assert sum(len(repr(value)) for value in vars(report).values()) < 10_000
        assert report._cards.tell() > 25_000_000
    assert (tmp_path / "report.html").stat().st_size > 25_000_000
