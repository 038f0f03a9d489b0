"""What in the picture may mislead: blur, exposure, hair, dark corners, a lesion that leaves the frame; in plain words.

Measured on the picture at the network's size (256 pixels), so that the same thresholds hold for every photo. They
were set by looking at 1,660 dermoscopic images (500 each of ISIC 2018, ISIC 2017 and HAM10000, 160 of PH2), the
distributions below and the pictures at their ends: a warning is for the worst 1-2 in a hundred of those, not for
every second picture."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from cutis.imaging.hair import hair_mask
from cutis.records import Quality

__all__ = ["Look", "judge"]

# Percentiles 0.5, 1, 5, 50: ISIC 2018 15.6, 18.5, 30, 98; ISIC 2017 7.6, 11.6, 17, 75; PH2 114, 124, 186, 495. Under
# 10 all are visibly blurred. HAM10000 at 200x150 pixels has 3.8, 4.2, 5.4, 13.7: enlarged, hence the warning of its
# own for those.
BLURRED = 10.0
DARK = 0.35  # mean grey in the field of view; percentiles 0.5, 1, 5: 0.31-0.43, 0.34-0.45, 0.43-0.51 by data set
CLIPPED_BRIGHT = 0.05  # share at 250 or more; percentiles 95, 98, 99: 0-0.08, 0-0.17, 0-0.20
CLIPPED_DARK = 0.05  # share at 20 or less outside the lesion; of whole pictures, percentiles 98, 99: 0-0.02, 0-0.04
# Share under hair; percentiles 50, 95, 99: 0-0.02, 0.11-0.16, 0.22-0.36. From 0.14 on every picture looked at was
# hairy; below 0.1 it may be a coarse pigment network.
HAIRY = 0.12
CORNERS = 0.10  # percentiles 95, 98, 99: 0-0.01, 0.01-0.08, 0.02-0.10
VIGNETTE = 0.4  # a corner is dark below this share of the picture's median grey value (and below 40 of 255 in any case)
MASK_KERNEL = np.ones((7, 7), np.uint8)  # hair is thinner than this, a vignette is not


class Look(NamedTuple):
    """The picture as the judges of quality see it.

    `picture`: (h, w, 3) uint8 RGB at the network's size, without padding. `lesion`: (h, w) bool, or None.
    `longest_side`: of the photo itself. `hair`: share of the picture that was under hair, where that
    has been removed.
    """

    picture: NDArray[np.uint8]
    lesion: NDArray[np.bool_] | None
    longest_side: int
    touches_frame: bool
    hair: float | None = None


def judge(look: Look) -> Quality:
    """Measure and put into words.

    >>> grey = np.full((192, 256, 3), 150, np.uint8)
    >>> judge(Look(grey, None, 1024, False)).warnings
    ['The picture looks blurred: its edges are soft, so border and colours are less certain.']
    """
    grey = cv2.cvtColor(look.picture, cv2.COLOR_RGB2GRAY)
    hidden = _dark_corners(grey, look.lesion)
    seen = ~hidden
    skin = seen if look.lesion is None else seen & ~look.lesion
    cover = look.hair if look.hair is not None else _share(hair_mask(look.picture))
    measures = {
        "sharpness": float(cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))[1][0, 0]) ** 2,
        "brightness": cv2.mean(grey, seen.view(np.uint8))[0] / 255,
        "overexposed": _share((grey >= 250) & seen, seen),
        "underexposed": _share((grey <= 20) & skin, skin),
        "hair_cover": cover,
        "dark_corners": _share(hidden),
    }
    measures = {name: round(value, 4) for name, value in measures.items()}
    return Quality(**measures, warnings=_warnings(measures, look))


def _warnings(measures: dict[str, float], look: Look) -> list[str]:
    small = look.longest_side < max(look.picture.shape[:2])
    hair = "Hair covers much of the picture: try again with hair removal."
    if look.hair is not None:
        hair = "Much hair was painted over: what lay under it is not known."
    found = {
        f"The picture is small ({look.longest_side} pixels on its longest side): details are missing.": small,
        "The picture looks blurred: its edges are soft, so border and colours are less certain.": (
            not small and measures["sharpness"] < BLURRED
        ),
        "The picture is dark: colours are less certain.": (
            measures["brightness"] < DARK or measures["underexposed"] > CLIPPED_DARK
        ),
        "Parts of the picture are overexposed: detail and colour are lost there.": measures["overexposed"]
        > CLIPPED_BRIGHT,
        hair: measures["hair_cover"] > HAIRY,
        "Dark corners hide part of the picture.": measures["dark_corners"] > CORNERS,
        "The lesion touches the edge of the picture: its shape and size are those of the part that is seen.": (
            look.touches_frame
        ),
    }
    return [words for words, applies in found.items() if applies]


def _dark_corners(grey: NDArray, lesion: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """(h, w) -> (h, w) bool: dark areas that reach a corner of the picture; neither hair nor the lesion."""
    limit = max(40.0, VIGNETTE * float(np.median(grey[::4, ::4])))
    dark = grey < limit
    if lesion is not None:
        dark &= ~lesion
    if not dark.any():
        return dark
    padded = cv2.copyMakeBorder(dark.view(np.uint8), 7, 7, 7, 7, cv2.BORDER_REPLICATE)  # a thin dark corner stays
    opened = cv2.morphologyEx(padded, cv2.MORPH_OPEN, MASK_KERNEL)[7:-7, 7:-7]
    count, found = cv2.connectedComponents(np.ascontiguousarray(opened), connectivity=4)
    labels: NDArray[np.int32] = np.asarray(found, np.int32)
    in_corner = np.zeros(count, np.bool_)
    in_corner[labels[:: max(1, len(labels) - 1), :: max(1, labels.shape[1] - 1)]] = True
    in_corner[0] = False  # what is not dark
    return np.asarray(np.take(in_corner, labels), np.bool_)


def _share(mask: NDArray[np.bool_], of: NDArray[np.bool_] | None = None) -> float:
    """How much of all pixels, or of those in `of`, which holds it, is in `mask`; 0 of none."""
    whole = mask.size if of is None else cv2.countNonZero(of.view(np.uint8))
    return cv2.countNonZero(mask.view(np.uint8)) / max(1, whole)
