"""Every bad file gives a `CutisError` of one line that names it; nothing else ever leaves the reader."""

from __future__ import annotations

import io
import os
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cutis.errors import CutisError
from cutis.imaging.read import Picture, read_image, read_mask

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


WHOLE = {
    "baseline.jpg": encoded(PHOTO, "JPEG"),
    "progressive.jpg": encoded(PHOTO, "JPEG", progressive=True),
    "cmyk.jpg": encoded(PHOTO.convert("CMYK"), "JPEG"),
    "rgb.png": encoded(PHOTO, "PNG"),
    "palette.png": encoded(PHOTO.convert("P"), "PNG"),
    "rgb.bmp": encoded(PHOTO, "BMP"),
    "plain.tiff": encoded(PHOTO, "TIFF"),
    "lzw.tiff": encoded(PHOTO, "TIFF", compression="tiff_lzw"),
    "lossy.webp": encoded(PHOTO, "WebP"),
}


def refusal(path: Path, read=read_image) -> str:
    with pytest.raises(CutisError) as caught:
        read(path)
    message = str(caught.value)
    assert message.splitlines() == [message] and ": " in message
    return message


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", WHOLE)
def test_whole_files_are_read(name, tmp_path):
    (tmp_path / name).write_bytes(WHOLE[name])
    assert read_image(tmp_path / name).pixels.shape == (40, 56, 3)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's about TIFF tags
@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("name", WHOLE)
def test_truncated_files_are_refused(name, share, tmp_path):
    path = tmp_path / name
    path.write_bytes(WHOLE[name][: int(len(WHOLE[name]) * share)])
    assert str(path) in refusal(path)


@pytest.mark.parametrize("name", ["baseline.jpg", "progressive.jpg", "cmyk.jpg"])
def test_a_jpeg_cut_anywhere_is_refused_or_whole(name):
    whole = read_image(WHOLE[name]).pixels
    for length in range(4, len(WHOLE[name]) - 2, 7):
        try:
            picture = read_image(WHOLE[name][:length])
        except CutisError:
            continue
        np.testing.assert_array_equal(picture.pixels, whole)


BAD = [
    (b"", "is empty"),
    (b"lesion,label\n1,nevus\n", "is not an image file"),
    (encoded(PHOTO, "GIF", save_all=True, append_images=[PHOTO.rotate(90)]), "is a GIF"),
    (encoded(PHOTO, "PNG", save_all=True, append_images=[PHOTO.rotate(180)]), "holds 2 pictures"),
    (encoded(PHOTO, "WebP", save_all=True, append_images=[PHOTO.rotate(180)]), "holds 2 pictures"),
    (encoded(PHOTO, "TIFF", save_all=True, append_images=[PHOTO, PHOTO]), "holds 3 pictures"),
    (png_header(20_000, 20_000), "20000 x 20000 pixels, over the limit of 64 megapixels"),
    (png_header(56, 40), "cannot be decoded"),
    (b"BM" + bytes(200), "damaged BMP"),
    (b"\xff\xd8\xff\xd9", "damaged JPEG"),
]
"""Contents that are no picture, and what is said of them; tests/serve sends them too."""


@pytest.mark.parametrize(("content", "expected"), BAD, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("name", ["lesion.jpg", "الآفة 病变.png", "поражение"])
def test_bad_content_is_named(content, expected, name, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    message = refusal(path)
    assert name in message and expected in message
    assert name in refusal(path, read_mask)


def test_a_bomb_is_refused_without_warnings_and_before_its_pixels_are_decoded(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(20_000, 8_000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "20000 x 8000" in refusal(path)
    with pytest.raises(CutisError, match=r"over the limit of 0\.001 megapixels"):
        read_image(WHOLE["baseline.jpg"], max_pixels=1000)


def test_a_wide_image_within_the_limit_is_read():
    assert read_image(encoded(Image.new("L", (20_000, 3)), "PNG")).pixels.shape == (3, 20_000, 3)


def test_a_tiff_with_a_thumbnail_is_one_picture():
    content = encoded(PHOTO, "TIFF", save_all=True, append_images=[PHOTO.resize((28, 20))])
    np.testing.assert_array_equal(read_image(content).pixels, np.asarray(PHOTO))


def test_a_folder_and_a_missing_file_are_named(tmp_path):
    assert "is a folder" in refusal(tmp_path)
    assert "does not exist" in refusal(tmp_path / "none.png")
    assert "cannot be read" in refusal(Path("a\0b.png")) or sys.version_info < (3, 11)


def test_names_in_other_scripts_are_read(tmp_path):
    path = tmp_path / "皮膚の病変 №1 ümlaut.jpg"
    path.write_bytes(WHOLE["baseline.jpg"])
    assert read_image(path).width == 56


@pytest.mark.skipif(os.name == "nt", reason="such names and files do not exist on Windows")
def test_strange_names_and_files_still_give_one_line(tmp_path):
    (tmp_path / "two\nlines.png").write_bytes(b"text")
    assert "two lines.png" in refusal(tmp_path / "two\nlines.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert "not a regular file" in refusal(tmp_path / "pipe.png")
    if sys.platform == "linux":
        undecodable = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
        undecodable.write_bytes(b"text")
        refusal(undecodable).encode()


def test_bytes_have_a_name_too():
    with pytest.raises(CutisError, match=r"^the image is not an image file"):
        read_image(b"text")


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12),
    st.floats(0.2, 1),
    st.sampled_from([None, 8, 20]),
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_random_damage_gives_a_picture_or_one_line(name, changes, kept, min_side):
    content = bytearray(WHOLE[name])
    for place, value in changes:
        content[int(place**2 * len(content))] = value  # squared: headers are hit more often
    content = content[: int(len(content) * kept)]
    outcome: Picture | CutisError
    try:
        outcome = read_image(bytes(content), min_side=min_side)
    except CutisError as error:
        outcome = error
    if isinstance(outcome, CutisError):
        assert len(str(outcome).splitlines()) == 1
    else:
        assert outcome.pixels.dtype == np.uint8 and outcome.pixels.ndim == 3
