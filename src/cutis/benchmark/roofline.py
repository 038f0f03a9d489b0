"""`cutis benchmark roofline`: how near a model is to what one thread of this machine can do, operator by operator.

Every operator's floor is the longer of its multiply-adds at the measured peak and its bytes at memory's bandwidth; the
model's roofline is their sum. Target: at most 1.6 times that, and else the table says which operators the rest goes to.
The profile slows a model down a little, so its own time, unprofiled and in turns with the others, is what is judged.
A second floor takes all bytes from the near cache, where most of a small network's are: nothing gets below that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cutis.analysis.runtimes import DEFAULT_RUNTIME
from cutis.benchmark.contenders import Contender, contenders_of, open_program
from cutis.benchmark.latency import Protocol, interleave, spread
from cutis.benchmark.machine import watching
from cutis.benchmark.operators import Operator, profile
from cutis.benchmark.peaks import Peaks, measure_peaks
from cutis.benchmark.result import Result, Row, progress, publish
from cutis.errors import CutisError
from cutis.export.parity import open_session

__all__ = ["TARGET", "floor_ms", "measure_roofline", "operator_rows"]

TARGET = 1.6
_PROFILED, _PEAK_ROUNDS = 20, 10


def measure_roofline(models: Sequence[str], *, size: int, rounds: int, cache: Path, output: Path | None) -> int:
    """Models (names, files) and peers against their rooflines; print and write roofline.json."""
    contenders = contenders_of(models, size=size, cache=cache)
    if torn := [c.title for c in contenders if c.file is None]:
        raise CutisError(f"{torn[0]} has no ONNX file to take apart: leave it out")
    protocol = Protocol(warmup=2, rounds=rounds, calls=3)
    with watching() as watch, progress("peaks, times, operators") as tell:
        tell(0, 3)
        peaks = measure_peaks(_PEAK_ROUNDS)
        tell(1, 3)
        programs = {
            c.title: open_program(c.kind, c.what, c.side, threads=1, runtime=DEFAULT_RUNTIME) for c in contenders
        }
        times = interleave(programs, protocol)
        tell(2, 3)
        parts = {c.title: _profile(c) for c in contenders}
    rows = []
    for contender in contenders:
        ms = spread(1000 * times[contender.title])
        rows.append(_whole(contender.title, ms.median, ms.low, ms.high, parts[contender.title], peaks))
    for contender in contenders:
        rows += operator_rows(contender.title, parts[contender.title], peaks)
    facts = {c.title: dict(c.facts) for c in contenders} | {
        "peaks": {
            "fp32 GMAC/s": peaks.fp32 / 1e9, "INT8 GMAC/s": peaks.int8 / 1e9, "memory GB/s": peaks.memory / 1e9,
            "near cache GB/s": peaks.cache / 1e9,
        }
    }  # fmt: skip
    result = Result.of(
        "roofline", rows, watch, one_thread=True, facts=facts,
        protocol={**protocol._asdict(), "threads": 1, "batch": 1, "profiled runs": _PROFILED, "order": list(programs)},
    )  # fmt: skip
    publish(result, output)
    return 0


def floor_ms(operator: Operator, peaks: Peaks, bandwidth: float) -> float:
    """Milliseconds below which this operator cannot be, with its bytes at `bandwidth` a second.

    >>> peaks = Peaks(fp32=1e9, int8=4e9, memory=1e9, cache=1e10)
    >>> conv = Operator("conv", "QLinearConv", 3.0, multiply_adds=8_000_000, bytes=1_000_000, integers=True)
    >>> floor_ms(conv, peaks, peaks.memory), floor_ms(conv._replace(bytes=5_000_000), peaks, peaks.memory)
    (2.0, 5.0)
    """
    products = operator.multiply_adds / peaks.multiply_adds("int8" if operator.integers else "fp32")
    return 1000 * max(products, operator.bytes / bandwidth)


def operator_rows(title: str, operators: Sequence[Operator], peaks: Peaks) -> list[Row]:
    """One row for each kind of operator, the one with the most time above its floor first."""
    kinds = dict.fromkeys(operator.kind for operator in operators)
    rows = []
    for kind in kinds:
        of = [operator for operator in operators if operator.kind == kind]
        ms, floor = sum(one.ms for one in of), sum(floor_ms(one, peaks, peaks.memory) for one in of)
        values = {
            "ms": ms, "roofline ms": floor, "above it ms": ms - floor, "nodes": len(of),
            "GMAC": sum(one.multiply_adds for one in of) / 1e9, "MB moved": sum(one.bytes for one in of) / 1e6,
        }  # fmt: skip
        rows.append(Row(f"{title}: {kind}", values))
    return sorted(rows, key=lambda row: -row.values["above it ms"])


def _whole(title: str, ms: float, low: float, high: float, operators: Sequence[Operator], peaks: Peaks) -> Row:
    floor = sum(floor_ms(one, peaks, peaks.memory) for one in operators)
    nearest = sum(floor_ms(one, peaks, peaks.cache) for one in operators)
    values = {"ms": ms, "ms low": low, "ms high": high, "roofline ms": floor, "above it ms": ms - floor}
    values |= {"times roofline": ms / floor, "times roofline in cache": ms / nearest}
    values |= {"profiled ms": sum(one.ms for one in operators), "nodes": len(operators)}
    values["GMAC"] = sum(one.multiply_adds for one in operators) / 1e9
    values["MB moved"] = sum(one.bytes for one in operators) / 1e6
    return Row(title, values, ("times roofline", "<=", TARGET))


def _profile(contender: Contender) -> list[Operator]:
    assert contender.file is not None
    content = contender.file.read_bytes()
    rng = np.random.default_rng(0)
    feeds = {}
    for entry in open_session(content).get_inputs():
        shape = [1, *entry.shape[1:]]
        pixels = entry.type == "tensor(uint8)"
        feeds[entry.name] = rng.integers(0, 256, shape, np.uint8) if pixels else rng.random(shape, dtype=np.float32)
    return profile(content, feeds, _PROFILED)
