"""Mask files: two values in any of their spellings, everything else refused by name; written whole."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from cutis.errors import CutisError
from cutis.imaging.read import read_mask, write_mask

LESION = np.zeros((32, 48), bool)
LESION[8:24, 12:30] = True


def encoded(array: np.ndarray, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        encoded(LESION.astype(np.uint8) * 255),
        encoded(LESION.astype(np.uint8)),
        encoded(LESION),
        encoded(LESION.astype(np.uint16)),
        encoded(LESION.astype(np.uint16) * 65535),
        encoded(np.repeat(LESION[..., None] * np.uint8(255), 3, axis=2)),
        encoded(np.repeat(LESION[..., None] * np.uint8(255), 3, axis=2), "BMP"),
        encoded(LESION.astype(np.uint8) * 255, "TIFF"),
        encoded(LESION.astype(np.uint8) * 255, "JPEG", quality=90),
    ],
    ids=["255", "1", "one-bit", "1 of 16 bits", "65535", "grey RGB", "BMP", "TIFF", "JPEG"],
)
def test_both_values_in_any_spelling(content):
    mask = read_mask(content)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, LESION)


def test_a_palette_mask_is_read_by_its_colours():
    image = Image.new("P", (48, 32))
    image.putdata((~LESION).ravel().astype(int).tolist())
    image.putpalette([255, 255, 255, 0, 0, 0])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    np.testing.assert_array_equal(read_mask(buffer.getvalue()), LESION)


@pytest.mark.parametrize(("value", "expected"), [(0, False), (1, True), (255, True)])
def test_empty_and_full_masks(value, expected):
    assert (read_mask(encoded(np.full((4, 5), value, np.uint8))) == expected).all()


@pytest.mark.parametrize(
    ("array", "kind", "expected"),
    [
        (np.uint8([[0, 128, 255]]), "PNG", "1 pixels between"),
        (np.uint8([[0, 1, 255]]), "PNG", "1 pixels between"),
        (np.uint8([[0, 7, 7]]), "PNG", "the value 7"),
        (np.uint8([[[0, 0, 0], [255, 0, 0]]]), "PNG", "colour image"),
        (np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1)), "JPEG", "pixels between"),
    ],
)
def test_a_third_value_is_refused_by_name(array, kind, expected, tmp_path):
    path = tmp_path / "маска"
    path.write_bytes(encoded(array, kind))
    with pytest.raises(CutisError) as caught:
        read_mask(path)
    assert "маска" in str(caught.value) and expected in str(caught.value)


@settings(max_examples=25, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_what_is_written_is_read_back(tmp_path_factory, mask):
    path = tmp_path_factory.mktemp("masks") / "deep" / "mask.png"
    write_mask(path, mask)
    np.testing.assert_array_equal(read_mask(path), mask)
    with Image.open(path) as image:
        assert image.mode == "L" and image.format == "PNG"
        assert set(np.unique(np.asarray(image))) <= {0, 255}


def test_where_nothing_can_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CutisError, match=r"file.*cannot be written"):
        write_mask(tmp_path / "file" / "mask.png", LESION)
