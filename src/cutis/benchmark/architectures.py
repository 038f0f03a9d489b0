"""`cutis benchmark architectures`: what networks cost at 64, 128 and 256 pixels, in fp32 and INT8, one thread.

SLSNet, Table 5: parameters, multiply-adds (attention products apart), milliseconds and frames a second, the paper's
values (on a GTX 1080 Ti) beside ours where it prints some. The networks have random weights and INT8 is calibrated on
drawn lesions: neither changes what a forward pass costs. All are quantised in the same one way: which of several loses
least is a matter of weights.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cutis.benchmark.forward import forward
from cutis.benchmark.latency import Protocol, interleave, spread
from cutis.benchmark.machine import watching
from cutis.benchmark.result import Result, Row, progress, publish
from cutis.benchmark.untrained import make_network, tolerance_of, write_untrained
from cutis.errors import CutisError
from cutis.experiments.paper import slsnet_tables

__all__ = ["NETWORKS", "SIZES", "cost_rows", "measure_architectures"]

NETWORKS = ("slsnet", "enet", "sparsesegnet", "segnet", "unet", "fpn", "deeplabv3plus", "fcn")
SIZES = (64, 128, 256)


def measure_architectures(networks: Sequence[str], sizes: Sequence[int], *, rounds: int, output: Path | None) -> int:
    """Export, quantise and time every network at every size; print and write architectures.json."""
    from cutis.analysis.runtime import load_model

    costs: dict[str, dict[str, float]] = {}
    programs: dict[str, Callable[[], object]] = {}
    facts: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as folder, progress("exporting") as tell:
        for done, (name, size) in enumerate(asked := [(name, size) for name in networks for size in sizes]):
            tell(done, len(asked))
            own, files = _exported(name, size, Path(folder))
            for precision, path in files.items():
                title = f"{name} {size} {precision}"
                model = load_model(str(path))
                costs[title], programs[title] = own, forward(model)
                facts[title] = {"size": size, "precision": precision, "bytes": path.stat().st_size}
    protocol = Protocol(warmup=2, rounds=rounds, calls=1)
    with watching() as watch, progress("networks in turns") as tell:
        times = interleave(programs, protocol, tell=tell)
    result = Result.of(
        "architectures",
        cost_rows(costs, times),
        watch,
        one_thread=True,
        protocol={**protocol._asdict(), "threads": 1, "batch": 1, "weights": "random", "order": list(programs)},
        facts=facts,
    )
    publish(result, output)
    return 0


def cost_rows(costs: dict[str, dict[str, float]], times: dict[str, NDArray[np.float64]]) -> list[Row]:
    """Title ('<network> <size> <precision>') -> its costs, and seconds (rounds, calls) -> one row each.

    >>> rows = cost_rows({"slsnet 128 fp32": {"GMAC": 0.9}}, {"slsnet 128 fp32": np.full((3, 1), 0.02)})
    >>> {name: round(value, 2) for name, value in rows[0].values.items() if not name.endswith(("low", "high"))}
    {'GMAC': 0.9, 'ms': 20.0, 'fps': 50.0, 'paper ms': 8.0, 'paper fps': 110.3, 'paper GMAC': 0.9}
    """
    table = slsnet_tables()["5"]
    rows = []
    for title, seconds in times.items():
        name, size, _ = title.split()
        ms = spread(1000 * seconds)
        values = {**costs[title], "ms": ms.median, "ms low": ms.low, "ms high": ms.high, "fps": 1000 / ms.median}
        printed = table.row(run=name, size=int(size))
        if printed:
            values |= {f"paper {'GMAC' if key == 'macs' else key}": value.mean for key, value in printed.values.items()}
        rows.append(Row(title, values))
    return rows


def _exported(name: str, size: int, folder: Path) -> tuple[dict[str, float], dict[str, Path]]:
    """Parameters and multiply-adds of the network `name`, and its files by precision."""
    from cutis.export.int8 import Candidate
    from cutis.models.budget import budget
    from cutis.recipes.config import NetworkSettings

    network = make_network(NetworkSettings(name=name))
    found = budget(network, size)
    files, reasons = write_untrained(
        network, name, size, folder, candidates=[Candidate("mean", float_last=True)],
        tolerance=tolerance_of(name),
    )  # fmt: skip
    for precision, reason in reasons.items():
        raise CutisError(f"{name} at {size} pixels cannot be had in {precision}: {reason}")
    costs = {
        "M parameters": found.parameters / 1e6,
        "GMAC": found.convolutions / 1e9,
        "attention GMAC": found.attention / 1e9,
    }
    return costs, files
