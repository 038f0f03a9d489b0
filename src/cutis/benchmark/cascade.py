"""`cutis benchmark cascade`: symmetry and class of a lesion after its mask, with both maps, against U, on one thread.

Target, in units of U in the same run: 0.6 for INT8. What is timed is what the analysis does between the mask and the
record (`analysis/cascade.py`): masking and letterboxing the picture twice, both networks, the calibrated answers, both
maps laid on the picture. The networks alone stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cutis.analysis.batch import single_threaded_opencv
from cutis.analysis.cascade import Cascade, ask, load_cascade
from cutis.benchmark.latency import Protocol, interleave
from cutis.benchmark.machine import watching
from cutis.benchmark.network import timed_rows
from cutis.benchmark.reference import reference
from cutis.benchmark.result import Result, progress, publish
from cutis.data.synthetic import draw_lesion
from cutis.errors import CutisError

__all__ = ["TARGET", "WHOLE", "measure_cascade"]

WIDTH, HEIGHT = 1024, 768
TARGET = 0.6
WHOLE = "symmetry, class and both maps, after the mask"


def measure_cascade(symmetry: str | None, lesion: str | None, *, rounds: int, cache: Path, output: Path | None) -> int:
    """Time both networks (names or files; the bundled ones unless given) against U, print and write cascade.json."""
    cascade = load_cascade(symmetry, lesion)
    if cascade.symmetry is None or cascade.lesion is None:
        raise CutisError("a cascade is a symmetry and a class model, and one is not there: give --symmetry-model and "
                         "--class-model")  # fmt: skip
    infos = {name: model.info for name, model in cascade._asdict().items()}
    programs: dict[str, Callable[[], object]] = {"U": reference(cache), WHOLE: _whole(cascade), **_alone(cascade)}
    protocol = Protocol(warmup=2, rounds=rounds, calls=3)
    with single_threaded_opencv(), watching() as watch, progress("cascade against U") as tell:
        times = interleave(programs, protocol, tell=tell)
    int8 = all(info.precision == "int8" for info in infos.values())
    facts: dict[str, Any] = {name: info.model_dump() for name, info in infos.items()}
    for name, model in cascade._asdict().items():
        facts[name] |= {"size": model.preprocessing.size, "masking": model.masking}
    result = Result.of(
        "cascade",
        timed_rows(times, {WHOLE: TARGET} if int8 else {}),
        watch,
        one_thread=True,
        protocol={**protocol._asdict(), "threads": 1, "batch": 1, "order": list(programs)},
        facts={**facts, "picture": f"drawn lesion, {WIDTH}x{HEIGHT}, with its own mask"},
    )
    publish(result, output)
    return 0


def _whole(cascade: Cascade) -> Callable[[], object]:
    drawn = draw_lesion(np.random.default_rng(2026), width=WIDTH, height=HEIGHT, symmetry=1, hairs=0)
    return lambda: ask(cascade, drawn.image, drawn.mask, lambda name: None)


def _alone(cascade: Cascade) -> dict[str, Callable[[], object]]:
    """Each network's own forward, as the analysis calls it."""
    first, second = cascade.symmetry, cascade.lesion
    assert first is not None and second is not None
    rng = np.random.default_rng(0)
    squares = [rng.integers(0, 256, (m.preprocessing.size,) * 2 + (3,), dtype=np.uint8) for m in (first, second)]
    activation = rng.random(second.symmetry_map_size, dtype=np.float32) if second.symmetry_map_size else None
    return {
        f"symmetry network: {first.info.name} {first.info.precision}": lambda: first.answer(squares[0]),
        f"lesion network: {second.info.name} {second.info.precision}": lambda: second.answer(squares[1], activation),
    }
