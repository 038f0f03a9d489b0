"""The scale a file honestly gives: millimetres a pixel, or nothing.

Nearly every resolution in an image file is a print setting that no one chose (72, 96, 300 dots an inch), and a wrong
scale makes wrong millimetres. So: never from JPEG, BMP or WebP; from a TIFF that ImageJ calibrated; else from a PNG or
TIFF whose value is the same across and down, plausible for a dermoscope, and no usual setting of a printer or scanner.
"""

from __future__ import annotations

import re

from PIL import Image

__all__ = ["spacing_mm"]

_PLAUSIBLE_MM = (0.002, 0.0999)  # from a 12 mm field on 6000 pixels to a 30 mm field on 300
_PRINT_DPI = frozenset((300, 350, 360, 400, 480, 500, 600, 720, 800, 900, 1000, 1200, 1440, 1600, 1800))
_SCANNER_DPI = frozenset((2000, 2400, 2880, 3000, 3200, 3600, 4000, 4800, 5000, 5600, 6400, 9600, 10000))
_MILLIMETRES = {"mm": 1.0, "cm": 10.0, "um": 1e-3, "µm": 1e-3, "micron": 1e-3, "\\u00b5m": 1e-3, "inch": 25.4}


def spacing_mm(image: Image.Image, kind: str) -> float | None:
    """Of an opened image of format `kind`: millimetres a pixel of the full-size image, or None."""
    calibrated = _imagej_spacing(image) if kind == "TIFF" else None
    if calibrated:
        return calibrated
    across, down = image.info.get("dpi", (0, 0)) if kind in ("PNG", "TIFF") else (0, 0)
    across, down = float(across), float(down)
    if not across > 0 or abs(across - down) > 0.01 * across:
        return None
    usual = any(abs(across - dpi) < 0.6 for dpi in _PRINT_DPI | _SCANNER_DPI)
    return None if usual or not _PLAUSIBLE_MM[0] <= 25.4 / across <= _PLAUSIBLE_MM[1] else 25.4 / across


def _imagej_spacing(image: Image.Image) -> float | None:
    tags = getattr(image, "tag_v2", {})
    described = str(tags.get(270, ""))
    unit = re.search(r"^unit=(\S+)", described, re.MULTILINE)
    resolution = float(tags.get(282, 0) or 0)
    if not described.startswith("ImageJ") or unit is None or not resolution > 0:
        return None
    return _MILLIMETRES[unit[1]] / resolution if unit[1] in _MILLIMETRES else None
