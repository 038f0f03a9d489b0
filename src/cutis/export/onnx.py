"""A trained network as one ONNX file that holds everything about it: pixels in, probability out.

SparseSegNet, Sec. 4.4 (deployment as ONNX, opset 17). The file takes uint8 RGB squares as `Preprocessing` gives them
and normalises inside, so that no program that runs it can do so differently; what comes before is in its metadata.

Three things an exporter does wrong without a word are checked every time, and nothing is written when one is found:
the opset is read back from the graph, the graph is validated, and its answers are compared with torch's at two batch
sizes. Differs from the paper where opset 17 cannot be had: torch's exporter writes 18, which is lowered by onnx's own
converter and kept at 18 when the lowered graph is not valid.

Where the time goes (measured, one thread, 256x256): subtracting a mean per channel from channels-last pixels costs
3 ms, from rows of 3 x 256 values 0.1 ms; so rows it is, and the division by the standard deviation goes into the
weights of the first convolution, which is exact because zero padding stays zero.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cutis.errors import CutisError
from cutis.export import graph
from cutis.export.parity import open_session, probabilities
from cutis.files import atomic_write
from cutis.imaging.preprocessing import Preprocessing

if TYPE_CHECKING:
    import onnx

__all__ = ["TOLERANCE", "Exported", "Weights", "describe", "export_onnx", "torch_probabilities"]

Weights = Literal["float32", "float16"]

TOLERANCE: dict[Weights, float] = {"float32": 1e-4, "float16": 5e-3}
"""Largest difference of a probability allowed between torch and ONNX, by how the file stores the weights."""

_BATCHES = (1, 3)
_EXPORTER_OPSET = 18
_WANTED_OPSET = 17


@dataclass(frozen=True)
class Exported:
    """What was written. `difference`: the largest difference of a probability from torch's, over both batch sizes."""

    path: Path
    opset: int
    size: int
    sha256: str
    difference: float


def export_onnx(
    network: nn.Module,
    preprocessing: Preprocessing,
    path: Path,
    *,
    name: str,
    version: str,
    threshold: float,
    weights: Weights = "float32",
    task: Literal["segmentation"] = "segmentation",
) -> Exported:
    """Write `network` to `path`; raise a `CutisError` and write nothing if the graph answers differently.

    `network` maps normalised (B, 3, S, S) float32 to logits (B, 1, S, S) and is not changed. The file maps `image`,
    (N, S, S, 3) uint8 RGB, to `probability`, (N, 1, S, S) float32; N is free, S is fixed.
    With `weights` in float16 the file is half as large and still computes in float32 (`graph.store_in_half`).
    """
    network = copy.deepcopy(network).cpu().float().eval()
    model = graph.fold_scale_into_convolutions(_trace(network, preprocessing))
    graph.strip(model)
    if weights == "float16":
        graph.store_in_half(model)
    describe(model, preprocessing, name=name, version=version, precision="fp32", threshold=threshold, task=task)
    content, opset = _lowest_valid(model)
    difference = _check_against_torch(network, preprocessing, content, path, TOLERANCE[weights])
    atomic_write(path, content)
    return Exported(path, opset, len(content), hashlib.sha256(content).hexdigest(), difference)


def describe(
    model: onnx.ModelProto,
    preprocessing: Preprocessing,
    *,
    name: str,
    version: str,
    precision: Literal["fp32", "int8"],
    threshold: float,
    task: Literal["segmentation"],
) -> None:
    """Write the `cutis.*` metadata that the analysis reads, format 1, in place of any metadata there was."""
    import onnx

    facts = {
        "format": "1",
        "task": task,
        "name": name,
        "version": version,
        "precision": precision,
        "preprocessing": preprocessing.model_dump_json(),
        "threshold": repr(float(threshold)),
    }
    onnx.helper.set_model_props(model, {f"cutis.{key}": value for key, value in facts.items()})


class _Deployed(nn.Module):
    """(N, S, S, 3) uint8 -> (N, 1, S, S) probability: the network with its normalisation before and a sigmoid after."""

    mean: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.size = preprocessing.size
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.register_buffer("mean", (255 * mean).repeat(self.size))
        self.register_buffer("scale", (1 / (255 * std)).reshape(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        rows = image.reshape(-1, self.size, 3 * self.size).to(torch.float32) - self.mean
        planes = rows.reshape(-1, self.size, self.size, 3).permute(0, 3, 1, 2)
        return torch.sigmoid(self.network(planes * self.scale))


def torch_probabilities(
    network: nn.Module, preprocessing: Preprocessing, images: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """(N, S, S, 3) uint8 -> (N, 1, S, S): torch's own answer, normalised as in training; what parity is measured to."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    with torch.no_grad():
        return torch.sigmoid(network((pixels - mean) / std)).numpy()


def _trace(network: nn.Module, preprocessing: Preprocessing) -> onnx.ModelProto:
    size = preprocessing.size
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=4096)
    try:
        with _quiet():
            program = torch.onnx.export(
                _Deployed(network, preprocessing).eval(),
                (example,),
                dynamo=True,
                opset_version=_EXPORTER_OPSET,
                dynamic_shapes={"image": {0: batch}},
                input_names=["image"],
                output_names=["probability"],
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        cause = " ".join(str(error.__cause__ or error).split())[:200]
        raise CutisError(f"{type(network).__name__} cannot be exported with a free batch size: {cause}") from error
    assert program is not None
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns about its own internals; what matters here is checked afterwards and raised."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _lowest_valid(model: onnx.ModelProto) -> tuple[bytes, int]:
    """The graph at opset 17 if it is valid there, else as it is; the opset is what the graph itself then says."""
    import onnx

    lowered = graph.lower(model, _WANTED_OPSET)
    chosen = model if lowered is None else lowered
    onnx.checker.check_model(chosen, full_check=True)
    return chosen.SerializeToString(), graph.opset(chosen)


def _check_against_torch(
    network: nn.Module, preprocessing: Preprocessing, content: bytes, path: Path, tolerance: float
) -> float:
    """The largest difference of a probability over both batch sizes; over the tolerance it is a `CutisError`."""
    session = open_session(content)
    differences = []
    for batch in _BATCHES:
        images = _probes(batch, preprocessing.size)
        expected = torch_probabilities(network, preprocessing, images)
        try:
            found = probabilities(session, images)
            difference = float(np.abs(found - expected).max())
        except Exception as error:  # onnxruntime's exceptions share no base class; shapes that do not meet: ValueError
            cause = " ".join(str(error).split())[:200]
            raise CutisError(
                f"{path.name} not written: the graph does not run with a batch of {batch}: {cause}"
            ) from error
        if found.shape != expected.shape or not difference <= tolerance:  # also when it is not a number
            raise CutisError(
                f"{path.name} not written: with a batch of {batch} its probabilities differ from torch's by "
                f"{difference:.2g} (allowed {tolerance:g}): some layer was exported wrong"
            )
        differences.append(difference)
    return max(differences)


def _probes(batch: int, size: int) -> NDArray[np.uint8]:
    """(batch, size, size, 3) uint8: noise, and black bars as a letterbox leaves them."""
    images = np.random.default_rng(batch).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    images[-1, : size // 8] = 0
    return images
