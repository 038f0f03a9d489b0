"""Drawn lesions: pictures like dermoscopy whose shape, symmetry, hair and mask are known; for tests and the demo.

Nothing here comes from a photograph, so the pictures may be shared freely. A lesion's outline is a Fourier series in
polar coordinates, rho(theta) = R (1 + sum a_k cos(k theta + phi_k)), and its pigment a random field, both mirrored
about the axes of symmetry asked for. Pigment darkens skin as melanin does, exp(-density x absorption), blue the most.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from cutis.files import atomic_write

__all__ = ["add_hairs", "SyntheticLesion", "draw_lesion", "draw_skin", "write_folder"]

Floats = NDArray[np.float32]
_MELANIN = np.array([0.75, 1.32, 1.75], np.float32)
"""Relative absorption of red, green and blue light by melanin."""
_SYMMETRIES: tuple[Literal[2], Literal[1], Literal[0]] = (2, 1, 0)


@dataclass(frozen=True)
class SyntheticLesion:
    """A picture and the truth about it.

    `image` (H, W, 3) RGB uint8; `mask` and `hair_mask` (H, W) bool; `symmetry` counts the axes of symmetry
    (SymDerm's code 0, 1, 2); `centre` is (x, y) in pixels; `axis_degrees` is the direction of the first axis,
    from x towards y.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    hair_mask: NDArray[np.bool_]
    symmetry: int
    centre: tuple[float, float]
    axis_degrees: float


def draw_lesion(
    rng: np.random.Generator,
    *,
    width: int,
    height: int,
    symmetry: Literal[0, 1, 2],
    hairs: int = 0,
    vignette: bool = False,
    ruler: bool = False,
    tone: float | None = None,
) -> SyntheticLesion:
    """Draw one lesion, whole inside the frame, on skin of the given tone (0 light to 1 dark; None draws one).

    >>> lesion = draw_lesion(np.random.default_rng(0), width=96, height=64, symmetry=2, hairs=3)
    >>> lesion.image.shape, lesion.mask.dtype, bool(lesion.hair_mask.any())
    ((64, 96, 3), dtype('bool'), True)
    """
    side = min(width, height)
    skin = _skin(rng, width, height, rng.uniform(0, 0.6) if tone is None else tone)
    elongation, wave = rng.uniform(1.05, 1.45), _Outline(rng, symmetry)
    extent = side * rng.uniform(0.24, 0.38)
    radius = extent / (elongation * float(wave(np.linspace(-np.pi, np.pi, 720)).max()))
    centre = (
        width / 2 + rng.uniform(-1, 1) * (0.44 * width - extent) * 0.6,
        height / 2 + rng.uniform(-1, 1) * (0.44 * height - extent) * 0.6,
    )
    angle = rng.uniform(-90, 90)
    u, v = _lesion_coordinates(width, height, centre, angle)
    u, v = u / (radius * elongation), v / radius
    depth = (np.hypot(u, v) / wave(np.arctan2(v, u))).astype(np.float32)
    density = _pigment(rng, u, v, depth, symmetry)
    image = skin * np.exp(-density[..., None] * _MELANIN * rng.uniform([0.9, 0.95, 0.9], [1.15, 1.05, 1.1]))
    hair_mask = _draw_hairs(rng, image, hairs)
    if ruler:
        _draw_ruler(image)
    if vignette:
        _darken_corners(image, rng.uniform(0.53, 0.59))
    return SyntheticLesion(_photographed(rng, image), depth < 1, hair_mask, symmetry, centre, angle)


def add_hairs(
    rng: np.random.Generator, picture: NDArray[np.uint8], hairs: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(H, W, 3) uint8 RGB -> the same picture under drawn hairs, and (H, W) bool of what they cover by half or more.

    >>> bald = np.full((64, 96, 3), 180, np.uint8)
    >>> hairy, cover = add_hairs(np.random.default_rng(0), bald, 4)
    >>> bool((hairy[cover] < 150).all()), bool(cover.any())
    (True, True)
    """
    image: Floats = picture.astype(np.float32) / np.float32(255)
    cover = _draw_hairs(rng, image, hairs)
    return np.rint(image * 255).astype(np.uint8), cover


def draw_skin(rng: np.random.Generator, *, width: int, height: int, tone: float) -> NDArray[np.uint8]:
    """Skin with no lesion on it, (H, W, 3) RGB uint8; `tone` from 0 (light) to 1 (dark)."""
    return _photographed(rng, _skin(rng, width, height, tone))


def write_folder(folder: Path, count: int, seed: int, *, width: int = 768, height: int = 576) -> list[Path]:
    """Write `count` lesions in the `folder` layout and return the images: images/*.jpg, masks/*.png, labels.csv.

    Picture n depends on `seed` and n alone, so a longer series begins with the shorter one. Symmetry runs through 2, 1,
    0; each second picture has hair, each third a dark vignette, each fourth a ruler.
    """
    paths, rows = [], io.StringIO()
    table = csv.writer(rows, lineterminator="\n")
    table.writerow(["id", "symmetry"])
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        symmetry = _SYMMETRIES[number % 3]
        hairs = int(rng.integers(8, 25)) if number % 2 else 0
        lesion = draw_lesion(
            rng, width=width, height=height, symmetry=symmetry, hairs=hairs,
            vignette=number % 3 == 2, ruler=number % 4 == 3,
        )  # fmt: skip
        name = f"lesion_{number:03}"
        paths.append(folder / "images" / f"{name}.jpg")
        atomic_write(paths[-1], _encoded(".jpg", cv2.cvtColor(lesion.image, cv2.COLOR_RGB2BGR)))
        atomic_write(folder / "masks" / f"{name}.png", _encoded(".png", lesion.mask.astype(np.uint8) * 255))
        table.writerow([name, symmetry])
    atomic_write(folder / "labels.csv", rows.getvalue())
    return paths


class _Outline:
    """rho(theta) / R. Even cosines keep both axes, all cosines keep the first, a phase of 45 degrees keeps neither."""

    def __init__(self, rng: np.random.Generator, symmetry: int) -> None:
        self.orders = np.arange(2, 20)
        self.amplitudes = rng.uniform(-1, 1, 18) * 0.1 / self.orders
        self.amplitudes[1] = rng.choice([-1, 1]) * rng.uniform(0.13, 0.2)
        self.phases: NDArray[np.float64] = np.zeros(18)
        if symmetry == 2:
            self.amplitudes[1::2] = 0
        if symmetry == 0:
            self.phases = np.where(self.orders == 3, np.pi / 4, rng.uniform(-np.pi, np.pi, 18))

    def __call__(self, theta: NDArray[np.floating]) -> Floats:
        rho = np.ones(theta.shape, np.float32)
        for a, k, phi in zip(self.amplitudes, self.orders, self.phases, strict=True):
            rho += np.float32(a) * np.cos(np.float32(k) * theta.astype(np.float32) + np.float32(phi))
        return rho


def _lesion_coordinates(width: int, height: int, centre: tuple[float, float], angle: float) -> tuple[Floats, Floats]:
    """Pixel centres relative to the lesion's centre, along (u) and across (v) its first axis; two (H, W) float32."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x - centre[0], y - centre[1]
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return (x * cos + y * sin).astype(np.float32), (y * cos - x * sin).astype(np.float32)


def _pigment(rng: np.random.Generator, u: Floats, v: Floats, depth: Floats, symmetry: int) -> Floats:
    """(H, W) density: a plateau with a soft edge at `depth` 1, blotches, network, dots; mirrored like the outline."""
    blotches = _mirrored_noise(rng, u, v, cells=7, symmetry=symmetry)
    network = _mirrored_noise(rng, u, v, cells=44, symmetry=symmetry)
    dots = _mirrored_noise(rng, u, v, cells=30, symmetry=symmetry)
    softness = rng.uniform(0.025, 0.07)
    edge = 1 / (1 + np.exp(np.clip((depth - 1) / softness, -30, 30)))
    inner = rng.uniform(0.1, 0.5) * np.exp(-((depth / rng.uniform(0.4, 0.7)) ** 2))
    side = rng.uniform(0.2, 0.4) * u * (symmetry < 2) + rng.uniform(0.2, 0.4) * v * (symmetry < 1)
    density = rng.uniform(0.55, 0.85) + inner + 0.3 * blotches + 0.12 * np.abs(network) + 0.5 * (dots > 1.9) + side
    return (np.clip(density, 0.3, 2.2) * edge).astype(np.float32)


def _mirrored_noise(rng: np.random.Generator, u: Floats, v: Floats, *, cells: int, symmetry: int) -> Floats:
    """(H, W) smooth noise of unit variance over [-2, 2] squared of the lesion's coordinates."""
    noise = rng.standard_normal((cells, cells)).astype(np.float32)
    if symmetry >= 1:
        v = np.abs(v)
    if symmetry == 2:
        u = np.abs(u)
    scale = (cells - 1) / 4
    drawn = cv2.remap(noise, (u + 2) * scale, (v + 2) * scale, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(drawn, np.float32)


def _skin(rng: np.random.Generator, width: int, height: int, tone: float) -> Floats:
    """(H, W, 3) in [0, 1]: a base colour, slow changes of light and blood, and fine furrows."""
    light, dark = np.array([0.90, 0.72, 0.64]), np.array([0.42, 0.28, 0.21])
    base = (light * (1 - tone) + dark * tone) * rng.uniform([0.95, 0.95, 0.95], [1.04, 1.04, 1.06])
    glow = _field(rng, width, height, 4) * 0.03
    blood = _field(rng, width, height, 9) * 0.018
    furrows = np.abs(_field(rng, width, height, 60)) * 0.022
    shade = (1 + glow - furrows)[..., None] * (1 + blood[..., None] * np.array([0.3, -1, -0.8], np.float32))
    return np.clip(base * shade, 0, 1).astype(np.float32)


def _field(rng: np.random.Generator, width: int, height: int, cells: int) -> Floats:
    """(H, W) smooth noise with `cells` cells along the shorter side."""
    step = min(width, height) / cells
    noise = rng.standard_normal((max(2, round(height / step)), max(2, round(width / step)))).astype(np.float32)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def _draw_hairs(rng: np.random.Generator, image: Floats, hairs: int) -> NDArray[np.bool_]:
    """Draw curved dark hairs into `image`; (H, W) bool of the pixels they cover by half or more."""
    height, width = image.shape[:2]
    cover: Floats = np.zeros((height, width), np.float32)
    for _ in range(hairs):
        start, turn = rng.uniform(-0.1, 1.1, 2) * (width, height), rng.uniform(-np.pi, np.pi)
        length, bend = rng.uniform(0.4, 1.1) * min(width, height), rng.normal(0, 0.6)
        t = np.linspace(0, 1, 24)
        path = start + length * np.stack([t * np.cos(turn + bend * t), t * np.sin(turn + bend * t)], axis=1)
        stroke = np.zeros((height, width), np.uint8)
        thickness = max(1, round(min(width, height) * rng.uniform(0.003, 0.007)))
        cv2.polylines(stroke, [np.round(path * 16).astype(np.int32)], False, 255, thickness, cv2.LINE_AA, shift=4)
        cover = np.maximum(cover, stroke.astype(np.float32) / 255)
    colour = rng.uniform(0.4, 1) * np.array([0.26, 0.18, 0.13], np.float32)
    image += cover[..., None] * (colour - image) * 0.92
    return cover >= 0.5


def _draw_ruler(image: Floats) -> None:
    """Draw a scale of 40 divisions along the lower edge, each fifth longer."""
    height, width = image.shape[:2]
    for tick in range(1, 40):
        x, length = round(tick * width / 40), round(height * (0.035 if tick % 5 == 0 else 0.02))
        image[height - length :, x : x + max(1, width // 500)] = (0.12, 0.12, 0.13)


def _darken_corners(image: Floats, radius: float) -> None:
    """The round field of view of a dermatoscope; `radius` as a share of the frame's longer side."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    distance = np.hypot(x - width / 2, y - height / 2) / (radius * max(width, height))
    image *= (1 / (1 + np.exp(np.clip((distance - 1) * 90, -30, 30))))[..., None]


def _photographed(rng: np.random.Generator, image: Floats) -> NDArray[np.uint8]:
    """The camera: a slight blur and sensor noise."""
    soft = cv2.GaussianBlur(image, (0, 0), 0.6)
    noisy = soft + rng.standard_normal(image.shape).astype(np.float32) * 0.008
    return np.clip(noisy * 255 + 0.5, 0, 255).astype(np.uint8)


def _encoded(suffix: str, pixels: cv2.typing.MatLike) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()
