"""Reads the convolutions of a TensorFlow Lite file: weights and biases, dequantised, in the order they run.

For ImageNet weights that exist only in this format (MobileNetV2). Format: TensorFlow's `schema.fbs`, FlatBuffers; the
numbers below are the positions of fields in its tables. Nothing is executed: this is a reader of arrays, without
tensorflow.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutis.errors import CutisError

__all__ = ["Convolution", "Convolutions", "is_tflite", "read_convolutions"]

CONV_2D, DEPTHWISE_CONV_2D = 3, 4
TYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype("<f4"),
    1: np.dtype("<f2"),
    2: np.dtype("<i4"),
    3: np.dtype("u1"),
    9: np.dtype("i1"),
}


class Convolution(NamedTuple):
    """`weight`: (out, in / groups, kh, kw) float32, as torch has it. `bias`: (out,) float32."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    depthwise: bool


class Convolutions(NamedTuple):
    """`mean` and `std`, of pixels in [0, 1], are what the quantised input of the file stands for."""

    layers: tuple[Convolution, ...]
    mean: float
    std: float


def is_tflite(data: bytes) -> bool:
    """Whether the bytes are a TensorFlow Lite model, by the identifier that its format puts there.

    >>> is_tflite(b"....TFL3"), is_tflite(b"PK..")
    (True, False)
    """
    return data[4:8] == b"TFL3"


def read_convolutions(data: bytes) -> Convolutions:
    """Bytes of a TensorFlow Lite file -> its convolutions, in float32; a damaged file raises `CutisError`.

    >>> read_convolutions(b"....TFL3")
    Traceback (most recent call last):
    cutis.errors.CutisError: the TensorFlow Lite file is damaged or has no quantised input: fetch it again
    """
    try:
        return _read(data)
    except (struct.error, ValueError, IndexError, KeyError) as error:
        raise CutisError("the TensorFlow Lite file is damaged or has no quantised input: fetch it again") from error


def _read(data: bytes) -> Convolutions:
    model = _Table(data, _uint(data, 0))
    codes = [max(code.byte(0), code.whole(3)) for code in model.tables(1)]
    graph, buffers = model.tables(2)[0], model.tables(4)
    tensors = graph.tables(0)
    layers = []
    for operator in graph.tables(3):
        code = codes[operator.whole(0)]
        if code not in (CONV_2D, DEPTHWISE_CONV_2D):
            continue
        _, weight, bias = (_values(tensors[i], buffers) for i in operator.array(1, "<i4")[:3])
        depthwise = code == DEPTHWISE_CONV_2D  # (1, kh, kw, out); the other: (out, kh, kw, in)
        weight = weight.transpose(3, 0, 1, 2) if depthwise else weight.transpose(0, 3, 1, 2)
        layers.append(Convolution(np.ascontiguousarray(weight), bias, depthwise))
    scale, zero = _quantisation(tensors[graph.array(1, "<i4")[0]])
    return Convolutions(tuple(layers), float(zero) / 255, float(1 / (255 * scale)))


def _values(tensor: _Table, buffers: list[_Table]) -> NDArray[np.float32]:
    kind = TYPES[tensor.byte(1)]
    stored = buffers[tensor.whole(2)].array(0, "u1").view(kind)
    if not len(stored):  # computed while running: the input of a layer
        return np.zeros(0, np.float32)
    values = stored.reshape(tensor.array(0, "<i4"))
    if kind.kind == "f":
        return values.astype(np.float32)
    scale, zero = _quantisation(tensor)
    return ((values.astype(np.float64) - zero) * scale).astype(np.float32)


def _quantisation(tensor: _Table) -> tuple[np.float32, np.int64]:
    quantisation = tensor.table(4)
    (scale,), (zero,) = quantisation.array(2, "<f4"), quantisation.array(3, "<i8")  # one for the whole tensor
    return scale, zero


class _Table:
    """One FlatBuffers table: where field `n` lies stands in a vtable before it; an absent field has offset 0."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data, self.position = data, position

    def _field(self, n: int) -> int | None:
        vtable = self.position - _number(self.data, "<i", self.position)
        slot = 4 + 2 * n
        offset = _number(self.data, "<H", vtable + slot) if slot < _number(self.data, "<H", vtable) else 0
        return self.position + offset if offset else None

    def byte(self, n: int) -> int:
        at = self._field(n)
        return 0 if at is None else _number(self.data, "<b", at)

    def whole(self, n: int) -> int:
        at = self._field(n)
        return 0 if at is None else _number(self.data, "<i", at)

    def table(self, n: int) -> _Table:
        at = self._field(n)
        if at is None:
            raise ValueError(f"field {n} is missing")
        return _Table(self.data, at + _uint(self.data, at))

    def array(self, n: int, kind: str) -> NDArray:
        at = self._field(n)
        if at is None:
            return np.zeros(0, kind)
        start = at + _uint(self.data, at)
        return np.frombuffer(self.data, kind, _uint(self.data, start), start + 4)

    def tables(self, n: int) -> list[_Table]:
        at = self._field(n)
        if at is None:
            return []
        start = at + _uint(self.data, at)
        places = [start + 4 + 4 * i for i in range(_uint(self.data, start))]
        return [_Table(self.data, place + _uint(self.data, place)) for place in places]


def _number(data: bytes, kind: str, position: int) -> int:
    if position < 0:
        raise ValueError("a position before the file's first byte")
    return struct.unpack_from(kind, data, position)[0]


def _uint(data: bytes, position: int) -> int:
    return _number(data, "<I", position)
