"""A trained classifier as one ONNX file: pixels in; logits, its Grad-CAM++ map and its unlikeness out.

SE-LCN, Sec. 4.1.2 and 4.1.3. The file holds `network.explain` with the normalisation before it, so the map that a
report shows, and that the lesion network is fed with, is computed by the same graph as the answer. It is checked as a
segmenter's is (`onnx.write_form`): its answers must be torch's at two batch sizes, or nothing is written.

The metadata lacks, until `complete` adds them, the figures that are fitted to the file's own answers (`decision`).
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cutis.data.labels import Task
from cutis.export.onnx import TOLERANCE, Exported, Form, Normalise, Weights, describe, standardised, write_form
from cutis.export.parity import Answers, Feeds, open_session
from cutis.export.unlikeness import Unlikeness, Whitening
from cutis.files import UNSEALED, atomic_write, seal
from cutis.imaging.cells import Cells
from cutis.imaging.lesion_area import Masking
from cutis.imaging.preprocessing import Preprocessing
from cutis.metrics.calibration import softmax

__all__ = ["complete", "export_classifier", "torch_answers", "torch_features"]

OTHERS: dict[Weights, float] = {"float32": 2e-3, "float16": 5e-2}
"""Allowed difference of a map, and of unlikeness as a share of it: both divide by a spread, which enlarges rounding."""


class _Deployed(nn.Module):
    """uint8 squares and, where the network takes one, the symmetry network's map -> the outputs of the contract."""

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, unlikeness: nn.Module | None) -> None:
        super().__init__()
        self.network, self.normalise, self.unlikeness = network, Normalise(preprocessing), unlikeness

    def forward(self, image: Tensor, symmetry_activation: Tensor | None = None) -> tuple[Tensor, ...]:
        maps = () if symmetry_activation is None else (symmetry_activation,)
        found = self.network.explain(self.normalise(image), *maps)
        more = () if self.unlikeness is None else (self.unlikeness(found.features),)
        return found.logits.float(), found.activation.float(), *more


def export_classifier(
    network: nn.Module,
    preprocessing: Preprocessing,
    path: Path,
    *,
    task: Task,
    classes: Sequence[str],
    masking: Masking,
    name: str,
    version: str,
    whitening: Whitening | None,
    map_shape: tuple[int, int] | None,
    cells: Cells,
    weights: Weights = "float32",
    facts: Mapping[str, str] | None = None,
) -> Exported:
    """Write `network` to `path`; raise a `CutisError` and write nothing if the graph answers differently.

    `network.explain` maps normalised (B, 3, S, S) and, where `map_shape` is given, a map (B, 1, *map_shape) to
    `Explained`; it is not changed. `whitening`: of the lesion network, which then tells `unlikeness`. `cells`: where
    the map's cells look. `facts`: further metadata.
    """
    network = copy.deepcopy(network).cpu().float().eval()
    head = None if whitening is None else Unlikeness(whitening)
    size = preprocessing.size
    inputs = {"image": torch.zeros(2, size, size, 3, dtype=torch.uint8)}
    if map_shape is not None:
        inputs["symmetry_activation"] = torch.zeros(2, 1, *map_shape)
    allowed = {"probabilities": TOLERANCE[weights], "maps": OTHERS[weights]}
    if head is not None:
        allowed["unlikeness"] = OTHERS[weights]
    form = Form(
        _Deployed(network, preprocessing, head).eval(),
        inputs,
        ("logits", "activation", *(() if head is None else ("unlikeness",))),
        lambda feeds: torch_answers(network, preprocessing, feeds, head),
        _differences,
        allowed,
    )
    known = describe(preprocessing, task=task, name=name, version=version)
    own = {"classes": json.dumps(list(classes)), "masking": masking, "cells": cells.model_dump_json()}
    return write_form(form, path, weights=weights, facts={**known, **own, **(facts or {})})


def complete(path: Path, output: Path, facts: Mapping[str, str]) -> str:
    """Write the file at `path` to `output` with `facts` (without `cutis.`) added to its metadata; its new SHA-256."""
    import onnx

    model = onnx.load(path)
    known = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(
        model, known | {f"cutis.{key}": value for key, value in {**facts, "seal": UNSEALED}.items()}
    )
    content = seal(model.SerializeToString())
    open_session(content)  # what cannot be opened is not written
    atomic_write(output, content)
    return hashlib.sha256(content).hexdigest()


def torch_answers(
    network: nn.Module, preprocessing: Preprocessing, feeds: Feeds, unlikeness: nn.Module | None
) -> Answers:
    """Torch's own answer to the inputs of the file, normalised as in training; what parity is measured to."""
    with torch.no_grad():
        found = _explain(network, preprocessing, feeds)
        named = {"logits": found.logits.float().numpy(), "activation": found.activation.float().numpy()}
        return named if unlikeness is None else {**named, "unlikeness": unlikeness(found.features).numpy()}


def torch_features(network: nn.Module, preprocessing: Preprocessing, feeds: Feeds) -> NDArray[np.float32]:
    """(N, D): the pooled last features."""
    with torch.no_grad():
        return _explain(network, preprocessing, feeds).features.float().numpy()


def _explain(network: nn.Module, preprocessing: Preprocessing, feeds: Feeds) -> Any:
    maps = [torch.from_numpy(feeds["symmetry_activation"])] if "symmetry_activation" in feeds else []
    return network.explain(standardised(feeds["image"], preprocessing), *maps)


def _differences(found: Answers, wanted: Answers) -> dict[str, float]:
    p, q = (softmax(side["logits"], 1.0) for side in (found, wanted))
    differences = {"probabilities": float(np.abs(p - q).max())}
    same = p.argmax(1) == q.argmax(1)  # a map is of the likeliest class
    differences["maps"] = float(np.abs(found["activation"] - wanted["activation"])[same].max(initial=0.0))
    if "unlikeness" in wanted:
        far, reference = found["unlikeness"], wanted["unlikeness"]
        differences["unlikeness"] = float((np.abs(far - reference) / np.maximum(reference, 1e-6)).max())
    return differences
