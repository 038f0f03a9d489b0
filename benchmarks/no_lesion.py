"""How well "no lesion" tells plain skin from lesions: python benchmarks/no_lesion.py MODEL --data .data --part test

For every image of a part of our split: the confidence of the mask found on the whole picture, which holds a lesion,
and on the largest rectangle of skin beside the lesion (a tenth of the lesion's size away from it, at least a quarter of
the picture's shorter side wide and high), which holds none. Prints for a row of limits which share of both would be
called "no lesion", with the limit that `cutis analyze` uses marked, and writes them as JSON. The limit is chosen on the
part "validation", its price reported on "test". Images with an empty mask are left out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cutis.analysis.pipeline import MIN_AREA_SHARE, MIN_CONFIDENCE
from cutis.analysis.runtime import Segmenter, load_model
from cutis.data.catalogue import open_dataset
from cutis.data.splits import OURS, split
from cutis.files import atomic_write
from cutis.imaging.postprocess import clean_mask
from cutis.imaging.read import read_image, read_mask

SETS = ("isic2018_task1", "isic2017", "ham10000", "ph2")
LIMITS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)


def skin_beside(picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8] | None:
    """The largest of the four rectangles between the lesion's box, made larger, and the frame; None if all are thin."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    away_y, away_x = (int(0.1 * (line[-1] - line[0] + 1)) + 1 for line in (rows, columns))
    top, bottom = max(0, rows[0] - away_y), min(height, rows[-1] + 1 + away_y)
    left, right = max(0, columns[0] - away_x), min(width, columns[-1] + 1 + away_x)
    pieces = [picture[:top], picture[bottom:], picture[:, :left], picture[:, right:]]
    wide = [piece for piece in pieces if min(piece.shape[:2]) >= min(height, width) / 4]
    return max(wide, key=lambda piece: piece.shape[0] * piece.shape[1]) if wide else None


def confidence(picture: NDArray[np.uint8], model: Segmenter) -> float:
    """Mean probability inside the cleaned mask, as `cutis analyze` has it; 0 where nothing is marked."""
    square, frame = model.preprocessing.apply(np.ascontiguousarray(picture))
    probability = frame.crop(model.probability(square)[0])
    mask = clean_mask(probability > model.threshold)
    return float(probability[mask].mean()) if mask.mean() >= MIN_AREA_SHARE else 0.0


def measure(model: Segmenter, data: Path, part: str) -> dict[str, list[float]]:
    """'lesion' and 'skin': the confidences, one a picture."""
    samples = [sample for name in SETS for sample in open_dataset(data, name) if sample.mask]
    found: dict[str, list[float]] = {"lesion": [], "skin": []}
    for sample in split(samples, **OURS)[part]:
        assert sample.mask is not None
        picture, mask = read_image(sample.image).pixels, read_mask(sample.mask)
        if not mask.any():
            continue
        found["lesion"].append(confidence(picture, model))
        skin = skin_beside(picture, mask)
        if skin is not None:
            found["skin"].append(confidence(skin, model))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, default=Path(".data"))
    parser.add_argument("--part", choices=["validation", "test"], required=True)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    model = load_model(given.model)
    found = {what: np.array(values) for what, values in measure(model, given.data, given.part).items()}
    for limit in sorted({*LIMITS, MIN_CONFIDENCE}):
        shares = ", ".join(f"{np.mean(values < limit):.1%} of {what}" for what, values in found.items())
        print(f"below {limit:.2f}: {shares}{'   <- used' if limit == MIN_CONFIDENCE else ''}")
    report = {
        "command": f"python benchmarks/no_lesion.py {given.model} --data {given.data} --part {given.part}",
        "model": model.info.model_dump(),
        "limit": MIN_CONFIDENCE,
        "lesions": len(found["lesion"]),
        "lesions_called_none": int((found["lesion"] < MIN_CONFIDENCE).sum()),
        "skin_pieces": len(found["skin"]),
        "skin_called_none": int((found["skin"] < MIN_CONFIDENCE).sum()),
        "skin_unmarked": int((found["skin"] == 0).sum()),
    }
    path = given.output / f"no-lesion-{given.part}.json"
    atomic_write(path, json.dumps(report, indent=1) + "\n")
    print(f"{len(found['lesion'])} lesions, {len(found['skin'])} pieces of skin; written: {path}")


if __name__ == "__main__":
    main()
