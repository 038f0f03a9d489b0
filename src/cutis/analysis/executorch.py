"""A program of ExecuTorch's (`.pte`) as a session: one picture after another, computed by XNNPACK.

What a program says of itself is in its method `cutis` (see `export.executorch`). ExecuTorch's Python takes and gives
torch's tensors only (1.5), and brings torch itself; cutis's analysis does not import it. So the tensors that go in come
from the program, from its method `inputs`, and their memory is filled here as NumPy's.
"""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cutis.analysis.runtimes import Tensor
from cutis.errors import CutisError, missing

__all__ = ["ExecuTorch"]

_TYPES = {0: "tensor(uint8)", 6: "tensor(float)"}  # of torch's ScalarType
_opening, _threads = threading.Lock(), list[int]()


class ExecuTorch:
    """An opened program; `metadata` is {} where cutis did not export it."""

    runtime = "executorch"

    def __init__(self, content: bytes, threads: int) -> None:
        self._program = _runtime(threads).load_program(content)
        methods = self._program.method_names
        found = json.loads(self._program.load_method("cutis").execute([])[0]) if "cutis" in methods else {}
        self.metadata: Mapping[str, str] = found
        self.inputs, self.outputs = list[Tensor](), list[Tensor]()
        if not found:
            return
        about = self._program.metadata("forward")
        self.inputs = _described(found["cutis.inputs"], about.num_inputs(), about.input_tensor_meta)
        self.outputs = _described(found["cutis.outputs"], about.num_outputs(), about.output_tensor_meta)
        self._forward = self._program.load_method("forward")
        self._tensors = self._program.load_method("inputs").execute([])
        self._filled = [tensor.numpy() for tensor in self._tensors]
        self._running = threading.Lock()  # one memory plan, one run

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray]) -> list[NDArray]:
        names = [name for name, _, _ in self.inputs]
        rows = zip(*(feeds[name] for name in names), strict=True)
        found = [self._row(row) for row in rows]
        order = [name for name, _, _ in self.outputs]
        return [np.concatenate([one[order.index(name)] for one in found]) for name in outputs]

    def _row(self, values: Sequence[NDArray]) -> list[NDArray]:
        with self._running:
            for place, value in zip(self._filled, values, strict=True):
                place[0] = value
            return [tensor.numpy() for tensor in self._forward.execute(self._tensors)]  # copies


def _described(names: str, count: int, of: Any) -> list[Tensor]:
    """Names as the export wrote them, types and shapes as the program has them."""
    found = [of(number) for number in range(count)]
    return [
        (name, _TYPES.get(info.dtype(), str(info.dtype())), list(info.sizes()[1:]))
        for name, info in zip(names.split(","), found, strict=True)
    ]


def _runtime(threads: int) -> Any:
    """ExecuTorch itself. Its threads are the process's, and programs keep those they were opened with."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is experimental
            from executorch.extension.pybindings import portable_lib
            from executorch.runtime import Runtime
    except ModuleNotFoundError as error:
        raise missing("--runtime executorch needs", "executorch", "executorch") from error
    except ImportError as error:
        raise CutisError(
            f"executorch and torch do not belong together ({str(error)[:120]}): "
            "pip install --upgrade 'cutis[executorch]'"
        ) from error
    with _opening:
        if not _threads:
            portable_lib._unsafe_reset_threadpool(threads)
            _threads.append(threads)
        if _threads != [threads]:
            raise CutisError(
                f"ExecuTorch runs on {_threads[0]} threads in this process: open the model on {threads} in another one"
            )
    return Runtime.get()
