"""U, the yardstick of every time: one fp32 forward of a plain U-Net with a ResNet-34 encoder at 256x256, one thread.

segmentation-models-pytorch's U-Net with random weights, the network people begin with. It is the peer `unet-resnet34`
(`peers`): exported once, by a process of its own, into a cache folder, and run as our own networks are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cutis.analysis.runtime import load_model
from cutis.benchmark.forward import forward
from cutis.benchmark.peer_files import peer_files
from cutis.errors import CutisError

__all__ = ["SIDE", "YARDSTICK", "reference", "reference_file"]

SIDE = 256
YARDSTICK = "unet-resnet34"


def reference(cache: Path, *, threads: int = 1) -> Callable[[], object]:
    """A program that runs U once."""
    return forward(load_model(reference_file(cache), threads=threads))


def reference_file(cache: Path) -> Path:
    """U's ONNX file in `cache`, made if it is not there; needs cutis[train] to be made."""
    made = peer_files(YARDSTICK, SIDE, cache)
    if "fp32" not in made.files:
        raise CutisError(f"the yardstick U-Net could not be exported: {made.reasons['fp32']}")
    return made.files["fp32"]
