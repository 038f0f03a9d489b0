"""Do two forms of one network give the same answer on the same pixels? Torch, ONNX and INT8, in numbers.

Sessions here are plain onnxruntime on one thread, without the analysis around them: what is compared is the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnxruntime
    from rich.table import Table

__all__ = [
    "Answers",
    "Feeds",
    "Parity",
    "answers",
    "compare",
    "compare_over",
    "open_session",
    "parity_table",
    "probabilities",
]

_BATCH = 8
Feeds = Mapping[str, NDArray]
"""Input name -> (N, ...): one row an image."""
Answers = Mapping[str, NDArray]
"""Output name -> (N, ...)."""
Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class Parity:
    """How far two answers on the same images are apart.

    `largest`, `mean`: absolute difference of the probabilities. `pixels`: share of all pixels whose side of the
    threshold differs. `dice`: mean Dice of the one's masks against the other's, two empty masks counting 1;
    `worst_dice`: the lowest.
    """

    images: int
    largest: float
    mean: float
    pixels: float
    dice: float
    worst_dice: float

    @property
    def order(self) -> tuple[float, ...]:
        """What makes one way of quantising better than another: the lesser."""
        return self.pixels, self.mean

    @property
    def said(self) -> dict[str, str]:
        """The same for a table."""
        return {"pixels differ": f"{self.pixels:.4%}", "mean |dp|": f"{self.mean:.2g}"}


def open_session(model: bytes | Path, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """The CPU, onnxruntime's own optimisations, threads that do not spin; no messages, errors are exceptions."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def answers(session: onnxruntime.InferenceSession, feeds: Feeds) -> Answers:
    """All outputs by name, of all rows in one batch."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def probabilities(session: onnxruntime.InferenceSession, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, S, S, 3) uint8 -> (N, 1, S, S) float32, all in one batch."""
    return session.run(["probability"], {"image": images})[0]


def compare(first: NDArray[np.float32], second: NDArray[np.float32], threshold: float) -> Parity:
    """(N, 1, S, S) probabilities, twice.

    >>> a = np.array([0.1, 0.9, 0.9, 0.4], np.float32).reshape(1, 1, 2, 2)
    >>> b = np.array([0.1, 0.9, 0.7, 0.6], np.float32).reshape(1, 1, 2, 2)
    >>> found = compare(a, b, threshold=0.5)
    >>> round(found.largest, 3), found.pixels, found.dice
    (0.2, 0.25, 0.8)
    """
    if first.shape != second.shape:
        raise ValueError(f"answers of different shapes cannot be compared: {first.shape} and {second.shape}")
    distance = np.abs(first.astype(np.float64) - second)
    one, other = ((p >= threshold).reshape(len(p), -1) for p in (first, second))
    total = one.sum(1) + other.sum(1)
    dice = np.where(total == 0, 1.0, 2 * (one & other).sum(1) / np.maximum(total, 1))
    return Parity(
        len(first),
        float(distance.max()),
        float(distance.mean()),
        float((one != other).mean()),
        float(dice.mean()),
        float(dice.min()),
    )


def compare_over(first: Answer, second: Answer, images: NDArray[np.uint8], threshold: float) -> Parity:
    """(N, S, S, 3) uint8 through both, a few at a time -> one `Parity` over all."""
    chunks = [images[i : i + _BATCH] for i in range(0, len(images), _BATCH)]
    parts = [compare(first(chunk), second(chunk), threshold) for chunk in chunks]
    shares = np.array([part.images for part in parts]) / len(images)

    def mean(name: str) -> float:
        return float(np.dot(shares, [getattr(part, name) for part in parts]))

    return Parity(
        images=len(images),
        largest=max(part.largest for part in parts),
        mean=mean("mean"),
        pixels=mean("pixels"),
        dice=mean("dice"),
        worst_dice=min(part.worst_dice for part in parts),
    )


def parity_table(rows: dict[str, Parity]) -> Table:
    """A row a pair ('torch = fp32', 'fp32 = int8'), for the terminal."""
    from rich.table import Table

    table = Table("same pixels", "images", "max |dp|", "mean |dp|", "pixels differ", "Dice", "lowest")
    for name, p in rows.items():
        table.add_row(
            name,
            str(p.images),
            f"{p.largest:.2g}",
            f"{p.mean:.2g}",
            f"{p.pixels:.4%}",
            f"{p.dice:.4f}",
            f"{p.worst_dice:.4f}",
        )
    return table
