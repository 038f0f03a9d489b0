"""`cutis tune --latency`: a network's shape in INT8 against the bundled segmenter, one thread, a batch of one.

The shape has random weights and goes the way of `cutis export`, but is quantised in one way only, the bundled
network's: which of several loses least is a matter of weights. What is read is the thread's own time, because a search
runs beside trainings; and processes of one search wait for each other, so that two never time at once.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from cutis.analysis.model_file import ModelFile
from cutis.analysis.runtime import DEFAULT_MODEL, Segmenter, load_model
from cutis.analysis.runtimes import DEFAULT_RUNTIME
from cutis.benchmark import machine
from cutis.benchmark.forward import forward
from cutis.benchmark.latency import OWN_TIME, Protocol, interleave, ratio_to
from cutis.benchmark.untrained import make_network, write_untrained
from cutis.errors import CutisError
from cutis.recipes.config import NetworkSettings
from cutis.tuning.latency import Latency, Ratio

__all__ = ["PROTOCOL", "shape_latency", "time_shape"]

PROTOCOL = Protocol(warmup=2, rounds=20, calls=3)


def shape_latency(limit: float | None, cache: Path) -> Latency:
    """What `cutis tune` is handed: `time_shape`, one at a time of all processes that share the folder `cache`."""
    from filelock import FileLock

    if limit is not None and not limit > 0:
        raise CutisError(f"--latency-limit {limit:g}: give the longest time in units of {DEFAULT_MODEL}'s, e.g. 0.8")
    here = machine.describe()
    facts = {
        "sha256": load_model().info.sha256,
        "processor": here["processor"],
        "onnxruntime": here["packages"]["onnxruntime"],
        "protocol": PROTOCOL._asdict(),
    }
    cache.mkdir(parents=True, exist_ok=True)
    lock = FileLock(cache / "latency.lock")

    def measure(network: NetworkSettings, side: int) -> Ratio:
        with tempfile.TemporaryDirectory() as folder:
            file = _export(network, side, Path(folder))
            with lock:
                return time_shape(file)

    return Latency(measure, DEFAULT_MODEL, facts, limit)


def time_shape(file: Path) -> Ratio:
    """An INT8 file against the bundled segmenter, in turns."""
    shape = Segmenter(ModelFile(file.read_bytes(), str(file), 1, DEFAULT_RUNTIME))  # not resident: there will be many
    times = interleave({"bundled": forward(load_model()), "shape": forward(shape)}, PROTOCOL, clock=OWN_TIME)
    return Ratio(*ratio_to(times["bundled"], times["shape"]))


def _export(network: NetworkSettings, side: int, folder: Path) -> Path:
    from cutis.export.int8 import Candidate

    ways = [Candidate("mean", float_last=True)]
    files, reasons = write_untrained(make_network(network), network.name, side, folder, candidates=ways)
    for reason in reasons.values():
        raise CutisError(f"network {network.name!r} with {network.options} cannot be had in INT8: {reason}")
    return files["int8"]
