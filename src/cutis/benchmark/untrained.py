"""A network with random weights as the files that `cutis export` would write: what it costs does not need training.

INT8 is calibrated on drawn lesions. Neither random weights nor drawn lesions change what a forward pass takes. The
batch norms get the statistics of noise: without any, a deep network's random activations grow from layer to layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cutis.data.synthetic import draw_lesion
from cutis.errors import CutisError
from cutis.imaging.preprocessing import Preprocessing

if TYPE_CHECKING:
    from torch import nn

    from cutis.export.int8 import Candidate
    from cutis.recipes.config import NetworkSettings

__all__ = ["TOLERANCE", "make_network", "settle", "tolerance_of", "write_untrained"]

TOLERANCE = 2e-3
"""Largest difference of a probability between torch and ONNX: an untrained U-Net in torch is 5e-5 from float64."""
_TOLERANCES = {"slsnet": 0.05, "lraspp": 0.05, "enet": 1.0, "segnet": 1.0}
"""Of untrained networks, by their registered names, that turn rounding into more than that. On noise, an untrained
SLSNet in torch is 3e-4 from float64 and its file at 256 pixels 0.014 from torch; of LRASPP it is 0.012 and 0.016, at
single pixels (6e-6 in the mean). ENet and SegNet unpool: where two values of a window are almost equal, rounding
decides which is its maximum, and single pixels are up to 0.65 from torch (0.05% of all are over 0.01), so the largest
difference tells nothing. `cutis export` holds trained ones to its own."""
_CALIBRATED, _JUDGED = 8, 4
_NOISE = (4, 3, 128, 128)


def tolerance_of(network: str) -> float:
    """What the file of an untrained network of that registered name may differ by from torch.

    >>> tolerance_of("unet"), tolerance_of("lraspp")
    (0.002, 0.05)
    """
    return _TOLERANCES.get(network, TOLERANCE)


def make_network(settings: NetworkSettings) -> nn.Module:
    """The registered network with random weights, ready to be exported."""
    from cutis.recipes.folder import build

    try:
        network = build(settings, 0)
    except ValueError as error:
        raise CutisError(str(error)) from error
    settle(network)
    return network


def settle(network: nn.Module) -> None:
    """Give the batch norms the statistics that noise has there, and leave the network in evaluation.

    >>> from torch import nn
    >>> network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2))
    >>> settle(network)
    >>> bool((network[1].running_mean != 0).all()), network.training, network[1].momentum
    (True, False, 0.1)
    """
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # what this one batch has, and nothing of before
    if norms:
        with torch.no_grad():
            network.train()(torch.randn(_NOISE, generator=torch.Generator().manual_seed(0)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


def write_untrained(
    network: nn.Module,
    name: str,
    size: int,
    folder: Path,
    *,
    candidates: Sequence[Candidate] | None = None,
    tolerance: float = TOLERANCE,
) -> tuple[dict[str, Path], dict[str, str]]:
    """Write `<name>-<size>-fp32.onnx` and its INT8 twin; precision -> file, and precision -> why it cannot be had.

    `candidates`: the ways to quantise that are tried, all that suit the network unless given.
    """
    from cutis.export.int8 import quantize
    from cutis.export.onnx import export_onnx

    steps = Preprocessing(size=size, mean=(0.743, 0.556, 0.552), std=(0.152, 0.159, 0.174))
    files = {precision: folder / f"{name}-{size}-{precision}.onnx" for precision in ("fp32", "int8")}
    export_onnx(network, steps, files["fp32"], name=name, version="0", threshold=0.5, tolerance=tolerance)
    rng = np.random.default_rng(0)
    drawn = [draw_lesion(rng, width=320, height=240, symmetry=2, hairs=4).image for _ in range(_CALIBRATED + _JUDGED)]
    squares = np.stack([steps.apply(picture).square for picture in drawn])
    try:
        quantize(
            files["fp32"], files["int8"], calibration={"image": squares[:_CALIBRATED]},
            judging={"image": squares[_CALIBRATED:]}, candidates=candidates,
        )  # fmt: skip
    except Exception as error:  # the quantiser's and onnxruntime's own, which share no base class: the reason is told
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return {"fp32": files["fp32"]}, {"int8": reason}
    return files, {}
