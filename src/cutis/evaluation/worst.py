"""The worst cases as a picture: what a mean hides, truth and prediction drawn on the images of lowest Dice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from cutis.data.samples import Sample
from cutis.evaluation.evaluate import Predictor, Row
from cutis.imaging.frame import letterbox
from cutis.imaging.read import read_image, read_mask

__all__ = ["PREDICTED", "TRUTH", "contact_sheet", "draw_case", "lowest", "worst_cases"]

TRUTH = (0, 220, 120)
"""RGB of the true outline: green."""
PREDICTED = (255, 60, 200)
"""RGB of the predicted outline: magenta."""

_CAPTION = 22


def lowest(rows: Iterable[Row], count: int) -> list[Row]:
    """The `count` rows of lowest Dice, lowest first; of equals, the one whose outline is further off."""
    return sorted(rows, key=lambda row: (row.measures["dice"], -row.measures["hd95_256"], row.id))[:count]


def worst_cases(
    rows: Iterable[Row], samples: Iterable[Sample], predict: Predictor, *, count: int, side: int, columns: int
) -> NDArray[np.uint8]:
    """Contact sheet of the `count` lowest rows of one data set; `predict` is asked again for these."""
    by_id = {sample.id: sample for sample in samples}
    tiles = []
    for row in lowest(rows, count):
        sample = by_id[row.id]
        assert sample.mask is not None  # it was measured
        image, truth = read_image(sample.image).pixels, read_mask(sample.mask)
        tiles.append(draw_case(image, truth, predict(sample), f"{row.id}  {row.measures['dice']:.3f}", side=side))
    return contact_sheet(tiles, columns=columns)


def draw_case(
    image: NDArray[np.uint8], truth: NDArray[np.bool_], pred: NDArray[np.bool_], caption: str, *, side: int
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 and two (H, W) masks -> (side + caption, side, 3): outlines on the letterboxed image."""
    square, _ = letterbox(image, side)
    square = square.copy()
    for mask, colour in ((truth, TRUTH), (pred, PREDICTED)):
        framed = letterbox(mask.astype(np.uint8) * 255, side)[0] >= 128
        lines, _ = cv2.findContours(framed.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(square, lines, -1, colour, 1, cv2.LINE_AA)
    strip = np.zeros((_CAPTION, side, 3), np.uint8)
    letters = caption.encode("ascii", "replace").decode()
    cv2.putText(strip, letters, (4, _CAPTION - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([square, strip])


def contact_sheet(tiles: Sequence[NDArray[np.uint8]], *, columns: int) -> NDArray[np.uint8]:
    """Tiles of one size -> one picture, `columns` wide, row by row; a last row that is not full is filled with black.

    >>> contact_sheet([np.full((4, 3, 3), n, np.uint8) for n in range(5)], columns=2).shape
    (12, 6, 3)
    """
    if not tiles:
        raise ValueError("a contact sheet needs at least one tile")
    columns = min(columns, len(tiles))
    filled = [*tiles, *[np.zeros_like(tiles[0])] * (-len(tiles) % columns)]
    return np.vstack([np.hstack(filled[start : start + columns]) for start in range(0, len(filled), columns)])
