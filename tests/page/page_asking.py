"""What the tests do to a page: give it a picture, wait for the answer, read what it saves."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def png(pixels: NDArray[np.uint8]) -> bytes:
    """(h, w, 3) uint8 RGB or (h, w, 4) RGBA -> PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def give(page: Any, name: str, content: bytes, mime: str = "image/png") -> None:
    """Choose a file, and wait until the page has said something about it."""
    page.evaluate("document.querySelector('#card').replaceChildren()")
    page.set_input_files("#file", {"name": name, "mimeType": mime, "buffer": content})
    page.wait_for_selector("#answer, #problem:not([hidden])")


def saved(page: Any, button: str) -> bytes:
    """What a save button gives."""
    with page.expect_download() as waited:
        page.click(f"#{button}")
    return Path(waited.value.path()).read_bytes()


def record(page: Any) -> dict[str, Any]:
    """The record of the picture that the page shows."""
    return json.loads(saved(page, "save-record"))


def mask(page: Any) -> NDArray[np.bool_]:
    """The mask of the picture that the page shows, at its full size."""
    return np.asarray(Image.open(io.BytesIO(saved(page, "save-mask"))).convert("L")) > 0
