"""The pictures that go with a record: mask, overlay and both maps; how the record names them, and their PNG bytes."""

from __future__ import annotations

from collections.abc import Callable

from cutis.analysis.overlay import draw_outline, encode_png
from cutis.analysis.pipeline import Outcome
from cutis.imaging.read import encode_mask
from cutis.records import Analysis

__all__ = ["PICTURES", "encode_pictures", "name_pictures"]

PICTURES = ("mask", "overlay", "symmetry", "class")


def name_pictures(analysis: Analysis, name_of: Callable[[str], str]) -> Analysis:
    """The record with what each of its `PICTURES` is called: a path, a link, a data URL."""
    changed: dict[str, object] = {}
    if analysis.lesion:
        names = {"mask": name_of("mask"), "overlay": name_of("overlay")}
        changed["lesion"] = analysis.lesion.model_copy(update=names)
    if analysis.symmetry:
        changed["symmetry"] = analysis.symmetry.model_copy(update={"activation_map": name_of("symmetry")})
    if analysis.diagnosis:
        changed["diagnosis"] = analysis.diagnosis.model_copy(update={"activation_map": name_of("class")})
    return analysis.model_copy(update=changed)


def encode_pictures(outcome: Outcome) -> dict[str, bytes]:
    """Those of `PICTURES` that the record can name, as PNG: the same pixels as in the files of `cutis analyze`."""
    if outcome.analysis.lesion is None:
        return {}
    maps = {"symmetry": outcome.symmetry_map, "class": outcome.class_map}
    return {
        "mask": encode_mask(outcome.mask),
        "overlay": encode_png(draw_outline(outcome.picture, outcome.mask)),
        **{name: encode_png(laid) for name, laid in maps.items() if laid is not None},
    }
