"""A network with random weights as the files that `cutis export` would write: what it costs does not need training.

INT8 is calibrated on drawn lesions. Neither random weights nor drawn lesions change what a forward pass takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cutis.data.synthetic import draw_lesion
from cutis.errors import CutisError
from cutis.imaging.preprocessing import Preprocessing

if TYPE_CHECKING:
    from torch import nn

    from cutis.recipes.config import NetworkSettings

__all__ = ["make_network", "write_untrained"]

_CALIBRATED, _JUDGED = 8, 4


def make_network(settings: NetworkSettings) -> nn.Module:
    """The registered network with random weights, ready to be exported."""
    from cutis.recipes.folder import build

    try:
        return build(settings, 0).eval()
    except ValueError as error:
        raise CutisError(str(error)) from error


def write_untrained(network: nn.Module, name: str, size: int, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Write `<name>-<size>-fp32.onnx` and its INT8 twin; precision -> file, and precision -> why it cannot be had."""
    from cutis.export.int8 import quantize
    from cutis.export.onnx import export_onnx

    steps = Preprocessing(size=size, mean=(0.743, 0.556, 0.552), std=(0.152, 0.159, 0.174))
    files = {precision: folder / f"{name}-{size}-{precision}.onnx" for precision in ("fp32", "int8")}
    export_onnx(network, steps, files["fp32"], name=name, version="0", threshold=0.5)
    rng = np.random.default_rng(0)
    drawn = [draw_lesion(rng, width=320, height=240, symmetry=2, hairs=4).image for _ in range(_CALIBRATED + _JUDGED)]
    squares = np.stack([steps.apply(picture).square for picture in drawn])
    try:
        quantize(
            files["fp32"], files["int8"], calibration={"image": squares[:_CALIBRATED]},
            judging={"image": squares[_CALIBRATED:]},
        )  # fmt: skip
    except Exception as error:  # the quantiser's and onnxruntime's own, which share no base class: the reason is told
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return {"fp32": files["fp32"]}, {"int8": reason}
    return files, {}
