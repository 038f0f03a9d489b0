"""report.html: one file, nothing from outside, nothing that a file name can do to it."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from cutis.analysis.batch import Options, analyze_to_folder
from cutis.analysis.report import Pictures, Report
from cutis.analysis.runtime import Segmenter
from cutis.records import Analysis, Diagnosis, ModelInfo, Symmetry

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
    assert "What the networks say" not in said and "ost like" not in said


INFO = ModelInfo(name="net", version="1", precision="int8", sha256="0123456789")
SYMMETRY = Symmetry(
    label="asymmetric", probability=0.8, probabilities={"asymmetric": 0.8, "symmetric": 0.2}, threshold=0.5
)
NAMED = Diagnosis(
    label="nv", probabilities={"mel": 0.062, "nv": 0.937, "df": 0.001}, prediction_set=["nv"], coverage=0.9
)
UNSURE = Diagnosis(
    label=None,
    probabilities={"nv": 0.5, "<mel>": 0.4, "df": 0.1},
    prediction_set=["nv", "<mel>"],
    coverage=0.9,
    reasons=["two classes fit: melanocytic naevus and <mel>", "unlike the images it was trained on"],
)


def one_card(folder: Path, pictures: Pictures = Pictures(), **fields: object) -> str:  # noqa: B008 - immutable
    """The page of one image."""
    known: dict[str, Any] = {"file": "a.jpg", "status": "lesion", "width": 4, "height": 3, "cutis": "0"}
    with Report(folder / "report.html", 1) as report:
        report.add(Analysis(**{**known, **fields}), pictures)
    return (folder / "report.html").read_text("utf-8")


def spoken(page: str) -> str:
    return " ".join(" ".join(Page(re.sub("<style>.*</style>", "", page, flags=re.DOTALL)).text).split())


def test_symmetry_and_class_are_said_in_plain_words(tmp_path: Path) -> None:
    said = spoken(one_card(tmp_path, symmetry=SYMMETRY, diagnosis=NAMED, class_model=INFO, symmetry_model=INFO))
    assert "asymmetric (80%)" in said and "most like melanocytic naevus (94%)" in said
    assert "never a diagnosis" in said and "net 1, int8 ( 01234567 ) · net 1" in said
    assert "✓ marks the class that fit" in said and "For 90% of lesions" in said
    assert "class not sure 0" in said and "Grad-CAM++" in said


def test_classes_are_listed_likeliest_first_and_those_that_fit_are_marked(tmp_path: Path) -> None:
    page = one_card(tmp_path, diagnosis=UNSURE)
    rows = re.findall(r"<tr( class=\"fits\")?><td class=\"mark\">(.*?)</td><th scope=\"row\">(.*?)</th>", page)
    assert [name for _, _, name in rows] == ["melanocytic naevus", "&lt;mel&gt;", "dermatofibroma"]
    assert [bool(fits) for fits, _, _ in rows] == ["✓" in mark for _, mark, _ in rows] == [True, True, False]
    levels = re.findall(r"class=\"level\" width=\"([\d.]+)\"", page)
    assert levels == ["50.0", "40.0", "10.0"]


def test_not_sure_is_said_with_its_reasons(tmp_path: Path) -> None:
    page = one_card(tmp_path, diagnosis=UNSURE)
    said = spoken(page)
    assert "not sure: two classes fit: melanocytic naevus and <mel>; unlike the images it was trained on" in said
    assert "most like melanocytic" not in said and "class not sure 1" in said and "<mel>" not in page
    nothing = UNSURE.model_copy(update={"prediction_set": [], "reasons": ["no class fits"]})
    assert "No class fits." in spoken(one_card(tmp_path, diagnosis=nothing))


def test_a_probability_is_never_nothing_or_all(tmp_path: Path) -> None:
    sure = NAMED.model_copy(update={"probabilities": {"nv": 0.9996, "mel": 0.0004}})
    said = spoken(one_card(tmp_path, diagnosis=sure))
    assert "most like melanocytic naevus (over 99%)" in said and "under 1%" in said and "100%" not in said


def test_both_maps_stand_beside_the_picture(tmp_path: Path) -> None:
    pictures = Pictures(b"\xff\xd8 outline", b"\xff\xd8 symmetry", b"\xff\xd8 class")
    found = Page(one_card(tmp_path, pictures, symmetry=SYMMETRY, diagnosis=NAMED))
    images = [base64.b64decode((a["src"] or "").split(",")[1]) for tag, a in found.tags if tag == "img"]
    assert images == [b"\xff\xd8 outline", b"\xff\xd8 symmetry", b"\xff\xd8 class"]
    assert all("a.jpg" in (a["alt"] or "") for tag, a in found.tags if tag == "img")
    assert {"Where the symmetry network looked", "Where the class network looked", "least", "most"} <= set(found.text)


def test_without_the_networks_the_page_does_not_speak_of_them(tmp_path: Path) -> None:
    said = spoken(one_card(tmp_path, status="no_lesion"))
    assert "network" not in said.replace("the network gives to the pixels", "") and "Grad-CAM" not in said
    asked = spoken(one_card(tmp_path, status="no_lesion", class_model=INFO))
    assert "the networks for symmetry and class were not asked" in asked


def test_a_page_of_a_thousand_is_written_as_it_goes(tmp_path: Path) -> None:
    """The cards wait in a file: what the report holds in memory does not grow."""
    analysis = Analysis(file="a.jpg", status="no_lesion", width=4, height=3, cutis="0")
    with Report(tmp_path / "report.html", 1000) as report:
        for _ in range(1000):
            report.add(analysis, Pictures(b"\xff\xd8" + bytes(20_000)))
        assert sum(len(repr(value)) for value in vars(report).values()) < 10_000
        assert report._cards.tell() > 25_000_000
    assert (tmp_path / "report.html").stat().st_size > 25_000_000
