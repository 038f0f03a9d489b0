"""Which number tells bad masks from good ones: python benchmarks/label_confidence.py --data .data

What `cutis label` sorts by, and what else it might: of at most 120 images a data set, evenly spread over the test part
of our split (of Kvasir-SEG, whose polyps the bundled segmenter never saw, over all), the mask as `cutis label` makes
it, its Dice with the truth, and for each candidate the rank correlation with that Dice, its mean distance from it, and
the share of the worst tenth that the first fifth of the list holds. Writes them as JSON. Minutes on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from cutis.analysis.pipeline import predict_mask
from cutis.analysis.runtime import load_model
from cutis.data.catalogue import open_dataset
from cutis.data.samples import Sample
from cutis.data.splits import OURS, split
from cutis.evaluation.tables import markdown_table, write_json
from cutis.imaging.read import read_mask
from cutis.label.flips import Flips, sureness
from cutis.metrics.overlap import count, dice

SETS = ("isic2018_task1", "isic2017", "ham10000", "ph2")
UNKNOWN = "kvasir_seg"
SHOWN = ("isic2018_task1", "ham10000", UNKNOWN)


def measure(samples: list[Sample], model: Any) -> dict[str, NDArray[np.float64]]:
    """Name -> (N,): Dice of one look and of four, and the candidates of the four looks' mask."""
    rows: dict[str, list[float]] = {}
    for sample in samples:
        assert sample.mask is not None
        truth, looks = read_mask(sample.mask), Flips(model)
        mask = predict_mask(sample.image, looks, least_confidence=0)  # type: ignore[arg-type]
        height, width = mask.shape
        sure, mean = sureness(looks.seen, looks.threshold, width, height), looks.seen.mean(0)
        inside = mean > looks.threshold
        values = {
            "dice of one look": float(dice(count(predict_mask(sample.image, model, least_confidence=0), truth))),
            "dice": float(dice(count(mask, truth))),
            "mean probability inside": float(mean[inside].mean()) if mask.any() else 0.0,
            "expected Dice": sure.expected if mask.any() else 0.0,
            "agreement of flips": sure.agreement if mask.any() else 0.0,
            "expected Dice x agreement": sure.product if mask.any() else 0.0,
        }
        for name, value in values.items():
            rows.setdefault(name, []).append(value)
    return {name: np.array(column) for name, column in rows.items()}


def judged(confidence: NDArray[np.float64], fit: NDArray[np.float64]) -> dict[str, float]:
    """How well `confidence` (N,) stands for the Dice `fit` (N,)."""
    tenth = max(1, len(fit) // 10)
    worst, first = (
        set(np.argsort(values, kind="stable")[:n].tolist()) for values, n in ((fit, tenth), (confidence, 2 * tenth))
    )
    return {
        "rank_correlation": float(spearmanr(confidence, fit).statistic),
        "mean_distance": float(np.abs(confidence - fit).mean()),
        "worst_tenth_in_first_fifth": len(worst & first) / tenth,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=120, help="of each data set, at most")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/label-confidence.json"))
    options = parser.parse_args()
    model = load_model()
    test = split([s for name in SETS for s in open_dataset(options.data, name) if s.mask], **OURS)["test"]
    unknown = [sample for sample in open_dataset(options.data, UNKNOWN) if sample.mask]
    found: dict[str, Any] = {}
    lines = []
    for name in SHOWN:
        own = unknown if name == UNKNOWN else [sample for sample in test if sample.dataset == name]
        picked = np.linspace(0, len(own) - 1, min(options.images, len(own))).round().astype(int)
        rows = measure([own[index] for index in picked], model)
        one, fit = rows.pop("dice of one look"), rows.pop("dice")
        measures = {candidate: judged(values, fit) for candidate, values in rows.items()}
        found[name] = {
            "images": len(fit), "dice_one_look": one.mean(), "dice_four_looks": fit.mean(), "candidates": measures,
        }  # fmt: skip
        for candidate, values in measures.items():
            lines.append([candidate, name, *(f"{value:.3f}" for value in values.values())])
        print(f"{name}: {len(fit)} images, Dice {one.mean():.4f} by one look, {fit.mean():.4f} by four", flush=True)
    print(markdown_table(["", "data set", "rank correlation", "mean distance", "worst tenth in first fifth"], lines))
    info = model.info
    command = f"python benchmarks/label_confidence.py --data .data --images {options.images}"
    write_json(options.output, {"command": command, "model": [info.name, info.version, info.sha256], "sets": found})


if __name__ == "__main__":
    main()
