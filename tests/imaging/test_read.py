"""Reading images: every format and pixel type against Pillow's own decoding, orientation, scaled decoding."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from cutis.errors import CutisError
from cutis.imaging.read import read_image


def photo(width: int = 56, height: int = 40, seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return Image.fromarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WebP"])
def test_lossless_formats_give_the_pixels_that_were_saved(kind):
    picture = read_image(encoded(photo(), kind, **({"lossless": True} if kind == "WebP" else {})))
    np.testing.assert_array_equal(picture.pixels, np.asarray(photo()))
    assert (picture.width, picture.height, picture.format) == (56, 40, kind)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 2, "quality": 30}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_equals_pillow(mode, options):
    content = encoded(photo().convert(mode), "JPEG", **options)
    expected = Image.open(io.BytesIO(content)).convert("RGB")
    picture = read_image(content)
    np.testing.assert_array_equal(picture.pixels, np.asarray(expected))
    assert picture.format == "JPEG"


def test_jpeg_whose_components_are_rgb_keeps_its_colours():
    content = encoded(photo(), "JPEG", keep_rgb=True, quality=100)
    np.testing.assert_allclose(read_image(content).pixels, np.asarray(photo()), atol=4)


def test_jpeg_with_something_after_its_end_is_read():
    content = encoded(photo(), "JPEG")
    picture = read_image(content + b"trailer of a phone")
    np.testing.assert_array_equal(picture.pixels, read_image(content).pixels)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA"])
def test_other_modes_become_rgb(mode):
    image = photo().convert(mode)
    np.testing.assert_array_equal(read_image(encoded(image, "PNG")).pixels, np.asarray(image.convert("RGB")))


def test_16_bits_keep_the_high_byte():
    values = np.random.default_rng(0).integers(0, 65536, (9, 7), np.uint16)
    colour = np.random.default_rng(1).integers(0, 65536, (9, 7, 3), np.uint16)
    for content in (encoded(Image.fromarray(values), "PNG"), encoded(Image.fromarray(values), "TIFF")):
        np.testing.assert_array_equal(read_image(content).pixels, np.repeat((values >> 8)[..., None], 3, axis=2))
    for ending in (".png", ".tiff"):
        content = cv2.imencode(ending, colour[..., ::-1])[1].tobytes()
        np.testing.assert_array_equal(read_image(content).pixels, colour >> 8)


def test_floating_point_pixels_are_refused():
    with pytest.raises(CutisError, match="floating-point"):
        read_image(encoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WebP"])
def test_transparency_lies_over_white(kind):
    rgba = np.full((4, 4, 4), (10, 20, 30, 255), np.uint8)
    rgba[0, 0, 3], rgba[0, 1, 3] = 0, 51
    pixels = read_image(encoded(Image.fromarray(rgba), kind, **({"lossless": True} if kind == "WebP" else {}))).pixels
    assert pixels[0, 0].tolist() == [255, 255, 255]
    np.testing.assert_allclose(pixels[0, 1], 0.2 * np.array([10, 20, 30]) + 0.8 * 255, atol=1)
    assert pixels[1, 1].tolist() == [10, 20, 30]


def test_a_transparent_colour_of_a_palette_is_white():
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.putpixel((1, 0), 1)
    assert read_image(encoded(image, "PNG", transparency=0)).pixels.tolist() == [[[255, 255, 255], [0, 0, 200]]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WebP"])
def test_orientation_is_applied(kind, orientation):
    content = encoded(photo(), kind, exif=turned(orientation))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    picture = read_image(content)
    np.testing.assert_array_equal(picture.pixels, expected)
    assert (picture.height, picture.width) == expected.shape[:2]


def test_orientation_is_applied_to_a_scaled_jpeg_too():
    picture = read_image(encoded(photo(640, 400), "JPEG", exif=turned(6)), min_side=100)
    assert picture.pixels.shape == (160, 100, 3) and (picture.width, picture.height) == (400, 640)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_exif_is_ignored():
    content = encoded(photo(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12")
    np.testing.assert_array_equal(read_image(content).pixels, read_image(encoded(photo(), "JPEG")).pixels)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 500), st.sampled_from(["RGB", "CMYK"]))
def test_a_scaled_jpeg_never_falls_under_min_side(width, height, min_side, mode):
    content = encoded(Image.new(mode, (width, height)), "JPEG")
    picture = read_image(content, min_side=min_side)
    assert (picture.width, picture.height) == (width, height)
    longest, full = max(picture.pixels.shape[:2]), max(width, height)
    allowed = [k for k in (1, 2, 4, 8) if k == 1 or (-(-full // k) >= min_side and min(width, height) >= 8)]
    factor = max(allowed)
    assert picture.pixels.shape[:2] == (-(-height // factor), -(-width // factor))
    assert longest >= min(min_side, full)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_scaled_decoding_shows_the_same_picture(factor):
    content = encoded(photo(100, 80).resize((800, 640), Image.Resampling.BICUBIC), "JPEG", quality=95)
    small = read_image(content, min_side=800 // factor).pixels
    shrunk = cv2.resize(read_image(content).pixels, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert small.shape == (640 // factor, 800 // factor, 3)
    assert np.abs(small.astype(int) - shrunk).mean() < 2


def test_only_jpeg_is_scaled():
    assert read_image(encoded(photo(640, 400), "PNG"), min_side=100).pixels.shape == (400, 640, 3)


def spaced(kind: str, dpi: float) -> float | None:
    return read_image(encoded(photo(), kind, dpi=(dpi, dpi))).spacing_mm


@pytest.mark.parametrize("dpi", [72, 96, 150, 300, 600, 1200, 2400, 50000])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "BMP"])
def test_a_print_setting_is_no_scale(kind, dpi):
    assert spaced(kind, dpi) is None


def test_a_scale_that_someone_measured_is_taken_from_png_and_tiff_only():
    assert spaced("PNG", 1270) == pytest.approx(0.02, rel=1e-3)  # 50 pixels a millimetre
    assert spaced("TIFF", 1847.3) == pytest.approx(25.4 / 1847.3, rel=1e-3)
    assert spaced("JPEG", 1270) is None
    assert read_image(encoded(photo(), "PNG", dpi=(1270, 1000))).spacing_mm is None
    assert read_image(encoded(photo(), "PNG")).spacing_mm is None


@pytest.mark.parametrize(("unit", "expected"), [("mm", 0.025), ("micron", 2.5e-5), ("cm", 0.25), ("pixel", None)])
def test_imagej_calibration_is_a_scale(unit, expected):
    described = f"ImageJ=1.54f\nunit={unit}\nloop=false\n"
    content = encoded(photo(), "TIFF", description=described, x_resolution=40.0, y_resolution=40.0, resolution_unit=1)
    assert read_image(content).spacing_mm == (pytest.approx(expected) if expected else None)
