"""`cutis benchmark latency`: how a forward pass grows with the image's side, and shrinks with threads.

Any side takes a network of that side, so ours is SparseSegNet as it was before pruning, with random weights, beside
peers likewise untrained; programs of one question take turns. Ratios are to the first row's program in the same rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cutis.analysis.batch import cores
from cutis.benchmark.contenders import Contender, contenders_of, open_program
from cutis.benchmark.latency import Protocol, interleave, spread
from cutis.benchmark.machine import watching
from cutis.benchmark.peers import SEGMENTERS
from cutis.benchmark.result import Result, Row, progress, publish
from cutis.errors import CutisError

__all__ = ["NETWORKS", "SIZES", "measure_latency"]

NETWORKS = ("sparsesegnet", "lraspp-mobilenetv3", "unet-resnet34")
SIZES = (128, 256, 384, 512)
SIDE = 256
"""Of the pictures whose latency is measured on several threads."""


def measure_latency(
    names: Sequence[str], sizes: Sequence[int], threads: Sequence[int], *, rounds: int, runtime: str, cache: Path,
    output: Path | None,
) -> int:  # fmt: skip
    """Time every network at every side on one thread, and at 256 on each number of threads; write latency.json."""
    for name in names:
        if name not in SEGMENTERS:
            raise CutisError(f"{name!r} does not take any side of picture: give some of {', '.join(SEGMENTERS)}")
    if wrong := [size for size in sizes if size < 32 or size % 32]:
        raise CutisError(f"--size is {wrong[0]}: give multiples of 32")
    if wrong := [count for count in threads if count < 1]:
        raise CutisError(f"--threads is {wrong[0]}: give 1 or more")
    asked = sorted({(size, 1) for size in sizes} | {(SIDE, count) for count in threads or range(1, cores() + 1)})
    made: dict[int, list[Contender]] = {}
    with progress("exporting what is not there yet") as tell:
        for done, size in enumerate(every := sorted({size for size, _ in asked})):
            tell(done, len(every))
            made[size] = contenders_of(names, size=size, cache=cache)
    points = {
        f"{contender.title}, {size} px, {count} thread{'s' * (count > 1)}": (contender, count)
        for size, count in asked
        for contender in made[size]
    }
    protocol = Protocol(warmup=2, rounds=rounds, calls=1)
    with watching() as watch, progress("forward passes") as tell:
        programs = {
            title: open_program(one.kind, one.what, one.side, threads=count, runtime=runtime)
            for title, (one, count) in points.items()
        }
        times = interleave(programs, protocol, tell=tell)
    rows = []
    for title, (one, count) in points.items():
        ms = spread(1000 * times[title])
        values = {"ms": ms.median, "ms low": ms.low, "ms high": ms.high, "side": one.side, "threads": count}
        rows.append(Row(title, values))
    facts = {title: {**one.facts, "network": one.title, "peer": one.peer} for title, (one, _) in points.items()}
    result = Result.of(
        "latency", rows, watch, one_thread=False, facts=facts,
        protocol={**protocol._asdict(), "batch": 1, "weights": "random", "order": list(points)},
    )  # fmt: skip
    publish(result, output)
    return 0
