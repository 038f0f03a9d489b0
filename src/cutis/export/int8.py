"""The INT8 twin of an exported network: static quantisation, calibrated on training images, its loss measured.

SparseSegNet, Sec. 4.4 (post-training INT8). Unsigned activations with signed weights, a scale for each channel of the
weights (U8S8), as quantise-dequantise pairs: signed activations, the tool's default, were slower than fp32 on x86.
Convolutions are quantised together with the ReLU, addition, concatenation and moves between them, so that the inside
of the network stays in bytes.

The choices are made by measuring, not by rule, on images that calibration has not seen: whether the range of each
activation is the extreme over all images or the mean of the images' extremes, whether the last convolution stays in
float, in classifiers how many of the first convolutions do (three of MobileNetV2's 53 carried two thirds of its loss),
and, in networks that have them, whether swish and squeeze-excitation (SE-LCN's EfficientNets) do. The first
convolution stays in float: on three channels it is faster so, and more exact. A maximum right after it, and the
convolution of that, stay in float too: onnxruntime moves the rounding before the maximum, and that one, in bytes and
channels-first, took half of SqueezeNet's time. So does all that comes after the last convolution: a classifier's head,
its map and its unlikeness.

Then the best way is tried with changes: signed activations; one range for all that a concatenation joins, which is a
copy then, where each value else is looked up anew; the first convolution on the picture's own bytes (`byte_stem`). A
change is taken if it loses less and takes no longer here, or saves enough time for what it loses more; each trial's
time stands beside what it loses.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cutis.errors import CutisError
from cutis.export import graph
from cutis.export.agreement import compare_classifiers
from cutis.export.byte_stem import byte_stem
from cutis.export.parity import Feeds, compare_over, open_session, probabilities
from cutis.export.shuffle import shuffle_in_blocks
from cutis.files import UNSEALED, atomic_write, seal

if TYPE_CHECKING:
    import onnx
    import onnxruntime

__all__ = ["CANDIDATES", "Candidate", "Quantized", "Trial", "quantize"]

_OPERATORS = ["Add", "Clip", "Concat", "Conv", "MaxPool", "Relu", "Reshape", "Slice", "Transpose"]
_TURNS = 7  # of each candidate, to tell its time
_HEAD = 16  # output channels: a last convolution with more is no head
_BOUNDS = ("Clip", "Relu")
_WORTH, _AT_MOST = 3.0, 1.3
"""For each hundredth of the time that a change saves it may cost so many hundredths more of what is lost, and never
more than so many times it. What is lost is small: of the bundled segmenter, 0.15% of the pixels."""
_GATES = ["GlobalAveragePool", "HardSigmoid", "HardSwish", "Mul", "Sigmoid"]


class Candidate(NamedTuple):
    """One way to quantise. `ranges`: 'extreme' over all images or 'mean' of each image's extremes.

    `float_last`: the last convolution, if it is a head, keeps fp32 weights. `float_gates`: so do sigmoids and
    products. None where the network has no such thing. `float_first`: so many of the first convolutions stay in float.
    `signed`: activations are signed bytes. `alike`: what a concatenation joins has one range. `bytes_first`: the first
    convolution is on the picture's bytes.
    """

    ranges: Literal["extreme", "mean"]
    float_last: bool | None
    float_gates: bool | None = None
    float_first: int = 1
    signed: bool = False
    alike: bool = False
    bytes_first: bool = False

    def __str__(self) -> str:
        choices = {"head": self.float_last, "gates": self.float_gates}
        said = [f"{'float' if value else 'int8'} {name}" for name, value in choices.items() if value is not None]
        first = [] if self.float_first == 1 else [f"first {self.float_first} float"]
        kinds = {
            "signed activations": self.signed, "joined ranges alike": self.alike, "bytes first": self.bytes_first
        }  # fmt: skip
        return ", ".join([f"{self.ranges} ranges", *said, *first, *(name for name, so in kinds.items() if so)])


CANDIDATES = tuple(Candidate(ranges, last) for ranges in ("extreme", "mean") for last in (False, True))
"""For a network that ends in a convolution and has no gates; gates are tried in both ways too."""
_CLASSIFIERS_FIRST = (1, 3, 9)  # convolutions; a classifier has latency to spare, a segmenter is all about it


class Loss(Protocol):
    """How far INT8 is from fp32: `order`, the lesser the better, and what of it a table says."""

    @property
    def order(self) -> tuple[float, ...]: ...

    @property
    def said(self) -> dict[str, str]: ...


class Trial(NamedTuple):
    """What one candidate loses against fp32 on the judging images, the size of its file in bytes, and its time for one
    image, of fp32's."""

    candidate: Candidate
    loss: Loss
    size: int
    time: float


@dataclass(frozen=True)
class Quantized:
    """What was written, the candidate that loses least, or little more and is faster; every trial that led to it."""

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
    calibration: Feeds,
    judging: Feeds,
    progress: Callable[[int, int], None] = lambda done, total: None,
    judge: Callable[[onnxruntime.InferenceSession, Feeds], Loss] | None = None,
    candidates: Sequence[Candidate] | None = None,
) -> Quantized:
    """Quantise `source` (fp32, by `cutis export`); write to `path` the candidate whose answers differ least.

    `calibration`, `judging`: by name of the input; `image` is (N, S, S, 3) uint8, preprocessed training images, no
    image in both. `progress` is told images done and images in all. `judge`: a candidate's loss on the judging images,
    for files that are neither segmenters nor classifiers. `candidates`: the ways that are tried; unless given, all that
    suit the network, and the best of them with some changes.
    """
    import onnx

    reference = open_session(source)
    difference = judge or _judge(source, reference)
    for name, feeds in {"calibration": calibration, "judging": judging}.items():
        _check_feeds(reference, name, feeds)
    with tempfile.TemporaryDirectory() as folder:
        with _quiet():
            prepared = _prepare(onnx.load(source), Path(folder))
            extremes = _extremes(prepared, calibration, Path(folder), progress)

        def tried(candidate: Candidate) -> tuple[Candidate, Loss, bytes]:
            with _quiet():
                made = _quantize(prepared, candidate, extremes)
            finished = _finish(made, onnx.load(source))
            return candidate, difference(open_session(finished), judging), finished

        made = [tried(candidate) for candidate in candidates or _candidates(onnx.load(prepared))]
        first = min(range(len(made)), key=lambda place: made[place][1].order)
        if candidates is None:
            with _quiet():
                changes = _changes(made[first][0], prepared, extremes)
            made += [tried(candidate) for candidate in changes]
    times = _times(reference, [open_session(content) for _, _, content in made], judging)
    trials = [(Trial(*one[:2], len(one[2]), time), one[2]) for one, time in zip(made, times, strict=True)]
    chosen, content = trials[first]
    for trial, other in trials[len(trials) - len(changes) :] if candidates is None else []:
        if _worth_it(trial, chosen, trials[first][0]):
            chosen, content = trial, other
    atomic_write(path, content)
    count = _rows(calibration)
    return Quantized(
        path, chosen, tuple(t for t, _ in trials), count, len(content), hashlib.sha256(content).hexdigest()
    )


def _worth_it(trial: Trial, chosen: Trial, best: Trial) -> bool:
    """Whether a change is to be preferred to what is chosen so far; `best` loses least of the ways without a change."""
    if trial.loss.order < chosen.loss.order and trial.time <= chosen.time:
        return True
    allowed = min(1 + _WORTH * (1 - trial.time / best.time), _AT_MOST)
    return trial.time < chosen.time and trial.loss.order[0] <= allowed * best.loss.order[0]


def _changes(best: Candidate, prepared: Path, extremes: dict[str, NDArray[np.float32]]) -> list[Candidate]:
    """The best way with each change that its network allows, and with those that go together."""
    import onnx

    model = onnx.load(prepared)
    changes = [best._replace(signed=True)]
    alike = best._replace(alike=True)
    if any(node.op_type == "Concat" for node in model.graph.node):
        changes.append(alike)
    if best.float_first == 1 and byte_stem(_quantize(prepared, best, extremes)) is not None:
        changes += [one._replace(bytes_first=True) for one in (best, *changes[1:])]
    return changes


def _times(
    reference: onnxruntime.InferenceSession, sessions: Sequence[onnxruntime.InferenceSession], feeds: Feeds
) -> list[float]:
    """Of each, the shortest of some answers to one image, in units of the reference's; in turns, one thread."""
    one = {name: values[:1] for name, values in feeds.items()}
    clock = time.perf_counter if sys.platform == "win32" else time.thread_time
    best = [float("inf")] * (len(sessions) + 1)
    for turn in range(_TURNS + 1):
        for place, session in enumerate((reference, *sessions)):
            start = clock()
            session.run(None, one)
            if turn:
                best[place] = min(best[place], clock() - start)
    return [each / max(best[0], 1e-9) for each in best[1:]]


def _judge(
    source: Path, reference: onnxruntime.InferenceSession
) -> Callable[[onnxruntime.InferenceSession, Feeds], Loss]:
    """How a candidate is judged against the file `source`: by its masks, or by its probabilities of the classes."""
    written = reference.get_modelmeta().custom_metadata_map
    if written.get("cutis.precision") != "fp32":
        raise CutisError(
            f"{source} is not an fp32 network exported by cutis: quantise the file that `cutis export` wrote"
        )
    if written["cutis.task"] != "segmentation":
        return lambda session, feeds: compare_classifiers(reference, session, feeds)
    threshold = float(written["cutis.threshold"])

    def masks(session: onnxruntime.InferenceSession, feeds: Feeds) -> Loss:
        return compare_over(
            lambda images: probabilities(reference, images),
            lambda images: probabilities(session, images),
            feeds["image"],
            threshold,
        )

    return masks


def _check_feeds(session: onnxruntime.InferenceSession, name: str, feeds: Feeds) -> None:
    kinds = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}
    wanted = {entry.name: (tuple(entry.shape[1:]), kinds[entry.type]) for entry in session.get_inputs()}
    found = {key: (values.shape[1:], values.dtype) for key, values in feeds.items()}
    counts = {len(values) for values in feeds.values()}
    if found != wanted or len(counts) != 1 or 0 in counts:
        raise ValueError(f"{name} images must be {wanted} after N >= 1, got {found} of {counts}")


def _rows(feeds: Feeds) -> int:
    return len(next(iter(feeds.values())))


def _candidates(model: onnx.ModelProto) -> tuple[Candidate, ...]:
    weights = {entry.name: entry for entry in model.graph.initializer}
    last = [node for node in model.graph.node if node.op_type == "Conv"][-1]
    found = list(CANDIDATES)
    if weights[last.input[1]].dims[0] > _HEAD:  # a classifier's head is linear and stays in float anyway
        found = [Candidate(ranges, None, None, first) for ranges in ("extreme", "mean") for first in _CLASSIFIERS_FIRST]
    inside = _before_last_convolution(model)
    if any(node.op_type in _GATES and node.name in inside for node in model.graph.node):
        found = [candidate._replace(float_gates=gates) for candidate in found for gates in (False, True)]
    return tuple(found)


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
    prepared: Path, calibration: Feeds, folder: Path, progress: Callable[[int, int], None]
) -> dict[str, NDArray[np.float32]]:
    """Activation -> (images, 2): its least and greatest value in each image; one pass over the images serves all."""
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    augmented = folder / "augmented.onnx"
    create_calibrator(prepared, _OPERATORS + _GATES, str(augmented), CalibrationMethod.MinMax)  # writes the file
    session = open_session(augmented)
    outputs = [output.name for output in session.get_outputs()]
    ends = ("_ReduceMin", "_ReduceMax")
    names = [name.removesuffix(ends[0]) for name in outputs if name.endswith(ends[0])]
    found = []
    count = _rows(calibration)
    for number in range(count):
        one = {name: values[number : number + 1] for name, values in calibration.items()}
        values = dict(zip(outputs, session.run(None, one), strict=True))
        found.append([[values[name + end].item() for end in ends] for name in names])
        progress(number + 1, count)
    return dict(zip(names, np.array(found, np.float32).swapaxes(0, 1), strict=True))


def _quantize(prepared: Path, candidate: Candidate, extremes: dict[str, NDArray[np.float32]]) -> onnx.ModelProto:
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    ranges = {name: _range(values, candidate.ranges) for name, values in extremes.items()}
    if candidate.alike:
        _make_alike(onnx.load(prepared), ranges)
    quantizer = QDQQuantizer(
        onnx.load(prepared),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if candidate.signed else QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
        nodes_to_quantize=[],
        nodes_to_exclude=_kept_in_float(prepared, candidate),
        op_types_to_quantize=_OPERATORS + ([] if candidate.float_gates in (True, None) else _GATES),
        extra_options={},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    found = quantizer.model.model
    return (byte_stem(found) or found) if candidate.bytes_first else found


def _make_alike(model: onnx.ModelProto, ranges: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]) -> None:
    """Give all that a concatenation joins, and what it makes, one range; likewise where one joins another's."""
    joined = [{*node.input, *node.output} & set(ranges) for node in model.graph.node if node.op_type == "Concat"]
    for _ in joined:  # a chain of them is settled after as many rounds
        for names in joined:
            if names:
                low, high = (end([ranges[name][i] for name in names]) for i, end in ((0, min), (1, max)))
                ranges.update(dict.fromkeys(names, (low, high)))


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
    """What comes up to the first convolution or belongs to it, what comes after the last, that one if wanted."""
    import onnx

    model = onnx.load(prepared)
    nodes = list(model.graph.node)
    convolutions = graph.convolutions(model)
    first = next(i for i, node in enumerate(nodes) if node.name == convolutions[0])
    kept = [node.name for node in nodes[: first + 1]]
    kept += [node.name for node in _right_after(nodes[first], graph.readers(model))]
    kept += convolutions[: candidate.float_first]
    inside = _before_last_convolution(model)
    kept += [node.name for node in nodes if node.name not in inside]
    return kept + (convolutions[-1:] if candidate.float_last else [])


def _right_after(node: onnx.NodeProto, read_by: dict[str, list[onnx.NodeProto]]) -> list[onnx.NodeProto]:
    """The ReLU of a convolution, the maximum after it, the convolutions of that, and so on."""
    kinds = {"MaxPool": ("Conv",)}.get(node.op_type, (*_BOUNDS, "MaxPool"))
    found = [reader for reader in read_by[node.output[0]] if reader.op_type in kinds]
    return found + [later for one in found for later in _right_after(one, read_by)]


def _before_last_convolution(model: onnx.ModelProto) -> set[str]:
    """Names of the convolutions, of all that they depend on, and of the ReLUs right after them."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    read_by = graph.readers(model)
    found: set[str] = set()
    waiting = [node for node in model.graph.node if node.op_type == "Conv"]
    for node in waiting:  # grows while it is read
        if node.name not in found:
            found.add(node.name)
            waiting += [made_by[name] for name in node.input if name in made_by]
    after = [reader for node in waiting for name in node.output for reader in read_by[name]]
    return found | {node.name for node in after if node.op_type in _BOUNDS}


def _finish(model: onnx.ModelProto, source: onnx.ModelProto) -> bytes:
    """The quantised graph without the tool's notes, with the metadata of `source` and its own precision; validated."""
    import onnx

    graph.strip(model)
    facts = {entry.key: entry.value for entry in source.metadata_props}
    onnx.helper.set_model_props(model, {**facts, "cutis.precision": "int8", "cutis.seal": UNSEALED})
    onnx.checker.check_model(model, full_check=True)
    return seal(model.SerializeToString())


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
