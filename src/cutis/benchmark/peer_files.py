"""A peer as ONNX files in a cache folder, fp32 and INT8 where they can be had, with the reason where they cannot.

Made once for each version of its package, by a process of its own, so that the process that measures has no torch in
it. A segmenter goes the way of our own networks (`untrained`). An encoder of the SAM family is exported at its one
side; its INT8 is onnxruntime's dynamic quantisation of its matrix products, which is what that library advises for
transformers, and its answer is compared with torch's before it is kept.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cutis.benchmark.peers import ENCODERS, build_peer, peer_named, version_of
from cutis.benchmark.products import Products, of_network
from cutis.benchmark.untrained import settle, tolerance_of, write_untrained
from cutis.errors import CutisError
from cutis.files import atomic_write

if TYPE_CHECKING:
    from torch import nn

__all__ = ["TOLERANCE", "PeerFiles", "make", "peer_files"]

TOLERANCE = 1e-3
"""Largest difference of an encoder's embedding between torch and ONNX, in units of its largest value."""
_FACTS = "facts.json"
_SMALLER = 0.9  # of the fp32 file: else next to nothing of it became INT8


class PeerFiles(NamedTuple):
    """`files`: precision -> file. `reasons`: precision -> why there is none. `products`: what one image costs."""

    folder: Path
    products: Products
    files: Mapping[str, Path]
    reasons: Mapping[str, str]


def peer_files(name: str, size: int, cache: Path) -> PeerFiles:
    """Of the peer `name` at `size` pixels (an encoder: at its own side), made if they are not in `cache` yet."""
    peer = peer_named(name)
    size = peer.side or size
    folder = cache / "peers" / f"{name}-{size}-{peer.package}-{version_of(peer)}"
    if not (folder / _FACTS).is_file():
        words = [sys.executable, "-m", __name__, name, str(size), str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode or not (folder / _FACTS).is_file():
            lines: Iterable[str] = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
            raise CutisError(f"the peer {peer.title} could not be made: {' '.join(lines)[:300]}")
    facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    files = {precision: folder / file for precision, file in facts["files"].items()}
    return PeerFiles(folder, Products(**facts["products"]), files, facts["reasons"])


def make(name: str, size: int, folder: Path) -> None:
    """Export the peer into `folder`; its facts are written last, so that half a folder is made again."""
    folder.mkdir(parents=True, exist_ok=True)
    products = of_network(build_peer(name, device="meta"), size)
    peer = peer_named(name)
    files: dict[str, Path] = {}
    if peer.in_torch:
        reasons = dict.fromkeys(("fp32", "int8"), peer.in_torch)
    elif name in ENCODERS:
        files, reasons = _write_encoder(build_peer(name), name, size, folder)
    else:
        settle(network := build_peer(name))
        files, reasons = _write_segmenter(network, name, size, folder)
    facts: dict[str, Any] = {"products": products._asdict(), "reasons": reasons}
    facts["files"] = {precision: path.name for precision, path in files.items()}
    atomic_write(folder / _FACTS, json.dumps(facts, indent=1) + "\n")


def _write_segmenter(network: nn.Module, name: str, size: int, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    try:
        return write_untrained(network, name, size, folder, tolerance=tolerance_of(peer_named(name).network))
    except Exception as error:  # the exporter's own, of many kinds: a peer that does not export is timed in torch
        return {}, dict.fromkeys(("fp32", "int8"), _line(error))


def _write_encoder(network: nn.Module, name: str, size: int, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    files = {precision: folder / f"{name}-{size}-{precision}.onnx" for precision in ("fp32", "int8")}
    picture = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            wanted = network(picture).numpy()
            torch.onnx.export(
                network, (picture,), files["fp32"], dynamo=True, input_names=["image"], output_names=["embedding"],
                external_data=False, verbose=False,
            )  # fmt: skip
        _check(files["fp32"], picture.numpy(), wanted)
    except Exception as error:  # as above
        files["fp32"].unlink(missing_ok=True)
        return {}, dict.fromkeys(files, _line(error))
    try:
        quantize_dynamic(
            files["fp32"], files["int8"], op_types_to_quantize=["MatMul", "Gemm"], per_channel=True,
            weight_type=QuantType.QInt8,
        )  # fmt: skip
    except Exception as error:  # the quantiser's own
        return {"fp32": files["fp32"]}, {"int8": _line(error)}
    if files["int8"].stat().st_size > _SMALLER * files["fp32"].stat().st_size:
        files["int8"].unlink()
        return {"fp32": files["fp32"]}, {"int8": "it is made of convolutions, and those need static quantisation"}
    return files, {}


def _check(file: Path, picture: Any, wanted: Any) -> None:
    import numpy as np

    from cutis.export.parity import open_session

    (found,) = open_session(file).run(None, {"image": picture})
    difference = float(np.abs(found - wanted).max() / np.abs(wanted).max())
    if not difference <= TOLERANCE:
        raise CutisError(f"its ONNX file differs from torch by {difference:.2g} of the largest value")


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


if __name__ == "__main__":
    make(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
