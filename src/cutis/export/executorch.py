"""A trained segmenter as one ExecuTorch program (`.pte`) for phones: pixels in, probability out, computed by XNNPACK.

ExecuTorch cannot open ONNX files; it takes what torch.export traces. The contract is that of `onnx`: `image`, uint8 RGB
squares as `Preprocessing` gives them, normalised inside; `probability` out. The batch is one: a phone has one picture,
and a fixed shape is what XNNPACK plans its memory for.

A `.pte` has no place for metadata, so the program has two methods beside `forward`. `cutis` gives the metadata of the
ONNX file as one JSON text, sealed like it. `inputs` gives the tensors that `forward` takes, empty, to be filled: in
Python ExecuTorch 1.5 takes torch's tensors only, and cutis's analysis never imports torch.

INT8 is XNNPACK's own quantisation (PT2E): signed bytes, a scale for each channel of the weights, ranges seen on
training images. Pixels are laid out plane after plane before the first convolution, and the weights too: what torch
lays out channels-last, as the runs do, XNNPACK's partitioner refuses or cuts into pieces that do not run.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cutis.errors import CutisError, missing
from cutis.export.onnx import TOLERANCE, Deployable, Normalise, describe, probes, torch_probabilities
from cutis.files import UNSEALED, atomic_write, seal
from cutis.imaging.preprocessing import Preprocessing

__all__ = ["Program", "Written", "check_installed", "export_executorch", "quantize_executorch"]

_PROBES = 3  # pictures: noise, and one with a black bar


@dataclass(frozen=True)
class Written:
    """What was written. `difference`: the largest of a probability from torch's, in fp32; None for INT8."""

    path: Path
    size: int
    sha256: str
    difference: float | None = None


def check_installed() -> None:
    """Raise a `CutisError` that names what to install where ExecuTorch is not here."""
    if find_spec("executorch") is None:
        raise missing("--executorch needs", "executorch", "executorch")


def export_executorch(
    network: nn.Module, preprocessing: Preprocessing, path: Path, *, name: str, version: str, threshold: float
) -> Written:
    """Write a segmenter to `path` in fp32; raise a `CutisError` and write nothing if the program answers differently.

    `network` maps normalised (B, 3, S, S) float32 to logits (B, 1, S, S) and is not changed. The program maps (1, S, S,
    3) uint8 RGB to (1, 1, S, S) float32.
    """
    check_installed()
    network = copy.deepcopy(network).cpu().float().eval()
    facts = {**describe(preprocessing, task="segmentation", name=name, version=version), "threshold": repr(threshold)}
    content = _lowered(_traced(network, preprocessing), preprocessing, facts, path)
    images = probes(_PROBES, {"image": _empty(preprocessing)})["image"]
    found, expected = Program(content)(images), torch_probabilities(network, preprocessing, images)
    difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else float("nan")
    if not difference <= TOLERANCE["float32"]:  # also when it is not a number
        raise CutisError(
            f"{path.name} not written: its probabilities differ from torch's by {difference:.2g} "
            f"(allowed {TOLERANCE['float32']:g}): some layer was lowered wrong"
        )
    return _write(path, content, difference)


def quantize_executorch(
    network: nn.Module,
    preprocessing: Preprocessing,
    path: Path,
    *,
    name: str,
    version: str,
    threshold: float,
    calibration: NDArray[np.uint8],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Written:
    """Write its INT8 twin to `path`; what that loses is for the caller to measure, on images not in `calibration`.

    `calibration`: (N, S, S, 3) uint8, preprocessed training images. `progress` is told images done and images in all.
    """
    check_installed()
    quantise = _quantiser()
    network = copy.deepcopy(network).cpu().float().eval()
    facts = {**describe(preprocessing, task="segmentation", name=name, version=version), "threshold": repr(threshold)}
    with _quiet(), torch.no_grad():
        prepared, convert = quantise(_traced(network, preprocessing).module())
        for number, image in enumerate(calibration):
            prepared(torch.from_numpy(image[None]))
            progress(number + 1, len(calibration))
        traced = torch.export.export(convert(prepared), (_empty(preprocessing),))
    return _write(path, _lowered(traced, preprocessing, {**facts, "precision": "int8"}, path))


class Program:
    """The answers of a program's bytes: (N, S, S, 3) uint8 -> (N, 1, S, S) float32, one after another."""

    def __init__(self, content: bytes) -> None:
        from executorch.runtime import Runtime

        self._program = Runtime.get().load_program(content)
        self._forward = self._program.load_method("forward")

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.concatenate([self._forward.execute([torch.from_numpy(one[None])])[0].numpy() for one in images])


class _Deployed(nn.Module):
    """(1, S, S, 3) uint8 -> (1, 1, S, S) probability; planes before the network, which XNNPACK takes whole."""

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network, self.normalise = network, Normalise(preprocessing)

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.network(self.normalise(image).contiguous()))


class _Inputs(nn.Module):
    """() -> (1, S, S, 3) uint8: what `forward` takes, empty."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self) -> Tensor:
        return torch.zeros(1, self.size, self.size, 3, dtype=torch.uint8)


def _empty(preprocessing: Preprocessing) -> Tensor:
    return _Inputs(preprocessing.size)()


def _traced(network: nn.Module, preprocessing: Preprocessing) -> torch.export.ExportedProgram:
    deployed = network.deployed() if isinstance(network, Deployable) else network
    module = _Deployed(deployed, preprocessing).eval().to(memory_format=torch.contiguous_format)
    return torch.export.export(module, (_empty(preprocessing),))


def _lowered(
    traced: torch.export.ExportedProgram, preprocessing: Preprocessing, facts: Mapping[str, str], path: Path
) -> bytes:
    """The program's bytes, not sealed yet. `facts` are without their prefix `cutis.`."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    facts = {**facts, "inputs": "image", "outputs": "probability", "seal": UNSEALED}
    text = json.dumps({f"cutis.{key}": value for key, value in facts.items()})
    inputs = torch.export.export(_Inputs(preprocessing.size), ())
    try:
        with _quiet():
            lowered = to_edge_transform_and_lower(
                {"forward": traced, "inputs": inputs},
                partitioner={"forward": [XnnpackPartitioner()]},
                constant_methods={"cutis": text},
            )
            return bytes(lowered.to_executorch().buffer)
    except Exception as error:  # its passes raise bare exceptions
        cause = " ".join(str(error.__cause__ or error).split())[:200]
        raise CutisError(f"{path.name} not written: ExecuTorch cannot take this network: {cause}") from error


def _quantiser() -> Callable[[nn.Module], tuple[nn.Module, Callable[[nn.Module], nn.Module]]]:
    """A function from the traced module to one that watches ranges, and to what ends the watching."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer: Any = XNNPACKQuantizer()
    quantizer.set_global(get_symmetric_quantization_config(is_per_channel=True))
    return lambda module: (prepare_pt2e(module, quantizer), convert_pt2e)


def _write(path: Path, content: bytes, difference: float | None = None) -> Written:
    content = seal(content)
    atomic_write(path, content)
    return Written(path, len(content), hashlib.sha256(content).hexdigest(), difference)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Both libraries warn about their own internals; what goes wrong is an exception."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
