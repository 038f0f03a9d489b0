"""`cutis benchmark peers`: ours beside what a user would pick instead, on one thread and on all, in one run.

Every peer under the same runtime and in both precisions where it exports; what finds a mask is given the same square,
the SAM family's encoders theirs of 1024. Those take seconds, so they have fewer turns of their own, in which U and ours
take part: every ratio is of times from one round. Targets, one thread: U-Net (ResNet-34) fp32 takes 25 times as long
as our INT8, LRASPP fp32 twice, SAM ViT-B's encoder 1,000 times, our own fp32 2.5 times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutis.analysis.batch import cores
from cutis.benchmark.accuracy import comparison_rows, read_accuracy
from cutis.benchmark.alone import Alone, measure_alone
from cutis.benchmark.contenders import OURS, Contender, contenders_of, open_program
from cutis.benchmark.latency import Protocol, interleave, ratio_to, spread
from cutis.benchmark.machine import watching
from cutis.benchmark.peers import ENCODERS, PEERS
from cutis.benchmark.reference import YARDSTICK, reference
from cutis.benchmark.result import Result, Row, progress, publish

__all__ = ["TARGETS", "Group", "groups_of", "measure_peers", "peer_rows", "target_rows"]

TARGETS = {YARDSTICK: 25.0, "lraspp-mobilenetv3": 2.0, "sam-vit-b": 1000.0}
"""Peer in fp32 -> how many times our INT8's time it takes at least; its file, or in PyTorch where it has none."""
OWN_FP32 = 2.5
_GIANT = 1e12  # multiply-adds: a forward pass of a minute
Times = Mapping[str, NDArray[np.float64]]


class Group(NamedTuple):
    """Contenders that take turns with U and the first of ours. `one_thread`: not on all, to save minutes."""

    name: str
    contenders: tuple[Contender, ...]
    protocol: Protocol
    one_thread: bool


def measure_peers(
    names: Sequence[str], *, size: int, rounds: int, accuracy: Sequence[Path], dataset: str, runtime: str, cache: Path,
    output: Path | None,
) -> int:  # fmt: skip
    """Time models and peers (all of both unless named), print and write peers.json and peer-targets.json."""
    with progress("exporting what is not there yet") as tell:
        tell(0, 1)
        contenders = contenders_of(names or (*OURS, *(name for name in PEERS if name != "sparsesegnet")), size=size,
                                   cache=cache, runtime=runtime)  # fmt: skip
    found = read_accuracy(accuracy, dataset)
    groups = groups_of(contenders, rounds)
    every: dict[str, dict[int, Times]] = {}
    with watching() as watch:
        alone = _alone(contenders, runtime)
        for group in groups:
            for threads in (1,) if group.one_thread else sorted({1, cores()}):
                every.setdefault(group.name, {})[threads] = _time(group, contenders[0], threads, runtime, cache)
    protocol = {
        "batch": 1, "threads": sorted({1, cores()}), "size": size,
        "groups": {g.name: {**g.protocol._asdict(), "order": [c.title for c in g.contenders]} for g in groups},
    }  # fmt: skip
    facts = {contender.title: dict(contender.facts) for contender in contenders} | {"accuracy on": dataset}
    common: dict[str, Any] = {"watch": watch, "one_thread": False, "protocol": protocol}
    rows = peer_rows(contenders, every, alone, found)
    publish(Result.of("peers", rows, **common, facts=facts), output)
    titles = {str(c.facts["sha256"])[:12]: c.title for c in contenders if "sha256" in c.facts}
    targets = target_rows(contenders, {name: of[1] for name, of in every.items()}) + comparison_rows(found, titles)
    if targets:
        publish(Result.of("peer-targets", targets, **common, facts={"accuracy on": dataset}), output)
    return 0


def groups_of(contenders: Sequence[Contender], rounds: int) -> list[Group]:
    """By how long a forward pass takes: many rounds for what takes milliseconds, two for seconds, one for more."""
    light = tuple(c for c in contenders if c.peer not in ENCODERS)
    heavy = tuple(c for c in contenders if c.peer in ENCODERS and c.products.weighted < _GIANT)
    giant = tuple(c for c in contenders if c.peer in ENCODERS and c.products.weighted >= _GIANT)
    groups = [
        Group("milliseconds", light, Protocol(2, rounds, 2), False),
        Group("seconds", heavy, Protocol(0, min(2, rounds), 1), False),
        Group("minutes", giant, Protocol(0, 1, 1), True),
    ]
    return [group for group in groups if group.contenders]


def peer_rows(
    contenders: Sequence[Contender], every: Mapping[str, Mapping[int, Times]], alone: Mapping[str, Alone],
    accuracy: Mapping[str, Any],
) -> list[Row]:  # fmt: skip
    """Group -> threads -> title -> seconds (rounds, calls): one row a contender, with all that is known of it."""
    rows = []
    for contender in contenders:
        values: dict[str, float] = {}
        for times in every.values():
            for threads, seconds in times.items():
                if contender.title in seconds:
                    values |= _timed(seconds, contender.title, threads)
        process = alone[contender.title]
        values |= {"load ms": process.load_ms, "first ms": process.first_ms}
        values |= {"peak MB": process.peak_mb, "above runtime MB": process.above_mb}
        if contender.file is not None:
            values["file MB"] = contender.file.stat().st_size / 1e6
        parameters, weighted, attention = contender.products
        values |= {"M parameters": parameters / 1e6, "GMAC": weighted / 1e9, "attention GMAC": attention / 1e9}
        measured = accuracy.get(str(contender.facts.get("sha256", ""))[:12])
        rows.append(Row(contender.title, values | (measured.values() if measured else {})))
    return rows


def target_rows(contenders: Sequence[Contender], one_thread: Mapping[str, Times]) -> list[Row]:
    """Group -> title -> seconds on one thread: how many times our INT8's time the named peers take."""
    ours = next((c.title for c in contenders if c.peer is None and c.facts.get("precision") == "int8"), None)
    if ours is None or ours != contenders[0].title:  # the one that is in every group
        return []
    wanted = {c.title: TARGETS[c.peer] for c in contenders if c.peer in TARGETS and c.facts["precision"] == "fp32"}
    wanted |= {c.title: OWN_FP32 for c in contenders if c.peer is None and c.facts.get("precision") == "fp32"}
    rows = []
    for title, limit in wanted.items():
        times = next(of for of in one_thread.values() if title in of)
        ratio = ratio_to(times[ours], times[title])
        values = {"times as long": ratio.median, "times as long low": ratio.low, "times as long high": ratio.high}
        rows.append(Row(f"{title} beside {ours}", values, ("times as long", ">=", limit)))
    return rows


def _time(group: Group, ours: Contender, threads: int, runtime: str, cache: Path) -> Times:
    programs: dict[str, Callable[[], object]] = {"U": reference(cache, threads=threads)}
    for one in (ours, *group.contenders):
        if one.title not in programs:
            programs[one.title] = open_program(one.kind, one.what, one.side, threads=threads, runtime=runtime)
    with progress(f"forward passes of {group.name}, {threads} thread{'s' * (threads > 1)}") as tell:
        return interleave(programs, group.protocol, tell=tell)


def _alone(contenders: Sequence[Contender], runtime: str) -> dict[str, Alone]:
    found = {}
    with progress("each in a process of its own") as tell:
        for done, contender in enumerate(contenders):
            tell(done, len(contenders))
            found[contender.title] = measure_alone(contender, threads=1, runtime=runtime)
    return found


def _timed(times: Times, title: str, threads: int) -> dict[str, float]:
    """Milliseconds and the ratio to U; on several threads, U has them too."""
    ms, ratio = spread(1000 * times[title]), ratio_to(times["U"], times[title])
    if threads == 1:
        values = {"ms": ms.median, "ms low": ms.low, "ms high": ms.high}
        return values | {"ratio to U": ratio.median, "ratio low": ratio.low, "ratio high": ratio.high}
    name = f"ms, {threads} threads"
    return {name: ms.median, f"{name} low": ms.low, f"{name} high": ms.high}
