"""The outline of the lesion drawn on the picture, and a network's map laid over it.

A light line on a dark casing: seen on pale skin and on black pigment alike, by its brightness alone, so without telling
colours apart. The hue (Okabe and Ito's sky blue, made lighter) is one that skin does not have.

Maps take the colours of cividis (Nunez, Anderton and Renslow, PLoS ONE 13, 2018), which people with and without colour
vision deficiency see alike: blue where the network looked least, yellow where it looked most.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from cutis.errors import CutisError

__all__ = ["MAX_SIDE", "colour_scale", "draw_map", "draw_outline", "encode_jpeg", "encode_png", "shrink"]

MAX_SIDE = 1280
LINE = (120, 225, 255)
CASING = (15, 25, 40)
LEAST_SHOWN, MOST_SHOWN = 0.5, 0.8  # how much of a map covers the picture, where it is 0 and where it is 1


def draw_outline(picture: NDArray[np.uint8], mask: NDArray[np.bool_], max_side: int = MAX_SIDE) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB and a mask of the same image at any size -> a new picture of at most `max_side`, with the
    outline.

    >>> picture, mask = np.full((90, 120, 3), 200, np.uint8), np.zeros((180, 240), bool)
    >>> mask[60:120, 80:160] = True
    >>> drawn = draw_outline(picture, mask)
    >>> drawn.shape, bool((drawn[30, 60] != 200).any()), drawn[45, 60].tolist()
    ((90, 120, 3), True, [200, 200, 200])
    """
    drawn = shrink(picture, max_side)
    drawn = drawn.copy() if drawn is picture else drawn
    height, width = drawn.shape[:2]
    pixels: NDArray = mask.view(np.uint8)
    if pixels.shape != (height, width):
        how = cv2.INTER_AREA if width < mask.shape[1] else cv2.INTER_LINEAR
        pixels = np.asarray(cv2.resize(pixels * np.uint8(255), (width, height), interpolation=how), np.uint8) >> 7
    found, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    contours = [
        cv2.approxPolyDP(contour, 0.7, True) for contour in found
    ]  # a tenth of the points: drawn 5 times faster
    line = max(1, round(max(height, width) / 320))
    for colour, thickness in ((CASING, line + 2 * max(1, line // 2)), (LINE, line)):
        cv2.drawContours(drawn, contours, -1, colour, thickness, cv2.LINE_AA)
    return drawn


def draw_map(picture: NDArray[np.uint8], activation: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB and a map over the whole picture, uint8 at any size -> a new picture, the map over it.

    The picture loses its colours, so that every hue is the map's.

    >>> drawn = draw_map(np.full((4, 8, 3), 128, np.uint8), np.uint8([[0, 255]]))
    >>> bool(drawn[0, 0, 2] > drawn[0, 0, 0]), bool(drawn[0, 7, 0] > drawn[0, 7, 2])  # bluish, yellowish
    (True, True)
    """
    height, width = picture.shape[:2]
    values = cv2.resize(activation, (width, height), interpolation=cv2.INTER_LINEAR)
    colours = cv2.cvtColor(cv2.applyColorMap(values, cv2.COLORMAP_CIVIDIS), cv2.COLOR_BGR2RGB).astype(np.float32)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    share = LEAST_SHOWN + (MOST_SHOWN - LEAST_SHOWN) * (values.astype(np.float32)[..., None] / 255)
    return np.rint(grey + share * (colours - grey)).astype(np.uint8)


def colour_scale(steps: int) -> list[tuple[int, int, int]]:
    """The colours of a map from 0 to 1, (red, green, blue)."""
    values = np.linspace(0, 255, steps).round().astype(np.uint8)[None]
    colours = cv2.cvtColor(cv2.applyColorMap(values, cv2.COLORMAP_CIVIDIS), cv2.COLOR_BGR2RGB)[0]
    return [(int(r), int(g), int(b)) for r, g, b in colours]


def shrink(picture: NDArray[np.uint8], max_side: int) -> NDArray:
    """The picture itself, or a smaller one whose longest side is `max_side`."""
    height, width = picture.shape[:2]
    scale = max_side / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """(h, w, 3) uint8 RGB or (h, w) uint8 -> PNG."""
    # One filter tried instead of all: 40 ms instead of 64 for 1024x768, and 5% smaller. Older OpenCV has no choice.
    choice = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP] if hasattr(cv2, "IMWRITE_PNG_FILTER") else []
    return _encode(picture, ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1, *choice])


def encode_jpeg(picture: NDArray[np.uint8], quality: int) -> bytes:
    """(h, w, 3) uint8 RGB -> JPEG."""
    return _encode(picture, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encode(picture: NDArray[np.uint8], ending: str, options: list[int]) -> bytes:
    pixels = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    done, content = cv2.imencode(ending, pixels, options)
    if not done:
        raise CutisError(
            f"a picture of shape {picture.shape} cannot be written as {ending[1:].upper()}: choose a smaller one"
        )
    return content.tobytes()
