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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cutis.errors import CutisError
from cutis.export import graph
from cutis.export.parity import Answers, Feeds, answers, open_session
from cutis.files import UNSEALED, atomic_write, seal
from cutis.imaging.preprocessing import Preprocessing

if TYPE_CHECKING:
    import onnx

__all__ = [
    "TOLERANCE",
    "Deployable",
    "Exported",
    "Form",
    "Normalise",
    "Weights",
    "describe",
    "export_onnx",
    "probes",
    "standardised",
    "torch_probabilities",
    "write_form",
]

Weights = Literal["float32", "float16"]

TOLERANCE: dict[Weights, float] = {"float32": 1e-4, "float16": 5e-3}
"""Largest difference of a probability allowed between torch and ONNX, by how the file stores the weights."""

_BATCHES = (1, 3)
_EXPORTER_OPSET = 18
_WANTED_OPSET = 17


@dataclass(frozen=True)
class Exported:
    """What was written. `differences`: the largest from torch's answers, by what differs, over both batch sizes."""

    path: Path
    opset: int
    size: int
    sha256: str
    differences: Mapping[str, float]

    @property
    def difference(self) -> float:
        """Of a probability."""
        return self.differences["probabilities"]


@dataclass(frozen=True)
class Form:
    """What a file computes, and how that is checked.

    `module`: what is traced, from `inputs` (name -> an example with a batch of 2) to the values named in `outputs`.
    `truth`: torch's own answers to the same inputs. `differences`: two answers -> the largest difference by what
    differs; `allowed`: how large each may be. `probes`: rows -> inputs to compare with, where noise would be none.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    truth: Callable[[Feeds], Answers]
    differences: Callable[[Answers, Answers], dict[str, float]]
    allowed: Mapping[str, float]
    probes: Callable[[int], Feeds] | None = None


@runtime_checkable
class Deployable(Protocol):
    """A network that has parts which a file does not need."""

    def deployed(self) -> nn.Module:
        """A copy without them that answers the same in evaluation; the file is checked against the network itself."""
        ...


def export_onnx(
    network: nn.Module,
    preprocessing: Preprocessing,
    path: Path,
    *,
    name: str,
    version: str,
    threshold: float,
    weights: Weights = "float32",
    tolerance: float | None = None,
) -> Exported:
    """Write a segmenter to `path`; raise a `CutisError` and write nothing if the graph answers differently.

    `network` maps normalised (B, 3, S, S) float32 to logits (B, 1, S, S) and is not changed. The file maps `image`,
    (N, S, S, 3) uint8 RGB, to `probability`, (N, 1, S, S) float32; N is free, S is fixed.
    With `weights` in float16 the file is half as large and still computes in float32 (`graph.store_in_half`).
    `tolerance`, where given, stands in for `TOLERANCE`'s: random weights make of fp32's last digit what they like.
    """
    network = copy.deepcopy(network).cpu().float().eval()
    size = preprocessing.size

    def truth(feeds: Feeds) -> Answers:
        return {"probability": torch_probabilities(network, preprocessing, feeds["image"])}

    traced = network.deployed() if isinstance(network, Deployable) else network
    form = Form(
        _Deployed(traced, preprocessing).eval(),
        {"image": torch.zeros(2, size, size, 3, dtype=torch.uint8)},
        ("probability",),
        truth,
        lambda found, wanted: {"probabilities": float(np.abs(found["probability"] - wanted["probability"]).max())},
        {"probabilities": tolerance or TOLERANCE[weights]},
    )
    facts = describe(preprocessing, task="segmentation", name=name, version=version)
    return write_form(form, path, weights=weights, facts={**facts, "threshold": repr(float(threshold))})


def write_form(form: Form, path: Path, *, weights: Weights, facts: Mapping[str, str]) -> Exported:
    """Trace, simplify, describe with `facts` (without their prefix `cutis.`), check against torch, write."""
    import onnx

    model = graph.fold_scale_into_convolutions(_trace(form))
    graph.strip(model)
    if weights == "float16":
        graph.store_in_half(model)
    onnx.helper.set_model_props(model, {f"cutis.{key}": value for key, value in {**facts, "seal": UNSEALED}.items()})
    content, opset = _lowest_valid(model)
    differences = _check_against_torch(form, content, path)
    content = seal(content)
    atomic_write(path, content)
    return Exported(path, opset, len(content), hashlib.sha256(content).hexdigest(), differences)


def describe(preprocessing: Preprocessing, *, task: str, name: str, version: str) -> dict[str, str]:
    """The `cutis.*` metadata, format 1, that every fp32 file has; a task adds its own."""
    return {
        "format": "1",
        "task": task,
        "name": name,
        "version": version,
        "precision": "fp32",
        "preprocessing": preprocessing.model_dump_json(),
    }


class Normalise(nn.Module):
    """(N, S, S, 3) uint8 -> (N, 3, S, S) float32, normalised; the form of it that costs nothing in the file."""

    mean: Tensor
    scale: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.size = preprocessing.size
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.register_buffer("mean", (255 * mean).repeat(self.size))
        self.register_buffer("scale", (1 / (255 * std)).reshape(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        rows = image.reshape(-1, self.size, 3 * self.size).to(torch.float32) - self.mean
        planes = rows.reshape(-1, self.size, self.size, 3).permute(0, 3, 1, 2)
        return planes * self.scale


class _Deployed(nn.Module):
    """(N, S, S, 3) uint8 -> (N, 1, S, S) probability: the network with its normalisation before and a sigmoid after."""

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network, self.normalise = network, Normalise(preprocessing)

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.network(self.normalise(image)))


def standardised(images: NDArray[np.uint8], preprocessing: Preprocessing) -> Tensor:
    """(N, S, S, 3) uint8 -> (N, 3, S, S) float32, normalised as in training: what the file's own way is checked by."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    return (pixels - mean) / std


def torch_probabilities(
    network: nn.Module, preprocessing: Preprocessing, images: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """(N, S, S, 3) uint8 -> (N, 1, S, S): torch's own answer; what parity is measured to."""
    with torch.no_grad():
        return torch.sigmoid(network(standardised(images, preprocessing))).numpy()


def _trace(form: Form) -> onnx.ModelProto:
    batch = torch.export.Dim("batch", min=1, max=4096)
    try:
        with _quiet():
            program = torch.onnx.export(
                form.module,
                tuple(form.inputs.values()),
                dynamo=True,
                opset_version=_EXPORTER_OPSET,
                dynamic_shapes=tuple({0: batch} for _ in form.inputs),
                input_names=list(form.inputs),
                output_names=list(form.outputs),
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        cause = " ".join(str(error.__cause__ or error).split())[:200]
        named = type(getattr(form.module, "network", form.module)).__name__
        raise CutisError(f"{named} cannot be exported with a free batch size: {cause}") from error
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


def _check_against_torch(form: Form, content: bytes, path: Path) -> dict[str, float]:
    """The largest difference of each kind over both batch sizes; over what is allowed it is a `CutisError`."""
    session = open_session(content)
    largest: dict[str, float] = {}
    for batch in _BATCHES:
        feeds = form.probes(batch) if form.probes else probes(batch, form.inputs)
        expected = form.truth(feeds)
        try:
            found = answers(session, feeds)
            differences = form.differences(found, expected)
        except Exception as error:  # onnxruntime's exceptions share no base class; shapes that do not meet: ValueError
            cause = " ".join(str(error).split())[:200]
            raise CutisError(
                f"{path.name} not written: the graph does not run with a batch of {batch}: {cause}"
            ) from error
        shapes = all(found[name].shape == expected[name].shape for name in form.outputs)
        for what, difference in differences.items():
            if not shapes or not difference <= form.allowed[what]:  # also when it is not a number
                raise CutisError(
                    f"{path.name} not written: with a batch of {batch} its {what} differ from torch's by "
                    f"{difference:.2g} (allowed {form.allowed[what]:g}): some layer was exported wrong"
                )
            largest[what] = max(difference, largest.get(what, 0.0))
    return largest


def probes(batch: int, inputs: Mapping[str, Tensor]) -> dict[str, NDArray]:
    """uint8 images: noise, and black bars as a letterbox leaves them; for other inputs, values in [0, 1]."""
    rng = np.random.default_rng(batch)
    feeds: dict[str, NDArray] = {}
    for name, example in inputs.items():
        shape = (batch, *example.shape[1:])
        if example.dtype == torch.uint8:
            feeds[name] = rng.integers(0, 256, shape, dtype=np.uint8)
            feeds[name][-1, : shape[1] // 8] = 0
        else:
            feeds[name] = rng.random(shape, dtype=np.float32)
    return feeds
