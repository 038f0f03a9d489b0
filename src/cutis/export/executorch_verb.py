"""`cutis export --executorch`, after the ONNX files: the same segmenter as programs, and their parity with torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cutis.terminal import printer

if TYPE_CHECKING:
    from cutis.recipes.run import Run

__all__ = ["write_programs"]

Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def write_programs(
    run: Run, output: Path, *, name: str, version: str, images: NDArray[np.uint8] | None, judging: NDArray[np.uint8]
) -> None:
    """Write `<name>-fp32.pte` and, where there are `images` to calibrate on, `<name>-int8.pte`; print the parity.

    `judging`: (N, S, S, 3) uint8, none of them in `images`.
    """
    from cutis.export.executorch import Program, export_executorch, quantize_executorch
    from cutis.export.onnx import torch_probabilities
    from cutis.export.parity import compare_over, parity_table
    from cutis.export.verb import progress

    console = printer()
    described: dict[str, Any] = {"name": name, "version": version, "threshold": run.threshold}
    written = [export_executorch(run.network, run.preprocessing, output / f"{name}-fp32.pte", **described)]
    if images is not None:
        with progress() as tell:
            made = quantize_executorch(
                run.network, run.preprocessing, output / f"{name}-int8.pte", **described, calibration=images,
                progress=lambda done, total: tell("calibrating", done, total),
            )  # fmt: skip
        written.append(made)
    for one in written:
        console.print(f"{one.path}: {one.size / 1e6:.2f} MB, SHA-256 {one.sha256}")

    def torch_answers(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return torch_probabilities(run.network, run.preprocessing, batch)

    fp32, *quantised = (Program(one.path.read_bytes()) for one in written)
    pairs: dict[str, tuple[Answer, Answer]] = {"torch = fp32.pte": (torch_answers, fp32)}
    for int8 in quantised:
        pairs |= {"fp32.pte = int8.pte": (fp32, int8), "torch = int8.pte": (torch_answers, int8)}
    rows = {said: compare_over(one, other, judging, run.threshold) for said, (one, other) in pairs.items()}
    console.print(parity_table(rows))
