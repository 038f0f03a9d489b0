"""Asymmetry, border, colour and diameter of a lesion, measured on its mask and its pixels.

The four parts of the ABCD rule of dermatoscopy (Nachbar et al., J Am Acad Dermatol 30, 1994, 551-559), as numbers:
asymmetry of shape about both principal axes, irregularity of the outline, the six colours, the longest extent. They
describe; no score is added up and no diagnosis follows from them.

Shapes are measured at one size: the lesion is cut out and scaled to `SIDE` pixels first. So a measure does not change
with the resolution of the photo, and costs the same for every photo.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from cutis.records import Asymmetry, Border, Colour

__all__ = ["COLOURS", "MIN_SHARE", "Shape", "measure_colours", "measure_shape"]

SIDE = 192  # longest side of the lesion's box when its shape is measured, pixels
MAX_ENLARGED = 16  # of a lesion of some pixels there is nothing to see at 192
SMOOTHING = 2.0  # Gaussian sigma along the outline, in those pixels: takes away the stairs of the pixel grid
HALF = 64  # the same for asymmetry: the lesion's farthest point lies this many pixels from its centre
ROUND = 0.85  # above this ratio of the axes a shape has no principal axes of its own, and the best pair is looked for
# An axis counts as asymmetric above this share. Of PH2's lesions (official masks) that dermatologists call
# asymmetric, 58% have such an axis, of the symmetric ones 22%; SymDerm v2 on HAM10000: 42% and 19%. People also judge
# colour and structure.
ASYMMETRIC = 0.10
MIN_SHARE = 0.03  # a colour counts as present from this share on
MAX_COLOUR_PIXELS = 4096

ColourName = Literal["white", "red", "light brown", "dark brown", "blue-grey", "black"]

# sRGB. What dermatologists call blue-grey or black is neither on a screen: these are set on the 160 PH2 images at
# hand, each labelled with the colours present (mean colour of the nearest pixels, brown; a small grid, blue-grey and
# black). Agreement over those 160 x 6 answers: 0.82; F1 light brown 0.84, dark brown 0.83, black 0.67, blue-grey
# 0.64. White and red are rare there (16 and 7 images), keep plain values and are NOT reliable (F1 about 0.2): a scar
# is seldom white in a photo. Colours relative to the surrounding skin agreed less (blue-grey 0.46) than these
# absolute ones.
COLOURS: dict[ColourName, tuple[int, int, int]] = {
    "white": (230, 230, 230),
    "red": (200, 26, 26),
    "light brown": (204, 131, 86),
    "dark brown": (152, 95, 70),
    "blue-grey": (120, 105, 115),
    "black": (45, 33, 31),
}
assert tuple(COLOURS) == get_args(ColourName)


class Shape(NamedTuple):
    """What a mask alone says. `diameter` and `border.perimeter` are in pixels of the mask."""

    asymmetry: Asymmetry
    border: Border
    diameter: float


def measure_shape(mask: NDArray[np.bool_]) -> Shape:
    """(H, W) bool with at least one pixel -> asymmetry, border and diameter of its largest part.

    >>> y, x = np.mgrid[:200, :300]
    >>> shape = measure_shape((x - 150) ** 2 + (y - 100) ** 2 <= 60**2)
    >>> shape.asymmetry.asymmetric_axes, round(shape.border.irregularity, 2), round(shape.diameter)
    (0, 1.0, 121)
    """
    cut, scale = _cut_out(mask)
    outline = _outline(cut).astype(np.float32)
    return Shape(_asymmetry(cut), _border(outline, scale), _longest_extent(_outline(mask.view(np.uint8))) + 1)


def measure_colours(pixels: NDArray[np.uint8]) -> list[Colour]:
    """(N, 3) uint8 RGB pixels of a lesion -> the colours present, largest share first.

    Each pixel takes the name of the nearest reference in `COLOURS` (Euclidean distance in CIELAB).

    >>> measure_colours(np.tile(np.uint8([[150, 96, 71]]), (100, 1)))
    [Colour(name='dark brown', share=1.0)]
    """
    lab = _lab(pixels[:: 1 + len(pixels) // MAX_COLOUR_PIXELS])
    # |p - r|^2 = |p|^2 - 2 p.r + |r|^2, and |p|^2 is the same for every reference
    nearest = (_REFERENCES_SQUARED - 2 * lab @ _REFERENCES.T).argmin(axis=1)
    shares = np.bincount(nearest, minlength=len(COLOURS)) / max(1, len(lab))
    present = [
        Colour(name=name, share=round(float(share), 4))
        for name, share in zip(COLOURS, shares, strict=True)
        if share >= MIN_SHARE
    ]
    return sorted(present, key=lambda colour: -colour.share)


def _cut_out(mask: NDArray[np.bool_]) -> tuple[NDArray, float]:
    """The mask's box, scaled so that its longest side is `SIDE`, with a margin; 0 or 1. And the scale."""
    pixels = mask.view(np.uint8)
    left, top, width, height = cv2.boundingRect(pixels)
    box: NDArray = pixels[top : top + height, left : left + width] * np.uint8(255)
    box = cv2.copyMakeBorder(box, 3, 3, 3, 3, cv2.BORDER_CONSTANT, value=0)
    scale = min(SIDE / max(width, height), MAX_ENLARGED)
    size = (max(1, round(box.shape[1] * scale)), max(1, round(box.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR  # averaging over areas costs five times as much
    box = cv2.resize(box, size, interpolation=how)
    if scale > 1:  # the stairs of the smaller mask have grown with it
        box = cv2.GaussianBlur(box, (0, 0), 0.7 * scale)
    cut = (box >= 128).view(np.uint8)
    if not cut.any():  # a line thinner than half a pixel of the scaled box
        cut = (box >= box.max()).view(np.uint8)
    return cv2.copyMakeBorder(cut, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0), scale


def _outline(pixels: NDArray) -> NDArray:
    """(H, W) uint8, 0 or 1 -> (N, 2) pixel centres along the edge of its largest part."""
    contours, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return max(contours, key=cv2.contourArea)[:, 0]


def _longest_extent(outline: NDArray) -> float:
    """(N, 2) -> distance of the two farthest points: all pairs of the hull's corners, some tens."""
    hull = cv2.convexHull(outline)[:, 0].astype(np.float32)
    return float(np.sqrt(((hull[:, None] - hull[None]) ** 2).sum(-1).max()))


def _border(outline: NDArray[np.float32], scale: float) -> Border:
    """(N, 2) pixel centres along the edge -> irregularity P^2 / (4 pi A), the hull's unfilled share, the perimeter.

    The chain of pixel centres is some 5% longer than the edge it follows, in some directions more than in others;
    smoothed along the chain it is not. It lies half a pixel inside the edge: pi more makes up for it (Steiner's
    formula)."""
    smooth = _smoothed(outline)
    step = np.diff(smooth, axis=0, append=smooth[:1])
    perimeter = float(np.hypot(step[:, 0], step[:, 1]).sum()) + math.pi
    area = cv2.contourArea(smooth) + perimeter / 2
    hull = cv2.convexHull(smooth)
    hull_area = cv2.contourArea(hull) + cv2.arcLength(hull, True) / 2
    return Border(
        irregularity=round(perimeter**2 / (4 * math.pi * area), 4),
        hull_defect=round(min(1.0, max(0.0, 1 - area / hull_area)), 4),
        perimeter=perimeter / scale,
    )


def _smoothed(outline: NDArray) -> NDArray:
    """(N, 2) closed chain -> the same after a Gaussian along the chain."""
    reach = int(3 * SMOOTHING)
    if len(outline) <= 2 * reach:
        return outline
    closed = np.concatenate((outline[-reach:], outline, outline[:reach]))
    return cv2.GaussianBlur(closed, (1, 2 * reach + 1), sigmaX=1, sigmaY=SMOOTHING)[reach:-reach]


def _asymmetry(cut: NDArray[np.uint8]) -> Asymmetry:
    """Share of the lesion that its mirror image does not cover, about both principal axes (of its second moments).

    A disc or a square has the same moments about every axis. There the pair of perpendicular axes with the least
    asymmetry is taken, as Nachbar et al. place theirs."""
    moments = cv2.moments(cut, binaryImage=True)
    mass = moments["m00"]
    centre = (moments["m10"] / mass, moments["m01"] / mass)
    xx, yy, xy = (moments[name] / mass for name in ("mu20", "mu02", "mu11"))
    spread = math.hypot(xx - yy, 2 * xy)
    ratio = math.sqrt(max(0.0, xx + yy - spread) / max(xx + yy + spread, 1e-9))
    angle = 0.5 * math.degrees(math.atan2(2 * xy, xx - yy))
    if ratio > ROUND:
        angle = _best_pair(cut, centre, angle)
    major, minor = _mirrored(cut, centre, angle, HALF)
    count = (major > ASYMMETRIC) + (minor > ASYMMETRIC)
    shown = (-angle + 90) % 180 - 90  # rows grow downwards; people count angles upwards
    return Asymmetry(
        major_axis=round(major, 4),
        minor_axis=round(minor, 4),
        asymmetric_axes=count,
        angle_degrees=round(shown, 1),
    )


def _best_pair(cut: NDArray[np.uint8], centre: tuple[float, float], start: float) -> float:
    """Angle (degrees) of the perpendicular axes with the least asymmetry: every 10 degrees, then finer."""

    def cost(angle: float) -> float:
        return sum(_mirrored(cut, centre, angle, HALF // 2))

    best = min((start + turn for turn in range(0, 90, 10)), key=cost)
    for step in (5.0, 2.5, 1.25):
        best = min((best, best - step, best + step), key=cost)
    return best


def _mirrored(cut: NDArray[np.uint8], centre: tuple[float, float], angle: float, half: int) -> tuple[float, float]:
    """Turn the axis at `angle` (degrees, rows downwards) level, fold along it and across it; unmatched shares."""
    height, width = cut.shape
    farthest = math.hypot(max(centre[0], width - centre[0]), max(centre[1], height - centre[1]))
    turn = cv2.getRotationMatrix2D(centre, angle, half / farthest)
    turn[:, 2] += half - np.array(centre)
    level = cv2.warpAffine(cut * np.uint8(255), turn, (2 * half + 1, 2 * half + 1), flags=cv2.INTER_LINEAR) >= 128
    area = max(1, int(np.count_nonzero(level)))
    along, across = level & ~level[::-1], level & ~level[:, ::-1]
    return float(np.count_nonzero(along) / area), float(np.count_nonzero(across) / area)


def _lab(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 3) uint8 sRGB -> (N, 3) float32 CIELAB, L from 0 to 100 (white D65).

    Not OpenCV's: that builds tables of all colours first, 0.15 s once a process.

    >>> _lab(np.uint8([[255, 255, 255], [0, 0, 0], [255, 0, 0]])).round().astype(int).tolist()
    [[100, 0, 0], [0, 0, 0], [53, 80, 67]]
    """
    share = _LINEAR[pixels] @ _TO_XYZ
    root = np.where(share > _DARKEST, np.cbrt(share), share * np.float32(24389 / 27 / 116) + np.float32(16 / 116))
    x, y, z = root.T
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=1)


_SRGB = np.arange(256) / 255
_LINEAR = np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4).astype(np.float32)
# Rows: red, green and blue in X, Y and Z, each a share of the white's.
_TO_XYZ = np.array(
    [[0.412453, 0.212671, 0.019334], [0.357580, 0.715160, 0.119193], [0.180423, 0.072169, 0.950227]], np.float32
)
_TO_XYZ /= _TO_XYZ.sum(axis=0)
_DARKEST = np.float32(216 / 24389)
_REFERENCES = _lab(np.array(list(COLOURS.values()), np.uint8))
_REFERENCES_SQUARED = (_REFERENCES**2).sum(axis=1)
