"""Read photos and masks from files nobody vouches for.

A file is judged by its content, never by its name; its pixels are counted from the header before any is decoded; a
file that ends too early is refused instead of shown half grey. The bytes are read here and then decoded, so that names
in any script work on Windows too.

An ordinary JPEG that ends with its end marker goes through OpenCV (the same libjpeg-turbo and the same pixels as
Pillow's; 1.2 times faster on 1024x768, up to 2 times on 24 megapixels); everything else, including a JPEG that does not
end well, goes through Pillow, which refuses what is cut off. Damage in the middle of a JPEG is seen by neither.
"""

from __future__ import annotations

import io
import stat
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from cutis.errors import CutisError
from cutis.files import atomic_write
from cutis.imaging.find import find_images
from cutis.imaging.formats import GIVE, reason, shown, sniff
from cutis.imaging.spacing import spacing_mm

__all__ = ["MAX_PIXELS", "Picture", "encode_mask", "find_images", "read_image", "read_mask", "write_mask"]

MAX_PIXELS = 64_000_000  # the largest ordinary camera gives 61 megapixels; decoded, this is 192 MB
_OPENERS: dict[str, Callable[[io.BytesIO], Image.Image]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
    "WebP": WebPImageFile,
}
# What decoders raise on a bad file. Pillow's plugins are called directly: `Image.open` warns on stderr about sizes.
_BAD_DATA = (ValueError, SyntaxError, EOFError, LookupError, TypeError, OverflowError, struct.error, zlib.error)
_BAD_FILE = (OSError, MemoryError, cv2.error, Image.DecompressionBombError, *_BAD_DATA)
# A mask is runs of equal values: looked for as such, 24 megapixels take 0.1 s and not 0.35, and a quarter of the bytes.
_RUNS = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
if hasattr(cv2, "IMWRITE_PNG_FILTER"):  # older OpenCV has no choice
    _RUNS += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]
_TURN = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}


class Picture(NamedTuple):
    """An image as a person sees it.

    `pixels`: (h, w, 3) uint8 RGB; smaller than `height` x `width` where a JPEG was decoded scaled. `width`, `height`:
    full size after EXIF orientation. `spacing_mm`: millimetres a full-size pixel, where the file honestly says so.
    `format`: JPEG, PNG, BMP, TIFF or WebP.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    spacing_mm: float | None
    format: str


def read_image(source: Path | bytes, *, max_pixels: int = MAX_PIXELS, min_side: int | None = None) -> Picture:
    """Decode an image file (or its bytes) to RGB; raise a `CutisError` of one line for anything else.

    16-bit values keep their high byte; transparency is laid over white, as a viewer shows it; CMYK, palette and grey
    become RGB; of a TIFF with smaller pages (thumbnails, pyramid) the first page counts. With `min_side`, a JPEG much
    larger than that is decoded at 1/2, 1/4 or 1/8, its longest side never under `min_side`.

    >>> buffer = io.BytesIO()
    >>> Image.new("RGB", (640, 480), (200, 150, 120)).save(buffer, "JPEG")
    >>> picture = read_image(buffer.getvalue(), min_side=256)
    >>> picture.pixels.shape, picture.width, picture.height
    ((240, 320, 3), 640, 480)
    >>> read_image(b"no image")
    Traceback (most recent call last):
    cutis.errors.CutisError: the image is not an image file: give a JPEG, PNG, BMP, TIFF or WebP file
    """
    name, content = _content(source, max_pixels)
    image, kind = _open(content, name, max_pixels)
    try:
        spacing = spacing_mm(image, kind)
        width, height = image.size
        if kind == "JPEG":
            reduce = _reduction(width, height, min_side)
            orientation = _orientation(image)
            pixels = _jpeg(image, content, reduce)
        else:
            image.load()
            width, height = image.size  # Pillow turns a TIFF itself, when it loads it
            orientation = _orientation(image)
            pixels = _rgb(image)
    except _BAD_FILE as error:
        raise CutisError(f"{name} cannot be decoded ({reason(error)}): save or copy it again") from error
    if orientation in (5, 6, 7, 8):
        width, height = height, width
    return Picture(_turned(pixels, orientation), width, height, spacing, kind)


def read_mask(path: Path | bytes) -> NDArray[np.bool_]:
    """Read a mask file as (H, W) bool: 0 is outside; 255 or 1 (65535 in 16 bits) is the lesion, whichever it uses.

    A JPEG cannot keep two values exactly: there a mask is cut at 128 if at most 1% of its pixels lie between 64 and
    191. Any other mask with a third value is a `CutisError` that names it.

    >>> buffer = io.BytesIO()
    >>> Image.fromarray(np.uint8([[0, 1], [0, 0]])).save(buffer, "PNG")
    >>> read_mask(buffer.getvalue()).tolist()
    [[False, True], [False, False]]
    """
    name, content = _content(path, MAX_PIXELS)
    image, kind = _open(content, name, MAX_PIXELS)
    try:
        image.load()
        values = _turned(_one_channel(image), _orientation(image))
    except _BAD_FILE as error:
        raise CutisError(f"{name} cannot be decoded ({reason(error)}): save or copy it again") from error
    highest = values.max()
    mask: NDArray[np.bool_] = values >= 128 if kind == "JPEG" else values > 0
    if kind == "JPEG":
        third = int(np.count_nonzero((values >= 64) & (values < 192)))
        binary = third <= values.size // 100
    else:
        third = int(np.count_nonzero(mask & (values != highest)))
        binary = third == 0 and highest in (0, 1, 255, 65535)
    if not binary:
        what = f"{third} pixels between black and white" if third else f"the value {highest}"
        raise CutisError(f"{name} is not a mask of two values ({what}): save it with 0 outside and 255 in the lesion")
    return mask


def encode_mask(mask: NDArray[np.bool_]) -> bytes:
    """(H, W) bool -> an 8-bit PNG of 0 and 255.

    >>> read_mask(encode_mask(np.array([[True, False]]))).tolist()
    [[True, False]]
    """
    done, png = cv2.imencode(".png", mask.view(np.uint8) * np.uint8(255), _RUNS)
    if not done:
        raise CutisError(f"a mask of shape {mask.shape} cannot be written as PNG: choose a smaller picture")
    return png.tobytes()


def write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    """Write an (H, W) bool mask as an 8-bit PNG of 0 and 255, whole or not at all."""
    try:
        atomic_write(path, encode_mask(mask))
    except OSError as error:
        raise CutisError(
            f"{shown(path)} cannot be written ({reason(error)}): check the folder and free space"
        ) from error


def _content(source: Path | bytes, max_pixels: int) -> tuple[str, bytes]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        name, content = "the image", bytes(source)
    else:
        path = Path(source)
        name = shown(path)
        try:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode) or not stat.S_ISREG(status.st_mode):
                what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
                raise CutisError(f"{name} is {what}: {GIVE}")
            if status.st_size > 8 * max_pixels + 2**24:  # 16-bit RGBA, uncompressed, and its metadata
                raise CutisError(f"{name} is a file of {status.st_size / 1e6:.0f} MB: save it smaller")
            content = path.read_bytes()
        except FileNotFoundError:
            raise CutisError(f"{name} does not exist: check the name") from None
        except (OSError, ValueError) as error:
            raise CutisError(f"{name} cannot be read ({reason(error)}): check its name and permissions") from error
    if not content:
        raise CutisError(f"{name} is empty: copy it again")
    return name, content


def _open(content: bytes, name: str, max_pixels: int) -> tuple[Image.Image, str]:
    """Only the header is decoded here."""
    kind = sniff(content[:12])
    if kind is None:
        raise CutisError(f"{name} is not an image file: {GIVE}")
    if kind == "GIF":
        raise CutisError(f"{name} is a GIF (256 colours, often animated): {GIVE}")
    try:
        image = _OPENERS[kind](io.BytesIO(content))
    except _BAD_FILE as error:
        raise CutisError(f"{name} is a damaged {kind} file ({reason(error)}): save or copy it again") from error
    width, height = image.size
    if width * height > max_pixels:
        size = f"{width} x {height} pixels, over the limit of {max_pixels / 1e6:g} megapixels"
        raise CutisError(f"{name} has {size}: save it smaller")
    try:
        pages = _pages(image, kind)
    except _BAD_FILE as error:
        raise CutisError(f"{name} is a damaged {kind} file ({reason(error)}): save or copy it again") from error
    if pages > 1:
        raise CutisError(f"{name} holds {pages} pictures (animated, or several pages): save each as a file of its own")
    return image, kind


def _pages(image: Image.Image, kind: str) -> int:
    """Pictures of the first one's size; smaller ones in a TIFF are its thumbnails or pyramid."""
    count = getattr(image, "n_frames", 1) if kind != "JPEG" else 1
    if kind != "TIFF" or count == 1:
        return count
    first, same = image.size, 1
    for page in range(1, min(count, 64)):
        image.seek(page)
        same += image.size >= first
    image.seek(0)
    return same


def _reduction(width: int, height: int, min_side: int | None) -> int:
    """The largest scale of the decoder that leaves the longest side at least `min_side`."""
    if min_side is None or min(width, height) < 8:
        return 1
    return next((k for k in (8, 4, 2) if -(-max(width, height) // k) >= min_side), 1)


def _jpeg(image: Image.Image, content: bytes, reduce: int) -> NDArray[np.uint8]:
    if image.mode in ("RGB", "L") and content.endswith(b"\xff\xd9"):
        flag = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}.get(
            reduce, cv2.IMREAD_REDUCED_COLOR_8
        )
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
        if pixels is not None:
            return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
    if reduce > 1:
        image.draft(image.mode, (image.width // reduce, image.height // reduce))
    return _rgb(image)


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Any Pillow mode -> (h, w, 3) uint8; transparency over white."""
    image.load()
    if image.mode.startswith("I"):
        return np.asarray(cv2.cvtColor(_high_byte(image), cv2.COLOR_GRAY2RGB), np.uint8)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return np.asarray(Image.alpha_composite(white, rgba).convert("RGB"))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _high_byte(image: Image.Image) -> NDArray[np.uint8]:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its pixels are 32-bit integers")
    return (values >> 8).astype(np.uint8)


def _one_channel(image: Image.Image) -> NDArray:
    """(H, W) values as stored; a colour image must be grey, or it is no mask."""
    if image.mode in ("1", "L") or image.mode.startswith("I"):
        return np.asarray(image).astype(np.int32) if image.mode == "I" else np.asarray(image)
    rgb = np.asarray(image.convert("RGB"))
    if (rgb[..., :1] != rgb[..., 1:]).any():
        raise ValueError("it is a colour image, not a mask")
    return rgb[..., 0]


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(0x0112, 1)
    except _BAD_FILE:  # damaged EXIF says nothing; the picture is still good
        return 1
    return value if value in range(1, 9) else 1


def _turned(pixels: NDArray, orientation: int) -> NDArray:
    """Undo an EXIF orientation (1..8)."""
    if orientation in (2, 4):
        return cv2.flip(pixels, 1 if orientation == 2 else 0)
    if orientation in (5, 7):
        return cv2.flip(cv2.transpose(pixels), -1) if orientation == 7 else cv2.transpose(pixels)
    return cv2.rotate(pixels, _TURN[orientation]) if orientation in _TURN else pixels
