"""What is timed: our bundled models, files that `cutis export` wrote, and peers by name; each opened in one way.

A `model` is a file of cutis's contract, ours or a peer's, and runs as the analysis runs it, in any of its runtimes. An
`encoder` is a peer's image encoder under ONNX Runtime. What could not be exported runs in PyTorch, and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from cutis.analysis.runtime import DEFAULT_MODEL, list_models, load_model
from cutis.analysis.runtimes import DEFAULT_RUNTIME
from cutis.benchmark.forward import forward, titled
from cutis.benchmark.peer_files import peer_files
from cutis.benchmark.peers import ENCODERS, PEERS, build_peer, peer_named
from cutis.benchmark.products import Products, of_file
from cutis.errors import CutisError
from cutis.export.parity import open_session

__all__ = ["OURS", "Contender", "Kind", "contenders_of", "open_program"]

Kind = Literal["model", "encoder", "torch"]
OURS = (DEFAULT_MODEL, "segmenter-fp32")
"""What ours is, unless other models are named; every ratio to ours is to the first."""


class Contender(NamedTuple):
    """`what` to open: a model's name or file, an encoder's file, a peer's name for torch. `side` in pixels.

    `peer`: its name, where it is one. `file`: its bytes on the disk, where there is a file. `facts`: JSON-ready.
    """

    title: str
    kind: Kind
    what: str
    side: int
    products: Products
    facts: Mapping[str, Any]
    peer: str | None = None
    file: Path | None = None


def open_program(kind: Kind, what: str, side: int, *, threads: int, runtime: str) -> Callable[[], object]:
    """One forward of a batch of one on random pixels, under `threads` threads."""
    if kind == "model":
        return forward(load_model(what, threads=threads, runtime=runtime))
    picture = np.random.default_rng(0).standard_normal((1, 3, side, side), dtype=np.float32)
    if kind == "encoder":
        session = open_session(Path(what), threads=threads)
        feed = {session.get_inputs()[0].name: picture}
        return lambda: session.run(None, feed)
    return _in_torch(what, picture, threads)


def contenders_of(names: Sequence[str], *, size: int, cache: Path, runtime: str = DEFAULT_RUNTIME) -> list[Contender]:
    """Of models (bundled names or files) and peers by name; a peer gives one contender for each precision it has.

    CutisError where a name is neither. Peers' files are made in `cache` where they are not there yet.
    """
    found: list[Contender] = []
    models = [name for name in names if name not in PEERS]
    for name in models:
        if name not in list_models() and not Path(name).is_file():
            raise CutisError(
                f"no model or peer {name!r}: give an ONNX file that cutis exported, or one of "
                f"{', '.join((*list_models(), *PEERS))}"
            )
    opened = titled([load_model(model, runtime=runtime) for model in models])
    for model, (title, segmenter) in zip(models, opened.items(), strict=True):
        file = _file_of(model)
        facts = {**segmenter.info.model_dump(), "size": segmenter.preprocessing.size, "runs in": segmenter.runtime}
        found.append(Contender(title, "model", model, segmenter.preprocessing.size, of_file(file), facts, None, file))
    for name in names:
        if name in PEERS:
            found += _of_peer(name, size, cache, runtime)
    return found


def _file_of(model: str) -> Path:
    """Of a model that could be opened: a bundled one lies under its name."""
    return Path(model) if Path(model).is_file() else Path(str(resources.files("cutis") / "weights" / f"{model}.onnx"))


def _of_peer(name: str, size: int, cache: Path, runtime: str) -> list[Contender]:
    peer, made = peer_named(name), peer_files(name, size, cache)
    side = peer.side or size
    kind: Kind = "encoder" if name in ENCODERS else "model"
    runs_in = DEFAULT_RUNTIME if kind == "encoder" else runtime
    package = {"package": peer.package, "size": side, "weights": "random"}
    found = [
        Contender(
            f"{peer.title} {precision}", kind, str(file), side, made.products,
            {**package, "precision": precision, "runs in": runs_in}, name, file,
        )
        for precision, file in made.files.items()
    ]  # fmt: skip
    if "fp32" not in made.files:
        facts = {**package, "precision": "fp32", "runs in": "torch", "not exported": made.reasons["fp32"]}
        found.append(Contender(f"{peer.title} fp32, torch", "torch", name, side, made.products, facts, name))
    elif made.reasons:
        found[0] = found[0]._replace(facts={**found[0].facts, "not in INT8": made.reasons["int8"]})
    return found


def _in_torch(name: str, picture: np.ndarray, threads: int) -> Callable[[], object]:
    import torch

    network, image = build_peer(name, attention="sdpa"), torch.from_numpy(picture)

    def program() -> object:
        torch.set_num_threads(threads)  # of the whole process: another program may have left its own
        with torch.inference_mode():
            return network(image)

    return program
