"""The INT8 twin of an exported network: static quantisation, calibrated on training images, its loss measured.

SparseSegNet, Sec. 4.4 (post-training INT8). Unsigned activations with signed weights, a scale for each channel of the
weights (U8S8), as quantise-dequantise pairs: signed activations, the tool's default, were slower than fp32 on x86.
Convolutions are quantised together with the ReLU, addition, concatenation and moves between them, so that the inside
of the network stays in bytes.

Two choices are made by measuring, not by rule, on images that calibration has not seen: whether the range of each
activation is the extreme over all images or the mean of the images' extremes, and whether the last convolution stays
in float. The first always stays in float: on three channels it is faster so, and more exact.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutis.errors import CutisError
from cutis.export import graph
from cutis.export.parity import Parity, compare_over, open_session, probabilities
from cutis.export.shuffle import shuffle_in_blocks
from cutis.files import atomic_write

if TYPE_CHECKING:
    import onnx
    import onnxruntime

__all__ = ["CANDIDATES", "Candidate", "Quantized", "Trial", "quantize"]

_OPERATORS = ["Add", "Concat", "Conv", "Relu", "Reshape", "Transpose"]


class Candidate(NamedTuple):
    """One way to quantise. `ranges`: 'extreme' over all images or 'mean' of each image's extremes.

    `float_last`: the last convolution (the head) keeps fp32 weights and input.
    """

    ranges: Literal["extreme", "mean"]
    float_last: bool

    def __str__(self) -> str:
        return f"{self.ranges} ranges, {'float' if self.float_last else 'int8'} head"


CANDIDATES = tuple(Candidate(ranges, last) for ranges in ("extreme", "mean") for last in (False, True))


class Trial(NamedTuple):
    """What one candidate loses against fp32 on the judging images, and the size of its file in bytes."""

    candidate: Candidate
    loss: Parity
    size: int


@dataclass(frozen=True)
class Quantized:
    """What was written: the candidate that loses least, and every trial that led to it."""

    path: Path
    chosen: Trial
    trials: tuple[Trial, ...]
    calibrated_on: int
    size: int
    sha256: str


def quantize(
    source: Path,
    path: Path,
    *,
    calibration: NDArray[np.uint8],
    judging: NDArray[np.uint8],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Quantized:
    """Quantise `source` (fp32, by `export_onnx`); write to `path` the candidate whose masks differ least from its own.

    `calibration`, `judging`: (N, S, S, 3) uint8, preprocessed training images, no image in both. `progress` is told
    images done and images in all.
    """
    import onnx

    threshold, size = _contract(source)
    for name, images in {"calibration": calibration, "judging": judging}.items():
        if len(images) == 0 or images.shape[1:] != (size, size, 3) or images.dtype != np.uint8:
            raise ValueError(
                f"{name} images must be (N >= 1, {size}, {size}, 3) uint8, got {images.shape} {images.dtype}"
            )
    reference = open_session(source)
    trials: list[tuple[Trial, bytes]] = []
    with tempfile.TemporaryDirectory() as folder:
        with _quiet():
            prepared = _prepare(onnx.load(source), Path(folder))
            extremes = _extremes(prepared, calibration, Path(folder), progress)
        for candidate in CANDIDATES:
            with _quiet():
                made = _quantize(prepared, candidate, extremes)
            finished = _finish(made, onnx.load(source))
            loss = _loss(finished, reference, judging, threshold)
            trials.append((Trial(candidate, loss, len(finished)), finished))
    chosen, content = min(trials, key=lambda pair: (pair[0].loss.pixels, pair[0].loss.mean))
    atomic_write(path, content)
    return Quantized(
        path, chosen, tuple(t for t, _ in trials), len(calibration), len(content), hashlib.sha256(content).hexdigest()
    )


def _contract(source: Path) -> tuple[float, int]:
    """The threshold and the side of the square that a file written by `export_onnx` states."""
    session = open_session(source)
    written = session.get_modelmeta().custom_metadata_map
    if written.get("cutis.precision") != "fp32":
        raise CutisError(
            f"{source} is not an fp32 network exported by cutis: quantise the file that `cutis export` wrote"
        )
    return float(written["cutis.threshold"]), session.get_inputs()[0].shape[1]


def _prepare(model: onnx.ModelProto, folder: Path) -> Path:
    """Fold and infer what the quantiser wants folded and inferred."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    given, prepared = folder / "given.onnx", folder / "prepared.onnx"
    graph.store_in_full(model)
    onnx.save(shuffle_in_blocks(model), given)
    quant_pre_process(given, prepared, skip_symbolic_shape=True)
    return prepared


def _extremes(
    prepared: Path, calibration: NDArray[np.uint8], folder: Path, progress: Callable[[int, int], None]
) -> dict[str, NDArray[np.float32]]:
    """Activation -> (images, 2): its least and greatest value in each image; one pass over the images serves all."""
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    augmented = folder / "augmented.onnx"
    create_calibrator(prepared, _OPERATORS, str(augmented), CalibrationMethod.MinMax)  # writes the file
    session = open_session(augmented)
    outputs = [output.name for output in session.get_outputs()]
    ends = ("_ReduceMin", "_ReduceMax")
    names = [name.removesuffix(ends[0]) for name in outputs if name.endswith(ends[0])]
    found = []
    for number, image in enumerate(calibration):
        values = dict(zip(outputs, session.run(None, {"image": image[None]}), strict=True))
        found.append([[values[name + end].item() for end in ends] for name in names])
        progress(number + 1, len(calibration))
    return dict(zip(names, np.array(found, np.float32).swapaxes(0, 1), strict=True))


def _quantize(prepared: Path, candidate: Candidate, extremes: dict[str, NDArray[np.float32]]) -> onnx.ModelProto:
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    ranges = {name: _range(values, candidate.ranges) for name, values in extremes.items()}
    quantizer = QDQQuantizer(
        onnx.load(prepared),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
        nodes_to_quantize=[],
        nodes_to_exclude=_kept_in_float(prepared, candidate),
        op_types_to_quantize=_OPERATORS,
        extra_options={},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    return quantizer.model.model


def _range(values: NDArray[np.float32], kind: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(images, 2) -> the least and the greatest value to represent, each (1,).

    >>> [float(end[0]) for end in _range(np.array([[-1, 2], [-3, 4]], np.float32), "extreme")]
    [-3.0, 4.0]
    >>> [float(end[0]) for end in _range(np.array([[-1, 2], [-3, 4]], np.float32), "mean")]
    [-2.0, 3.0]
    """
    if kind == "extreme":
        return values[:, 0].min(keepdims=True), values[:, 1].max(keepdims=True)
    return values[:, 0].mean(keepdims=True), values[:, 1].mean(keepdims=True)


def _kept_in_float(prepared: Path, candidate: Candidate) -> list[str]:
    """All nodes up to the first convolution and its ReLU, and the last convolution if the candidate says so."""
    import onnx

    model = onnx.load(prepared)
    nodes = list(model.graph.node)
    names = graph.convolutions(model)
    first = next(i for i, node in enumerate(nodes) if node.name == names[0])
    kept = [node.name for node in nodes[: first + 1]]
    kept += [node.name for node in graph.readers(model)[nodes[first].output[0]] if node.op_type == "Relu"]
    return kept + (names[-1:] if candidate.float_last else [])


def _finish(model: onnx.ModelProto, source: onnx.ModelProto) -> bytes:
    """The quantised graph without the tool's notes, with the metadata of `source` and its own precision; validated."""
    import onnx

    graph.strip(model)
    facts = {entry.key: entry.value for entry in source.metadata_props}
    onnx.helper.set_model_props(model, {**facts, "cutis.precision": "int8"})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def _loss(
    content: bytes, reference: onnxruntime.InferenceSession, judging: NDArray[np.uint8], threshold: float
) -> Parity:
    session = open_session(content)
    return compare_over(
        lambda images: probabilities(reference, images),
        lambda images: probabilities(session, images),
        judging,
        threshold,
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The tool prints and warns about what it always does; errors are exceptions and come through."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
