"""U, the yardstick of every time: one fp32 forward of a plain U-Net with a ResNet-34 encoder at 256x256, one thread.

segmentation-models-pytorch's U-Net with random weights, the network people begin with. Its ONNX file (98 MB) is made
once, in a process of its own, so that the process that measures has no torch in it, and is kept in a cache folder.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np

from cutis.errors import CutisError, missing
from cutis.export.parity import open_session
from cutis.files import atomic_path

__all__ = ["SIDE", "reference", "reference_file"]

SIDE = 256


def reference(cache: Path) -> Callable[[], object]:
    """A program that runs U once."""
    session = open_session(reference_file(cache))
    image = np.random.default_rng(0).standard_normal((1, 3, SIDE, SIDE), dtype=np.float32)
    feed = {session.get_inputs()[0].name: image}
    return lambda: session.run(None, feed)


def reference_file(cache: Path) -> Path:
    """U's ONNX file in `cache`, made if it is not there; needs cutis[train] to be made."""
    try:
        version = metadata.version("segmentation-models-pytorch")
    except metadata.PackageNotFoundError as error:
        raise missing("the yardstick of the benchmarks needs", "segmentation-models-pytorch") from error
    path = cache / f"unet-resnet34-{SIDE}-smp-{version}.onnx"
    if not path.is_file():
        made = subprocess.run([sys.executable, "-m", __name__, str(path)], capture_output=True, text=True, check=False)
        if made.returncode or not path.is_file():
            raise CutisError(f"the yardstick U-Net could not be exported: {made.stderr.strip()[-300:]}")
    return path


def _make(path: Path) -> None:
    import segmentation_models_pytorch as smp
    import torch

    torch.manual_seed(0)
    network = smp.Unet("resnet34", encoder_weights=None).eval()
    with atomic_path(path) as temporary:
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, SIDE, SIDE),),
            temporary,
            dynamo=True,
            input_names=["image"],
            external_data=False,
            verbose=False,
        )


if __name__ == "__main__":
    _make(Path(sys.argv[1]))
