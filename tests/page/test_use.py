"""The page as people use it: by keyboard and screen reader, on small screens, with files that are none, correcting."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from page_asking import give, mask, png, record, saved
from PIL import Image

from cutis.analysis.abcd import measure_shape
from cutis.data.synthetic import draw_lesion
from cutis.records import Analysis

AXE = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"


@pytest.fixture(scope="module")
def drawn():
    return draw_lesion(np.random.default_rng(1), width=320, height=240, symmetry=1)


def encoded(kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 150, 130)).save(buffer, kind, **options)
    return buffer.getvalue()


def animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    return encoded_many(frames, kind)


def encoded_many(frames, kind: str) -> bytes:
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def huge_png() -> bytes:
    """A header that announces 100 megapixels, in a kilobyte."""
    content = bytearray(encoded("PNG"))
    content[16:24] = (10_000).to_bytes(4, "big") * 2
    return bytes(content)


BAD = {
    "empty.png": (lambda: b"", "is empty"),
    "letter.jpg": (lambda: b"dear doctor", "is not an image file"),
    "moving.gif": (lambda: animated("GIF"), "is a GIF"),
    "moving.webp": (lambda: animated("WEBP"), "is animated"),
    "moving.png": (lambda: animated("PNG"), "is animated"),
    "scan.tif": (lambda: encoded("TIFF"), "is a TIFF, which browsers cannot read"),
    "half.jpg": (lambda: encoded("JPEG")[:-40], "is cut off"),
    "half.png": (lambda: encoded("PNG")[:-30], "is cut off"),
    "half.webp": (lambda: encoded("WEBP")[:-10], "is cut off"),
    "huge.png": (huge_png, "has 10000 x 10000 pixels, over the limit of 64 megapixels"),
    "broken.png": (lambda: encoded("PNG")[:40] + b"\0" * 4 + encoded("PNG")[44:], "is a damaged PNG file"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_in_plain_words(loaded, name):
    make, said = BAD[name]
    give(loaded, name, make())
    problem = loaded.inner_text("#problem")
    assert problem.startswith(f"{name} {said}"), problem
    assert problem.endswith(".") and "\n" not in problem


def test_after_a_bad_file_the_next_is_analysed(loaded, drawn):
    give(loaded, "letter.jpg", b"dear doctor")
    give(loaded, "good.png", png(drawn.image))
    assert loaded.is_hidden("#problem")
    assert "Lesion found" in loaded.inner_text("#card")


def test_a_dragged_corner_moves_the_outline_and_the_measures_follow(loaded, drawn):
    give(loaded, "drawn.png", png(drawn.image))
    before, old = record(loaded), mask(loaded)
    handle = loaded.locator(".handle").first
    handle.hover()  # brings it into view
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    picture = loaded.locator(".photo").bounding_box()
    centre_x, centre_y = picture["x"] + picture["width"] / 2, picture["y"] + picture["height"] / 2
    loaded.mouse.move(x, y)
    loaded.mouse.down()
    loaded.mouse.move(x + 0.4 * (x - centre_x), y + 0.4 * (y - centre_y), steps=3)
    loaded.mouse.up()
    loaded.wait_for_selector("#card:not([aria-busy]) .warnings >> text=corrected by hand")
    after, new = Analysis.model_validate(record(loaded)), mask(loaded)
    assert new.sum() > old.sum() and after.lesion.area == new.sum() != before["lesion"]["area"]
    assert after.lesion.diameter == pytest.approx(measure_shape(new).diameter, rel=0.01)
    assert "The outline was corrected by hand" in after.quality.warnings[0]
    loaded.click("#reset")
    loaded.wait_for_selector(".warnings >> text=corrected by hand", state="detached")
    loaded.wait_for_selector("#card:not([aria-busy])")
    assert record(loaded)["lesion"] == before["lesion"] and (mask(loaded) == old).all()


def test_it_is_used_by_keyboard_alone(context, server, drawn):
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("html[data-ready]")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "choose"
        page.keyboard.press("Enter")
    chooser.value.set_files({"name": "a.png", "mimeType": "image/png", "buffer": png(drawn.image)})
    page.wait_for_selector("#answer")
    assert page.evaluate("document.activeElement.id") == "result"  # the answer is read out
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.value") == "outline"
    area = page.inner_text(".measures tr:nth-child(5)")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "handle"
    for _ in range(3):
        page.keyboard.press("Shift+ArrowUp")
    page.wait_for_selector("#card:not([aria-busy]) .warnings >> text=corrected by hand")
    assert page.inner_text(".measures tr:nth-child(5)") != area
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.querySelector('.map.symmetry').style.opacity") == "0.8"
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    assert page.evaluate("document.querySelector('.map.symmetry').style.opacity") == "0"


def test_millimetres_follow_the_scale_that_is_typed(loaded, drawn):
    give(loaded, "drawn.png", png(drawn.image))
    loaded.fill("#scale", "0.05")
    loaded.press("#scale", "Enter")
    lesion = Analysis.model_validate(record(loaded)).lesion
    assert lesion.diameter_mm == pytest.approx(lesion.diameter * 0.05, abs=0.001)
    assert lesion.area_mm2 == pytest.approx(lesion.area * 0.05**2, abs=0.001)
    assert f"{lesion.diameter_mm:.1f} mm" in loaded.inner_text("#card")
    loaded.fill("#scale", "")
    loaded.press("#scale", "Enter")


def test_the_saved_picture_shows_the_outline(loaded, drawn):
    give(loaded, "drawn.png", png(drawn.image))
    overlay = np.asarray(Image.open(io.BytesIO(saved(loaded, "save-overlay"))).convert("RGB"))
    assert overlay.shape == drawn.image.shape
    changed = (overlay != drawn.image).any(-1)
    assert 0.005 < changed.mean() < 0.1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(loaded, drawn, scheme):
    assert AXE.is_file(), "axe-core is missing: run `make page`"
    loaded.emulate_media(color_scheme=scheme)
    give(loaded, "letter.jpg", b"dear doctor")  # the message counts too
    give(loaded, "drawn.png", png(drawn.image))
    loaded.evaluate(AXE.read_text("utf-8"))
    found = loaded.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert found["testEngine"]["name"] == "axe-core"
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious] == []
    loaded.emulate_media(color_scheme="light")


@pytest.mark.parametrize("width", [360, 768, 1920])
def test_nothing_is_wider_than_the_screen(loaded, drawn, width):
    loaded.set_viewport_size({"width": width, "height": 800})
    give(loaded, f"{'a-very-long-name-' * 8}.png", png(drawn.image))
    assert loaded.evaluate("document.documentElement.scrollWidth") <= width
    assert loaded.is_visible("text=Research use only")
    seen = loaded.evaluate("document.querySelector('.never').getBoundingClientRect().top")
    loaded.mouse.wheel(0, 5000)
    assert loaded.evaluate("document.querySelector('.never').getBoundingClientRect().top") <= max(seen, 60)
    loaded.set_viewport_size({"width": 1280, "height": 900})


def test_the_report_is_printed_with_both_maps_and_without_buttons(loaded, drawn):
    give(loaded, "drawn.png", png(drawn.image))
    loaded.emulate_media(media="print")
    assert loaded.is_hidden("#choose") and loaded.is_hidden("#print") and loaded.is_hidden(".handle >> nth=0")
    assert loaded.locator(".paper canvas:visible").count() == 2
    assert loaded.is_visible("text=Research use only")
    assert len(loaded.pdf()) > 10_000
    loaded.emulate_media(media="screen")
