"""The pictures of the page in docs/images: python tools/page_screenshots.py (after `make page`).

A phone and a desk, light, with the drawn lesion that comes with the page.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/page"))

from page_server import opened, serving  # noqa: E402

DEVICES = {"page-phone": (390, 844, 2), "page-desk": (1280, 960, 1)}


def main() -> None:
    with serving(ROOT / "src/cutis/serve/page") as server, opened() as browser:
        for name, (width, height, scale) in DEVICES.items():
            context = browser.new_context(
                viewport={"width": width, "height": height},
                device_scale_factor=scale,
                color_scheme="light",
                service_workers="block",
                has_touch=width < 500,
                is_mobile=width < 500,
            )
            page = context.new_page()
            page.set_default_timeout(120_000)
            page.goto(server.url)
            page.wait_for_selector("html[data-ready]")
            page.click("#example")
            page.wait_for_selector("#answer")
            if width >= 500:
                page.evaluate("scrollTo(0, 0)")
            page.wait_for_timeout(500)
            page.screenshot(path=ROOT / f"docs/images/{name}.png")
            context.close()


if __name__ == "__main__":
    main()
