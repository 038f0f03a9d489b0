"""What runs a model file: ONNX Runtime, or OpenVINO on the same file, behind one interface.

ONNX Runtime is what every published number was measured with, and the default. OpenVINO (cutis[openvino]) reads the
same files, INT8 ones too, and computes them in fp32 and integers as they say; `openvino-bf16` lets it round to bfloat16
where the processor computes in that. ExecuTorch (cutis[executorch]) runs programs of its own, `.pte`, that the export
writes of the same network. `fastest` times those that are here on the model itself and takes the winner.
What may differ between them is stated in `TOLERANCE` and held by the tests.

Each call runs in the thread that makes it, on `threads` threads that do not spin when they wait: a folder's other
images need the cores.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cutis.errors import CutisError, missing
from cutis.files import is_sealed

__all__ = ["DEFAULT_RUNTIME", "FASTEST", "RUNTIMES", "TOLERANCE", "Session", "Tensor", "Tolerance", "open_session"]

Tensor = tuple[str, str, Sequence[int | str | None]]
"""Name, type ('tensor(float)') and shape (without the batch) of an input or output."""
DEFAULT_RUNTIME, FASTEST = "onnxruntime", "fastest"
_TYPES = {"f32": "tensor(float)", "u8": "tensor(uint8)", "i64": "tensor(int64)"}
_PROGRAM = b"ET"  # bytes 4 and 5 of every .pte, its flatbuffer's identifier
_ROUNDS = 5  # of each runtime, in turns, when the fastest is looked for


class Tolerance(NamedTuple):
    """How far a runtime's answers may be from ONNX Runtime's on the same pixels.

    `pixels`: largest share of a picture's mask that differs. `mean`: largest mean difference of its probabilities.
    """

    pixels: float
    mean: float


# Measured with segmenter-int8 and -fp32 0.2.0 on drawn lesions (tests/analysis/test_runtimes.py prints what it finds).
TOLERANCE = {
    "onnxruntime": Tolerance(0, 0),
    "openvino": Tolerance(0.002, 0.002),
    "openvino-bf16": Tolerance(0.01, 0.01),
    "executorch": Tolerance(0.0001, 0.0001),  # of the fp32 file's, on the fp32 program of the same network
}


class Session(Protocol):
    """An opened model. `metadata` is the file's own; `runtime` says what runs it."""

    @property
    def runtime(self) -> str: ...
    @property
    def metadata(self) -> Mapping[str, str]: ...
    @property
    def inputs(self) -> Sequence[Tensor]: ...
    @property
    def outputs(self) -> Sequence[Tensor]: ...

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray]) -> list[NDArray]:
        """The named outputs, for (N, ...) of each input. Safe from several threads at once."""
        ...


def open_session(content: bytes, runtime: str, threads: int, source: str = "this model") -> Session:
    """Open a model's bytes with one of `RUNTIMES`, or with the fastest of those installed that open its kind of file.

    What the runtime says against the file goes on as it is; a runtime that is unknown or not here, or that opens
    another kind of file than `source`, is a `CutisError`.

    >>> open_session(b"", "tflite", 1)
    Traceback (most recent call last):
    cutis.errors.CutisError: no runtime 'tflite': give onnxruntime, openvino, openvino-bf16, executorch or fastest
    """
    program = content[4:6] == _PROGRAM
    if runtime != FASTEST and runtime not in RUNTIMES:
        raise CutisError(f"no runtime '{runtime}': give {', '.join(RUNTIMES)} or {FASTEST}")
    if program and runtime not in ("executorch", FASTEST):
        raise CutisError(f"{source} is a program of ExecuTorch's (.pte), not ONNX: give --runtime executorch")
    if not program and runtime == "executorch":
        raise CutisError(
            f"{source} is no program of ExecuTorch's (.pte): leave --runtime out, or give --model a file that "
            "`cutis export --executorch` wrote, with --no-cascade"
        )
    if program and not is_sealed(content):  # a seal that is not there cannot be broken
        raise CutisError(f"{source} is cut short, or cutis did not export it: copy or export it again")
    if runtime == FASTEST:
        return _fastest([RUNTIMES[name](content, threads) for name in (["executorch"] if program else _here())])
    return RUNTIMES[runtime](content, threads)


class _OnnxRuntime:
    runtime = "onnxruntime"

    def __init__(self, content: bytes, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # what goes wrong comes back as an exception
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.inputs, self.outputs = (
            [(value.name, value.type, list(value.shape[1:])) for value in values]
            for values in (self._session.get_inputs(), self._session.get_outputs())
        )

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray]) -> list[NDArray]:
        return self._session.run(list(outputs), dict(feeds))


class _OpenVino:
    precision = "f32"

    def __init__(self, content: bytes, threads: int) -> None:
        self.runtime = "openvino" if self.precision == "f32" else f"openvino-{self.precision}"
        core = _core(self.runtime)
        if self.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise CutisError("this processor does not compute in bfloat16: give --runtime openvino")
        model = core.read_model(content)
        asked = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
        self._model = core.compile_model(model, "CPU", {**asked, "INFERENCE_PRECISION_HINT": self.precision})
        written = model.get_rt_info("framework").astype(dict) if model.has_rt_info("framework") else {}
        self.metadata: Mapping[str, str] = {key: str(value.value) for key, value in written.items()}
        self.inputs, self.outputs = ([_described(port) for port in ports] for ports in (model.inputs, model.outputs))
        self._own = threading.local()

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray]) -> list[NDArray]:
        if not hasattr(self._own, "request"):
            self._own.request = self._model.create_infer_request()
        self._own.request.infer(dict(feeds))
        return [self._own.request.get_tensor(name).data.copy() for name in outputs]


class _OpenVinoBf16(_OpenVino):
    precision = "bf16"


def _executorch(content: bytes, threads: int) -> Session:
    from cutis.analysis.executorch import ExecuTorch

    return ExecuTorch(content, threads)


RUNTIMES: Mapping[str, Callable[[bytes, int], Session]] = {
    "onnxruntime": _OnnxRuntime,
    "openvino": _OpenVino,
    "openvino-bf16": _OpenVinoBf16,
    "executorch": _executorch,
}


_opening, _cores = threading.Lock(), list[Any]()


def _core(runtime: str) -> Any:
    """OpenVINO itself, one for the process: its CPU plugin gives the thread a stack for signal handlers, frees it when
    the last core goes, and leaves it in use. The next signal, Ctrl-C or a child's end, would then kill the process."""
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise missing(f"--runtime {runtime} needs", "openvino", "openvino") from error
    with _opening:
        if not _cores:
            _cores.append(openvino.Core())
        return _cores[0]


def _described(port: Any) -> Tensor:
    shape = port.partial_shape
    sizes = [shape[axis].get_length() if shape[axis].is_static else None for axis in range(1, len(shape))]
    kind = port.element_type.get_type_name()
    return port.any_name, _TYPES.get(kind, kind), sizes


def _here() -> list[str]:
    """Exact runtimes that are installed: rounding to bfloat16 is nobody's wish who did not say so."""
    return ["onnxruntime", *(["openvino"] if find_spec("openvino") else [])]


def _fastest(sessions: Sequence[Session]) -> Session:
    """By the best of some rounds in turns, a batch of one: what other work slows down is not what is compared."""
    if len(sessions) == 1:
        return sessions[0]
    best = {session.runtime: float("inf") for session in sessions}
    kinds: dict[str, Any] = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}
    for turn in range(_ROUNDS + 1):
        for session in sessions:
            feeds = {name: np.zeros((1, *map(int, shape)), kinds[kind]) for name, kind, shape in session.inputs}  # type: ignore[arg-type]
            names = [name for name, _, _ in session.outputs]
            start = time.perf_counter()
            session.run(names, feeds)
            if turn:
                best[session.runtime] = min(best[session.runtime], time.perf_counter() - start)
    return min(sessions, key=lambda session: best[session.runtime])
