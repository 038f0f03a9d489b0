"""Write what the page loads: the bundled networks, the graphs around them, and one manifest of files and numbers.

The networks are the bundled files, byte for byte, the ones that `cutis analyze` uses by default; their metadata makes
the graphs. Everything is stored gzipped and the page unpacks it, so that a first visit loads the same from any server,
whether or not that compresses. The manifest holds the SHA-256 of every file as unpacked, and the numbers that the
page's own steps (clean-up, measures, quality) share with Python: it has none of them itself.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cutis import __version__
from cutis.analysis import abcd, overlay, pipeline, quality, words
from cutis.analysis.cascade import load_cascade
from cutis.analysis.classifier import LesionClassifier, SymmetryClassifier
from cutis.analysis.runtime import Segmenter, load_model
from cutis.errors import CutisError
from cutis.imaging import hair, read
from cutis.imaging.preprocessing import Preprocessing
from cutis.page import graphs
from cutis.records import ModelInfo

__all__ = ["write"]


class _Networks(NamedTuple):
    segmenter: Segmenter
    symmetry: SymmetryClassifier
    lesion: LesionClassifier


def write(folder: Path) -> dict[str, Any]:
    """Write `folder`/manifest.json and the files it names; answers the manifest.

    Raises `CutisError` where a bundled network asks for a step that the page does not have.
    """
    networks = _loaded()
    symmetry, lesion = networks.symmetry.rule, networks.lesion.rule
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.onnx.gz"):
        old.unlink()
    manifest = {
        "cutis": __version__,
        "models": {
            role: _stored(folder, network.info.name, _bundled(network.info)) | {"info": network.info.model_dump()}
            for role, network in networks._asdict().items()
        },
        "graphs": {name: _stored(folder, name, content) for name, content in _graphs(networks).items()},
        "symmetry": {"classes": symmetry.classes, "threshold": symmetry.threshold},
        "lesion": {
            "classes": lesion.classes,
            "coverage": lesion.conformal.coverage,
            "unlikeness_limit": lesion.unlikeness_limit,
        },
        "numbers": _numbers(networks.segmenter),
        "words": {"classes": words.CLASS_NAMES, "research_only": words.RESEARCH_ONLY, "never": words.NEVER},
        "colours": {
            "map": overlay.colour_scale(256),
            "line": overlay.LINE,
            "casing": overlay.CASING,
            "lesion": abcd.COLOURS,
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    return manifest


def _loaded() -> _Networks:
    cascade = load_cascade()
    if cascade.symmetry is None or cascade.lesion is None or not cascade.lesion.takes_map:
        raise CutisError("the page needs the bundled symmetry and class networks: install cutis again")
    networks = _Networks(load_model(), cascade.symmetry, cascade.lesion)
    _check(networks.segmenter.preprocessing, "none", networks.segmenter.info)
    for classifier in (networks.symmetry, networks.lesion):
        _check(classifier.preprocessing, classifier.masking, classifier.info)
    return networks


def _check(steps: Preprocessing, masking: str, info: ModelInfo) -> None:
    asked = [name for name in ("hair_removal", "clahe", "reinhard", "log_fusion") if getattr(steps, name)]
    if asked or masking != "none":
        what = ", ".join([*asked, *([f"masking {masking!r}"] if masking != "none" else [])])
        raise CutisError(f"{info.name} {info.version} asks for {what}, which the page cannot do: bundle another")


def _bundled(info: ModelInfo) -> bytes:
    """The bytes of a bundled network, found by its hash."""
    weights = Path(pipeline.__file__).parents[1] / "weights"
    for path in weights.glob("*.onnx"):
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() == info.sha256:
            return content
    raise CutisError(f"{info.name} {info.version} is not among the bundled weights: install cutis again")


def _graphs(networks: _Networks) -> dict[str, bytes]:
    segmenter, symmetry, lesion = networks
    sizes = {role: network.preprocessing.size for role, network in networks._asdict().items()}
    made = {
        "letterbox": graphs.letterbox(sizes),
        "mask": graphs.full_mask(pipeline._level(segmenter)),
        "symmetry-decision": graphs.symmetry_decision(symmetry.rule),
        "lesion-decision": graphs.class_decision(lesion.rule),
        "symmetry-map": graphs.laid_map(symmetry.preprocessing.size, symmetry.cells),
        "lesion-map": graphs.laid_map(lesion.preprocessing.size, lesion.cells),
    }
    return {name: graph.SerializeToString(deterministic=True) for name, graph in made.items()}


def _stored(folder: Path, name: str, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    file = f"{name}-{digest[:8]}.onnx.gz"
    (folder / file).write_bytes(gzip.compress(content, 9, mtime=0))
    return {"file": file, "sha256": digest, "bytes": len(content)}


def _numbers(segmenter: Segmenter) -> dict[str, Any]:
    """Limits and kernels of the steps that the page does itself, as Python has them."""
    side = segmenter.preprocessing.size
    unit = side / 1000  # quality looks for hair on a picture of the network's size
    return {
        "max_pixels": read.MAX_PIXELS,
        "read_side": pipeline.READ_SIDE,
        "shape_side": pipeline.SHAPE_SIDE,
        "level": pipeline._level(segmenter),
        "min_area_share": pipeline.MIN_AREA_SHARE,
        "min_confidence": pipeline.MIN_CONFIDENCE,
        "abcd": {
            "side": abcd.SIDE,
            "max_enlarged": abcd.MAX_ENLARGED,
            "smoothing": abcd.SMOOTHING,
            "half": abcd.HALF,
            "round": abcd.ROUND,
            "asymmetric": abcd.ASYMMETRIC,
            "min_share": abcd.MIN_SHARE,
            "max_colour_pixels": abcd.MAX_COLOUR_PIXELS,
        },
        "quality": {
            "blurred": quality.BLURRED,
            "dark": quality.DARK,
            "clipped_bright": quality.CLIPPED_BRIGHT,
            "clipped_dark": quality.CLIPPED_DARK,
            "hairy": quality.HAIRY,
            "corners": quality.CORNERS,
            "vignette": quality.VIGNETTE,
            "kernel": len(quality.MASK_KERNEL),
        },
        "hair": {
            "threshold": hair._THRESHOLD,
            "extent": hair._EXTENT * unit,
            "cross": _offsets(_cross(max(3, hair._odd(hair._CROSS * unit)))),
            "lines": [
                _offsets(hair._line(max(3, hair._odd(hair._STRAIGHT * unit)), k * np.pi / hair._DIRECTIONS))
                for k in range(hair._DIRECTIONS)
            ],
            "disc": _offsets(hair._disc(hair._odd(hair._MARGIN * unit))),
        },
        "border": {"smooth": words._SMOOTH, "uneven": words._UNEVEN},
        "shown": {"least": overlay.LEAST_SHOWN, "most": overlay.MOST_SHOWN},
    }


def _cross(side: int) -> NDArray[np.uint8]:
    kernel = np.zeros((side, side), np.uint8)
    kernel[side // 2], kernel[:, side // 2] = 1, 1
    return kernel


def _offsets(kernel: NDArray) -> list[list[int]]:
    """A structuring element -> its pixels as [right, down] of its centre."""
    return [[int(x) - kernel.shape[1] // 2, int(y) - kernel.shape[0] // 2] for y, x in np.argwhere(kernel)]
