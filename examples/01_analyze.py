"""Analyse an image from Python: is there a lesion, how large, how even, and what may mislead.

    python examples/01_analyze.py                  # a drawn lesion
    python examples/01_analyze.py photo.jpg 0.02   # your own, with its scale in millimetres a pixel

Research use only, never a diagnosis.
"""

from __future__ import annotations

import sys

import numpy as np

from cutis import analyze
from cutis.analysis import predict_mask
from cutis.data.synthetic import draw_lesion

if len(sys.argv) > 1:
    source = sys.argv[1]
    scale = float(sys.argv[2]) if len(sys.argv) > 2 else None
else:
    source = draw_lesion(np.random.default_rng(7), width=1024, height=768, symmetry=1).image
    scale = 0.02

analysis = analyze(source, mm_per_pixel=scale)
print(f"{analysis.file}: {analysis.status}")

if analysis.lesion:
    lesion = analysis.lesion
    size = f"{lesion.diameter_mm:.1f} mm" if lesion.diameter_mm else f"{lesion.diameter:.0f} pixels"
    print(f"  {size} across, {lesion.area_share:.0%} of the picture, certainty {lesion.confidence:.0%}")
    print(f"  asymmetric about {lesion.asymmetry.asymmetric_axes} of 2 axes")
    print(f"  border irregularity {lesion.border.irregularity:.2f} (1 is a disc)")
    print("  colours: " + ", ".join(f"{colour.name} {colour.share:.0%}" for colour in lesion.colours))
for warning in analysis.quality.warnings if analysis.quality else ():
    print(f"  {warning}")
print(f"  {sum(analysis.times_ms.values()):.0f} ms by {analysis.model.name} {analysis.model.version}")

mask = predict_mask(source)  # (height, width) bool: the same pixels as the masks of `cutis analyze`
print(f"  mask of {mask.shape[1]} x {mask.shape[0]} pixels, {mask.sum()} of them lesion")
