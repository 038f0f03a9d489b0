"""`cutis export` of a promptable network's run: four files, and how far INT8's masks are from fp32's."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cutis.data.samples import Sample, choose
from cutis.errors import CutisError
from cutis.export.int8 import quantize
from cutis.export.onnx import Weights
from cutis.export.parity import answers, open_session
from cutis.export.promptable import decoder_feeds, export_promptable, judge_decoder, judge_encoder
from cutis.export.verb import JUDGING, load, progress, show_choice, square_masks
from cutis.imaging.preprocessing import Preprocessing
from cutis.models.promptable import PromptableNet
from cutis.recipes.run import load_run, parts_of
from cutis.terminal import printer

__all__ = ["export_promptable_run"]

_ROWS = 16


def export_promptable_run(
    folder: Path, output: Path, *, name: str | None, version: str, half: bool, data: Path | None, calibration: int,
    seed: int,
) -> int:  # fmt: skip
    """Write `<name>-encoder-fp32.onnx` and `<name>-decoder-fp32.onnx` and, where there is `data` to calibrate with,
    both in INT8."""
    console, run = printer(), load_run(folder)
    if not isinstance(run.network, PromptableNet):
        raise CutisError(f"{folder} was trained by prompts but holds a {run.config.network.name}: export another run")
    parts = parts_of(run.config, data) if data else {}
    if data and not (parts.get("train") and parts.get("validation")):
        raise CutisError(f"{data} holds no training and validation images of the run: INT8 needs some")
    stem = name or run.name
    paths = {part: output / f"{stem}-{part}-fp32.onnx" for part in ("encoder", "decoder")}
    weights: Weights = "float16" if half else "float32"
    made = export_promptable(
        run.network, run.preprocessing, *paths.values(), name=stem, version=version, threshold=run.threshold,
        weights=weights,
    )  # fmt: skip
    for one in made:
        far = ", ".join(f"{what} {value:.2g}" for what, value in one.differences.items())
        console.print(f"{one.path}: opset {one.opset}, {one.size / 1e6:.2f} MB, from torch's: {far}")
    if not data:
        return 0
    shown = {
        "calibration": choose(parts["train"], calibration, seed),
        "judging": choose(parts["validation"], JUDGING, seed),
    }
    images = {what: {"image": load(samples, run.preprocessing, what)} for what, samples in shown.items()}
    asked = {
        what: decoder_feeds(
            _embedded(paths["encoder"], images[what]["image"]), _masks(samples, run.preprocessing), seed
        )
        for what, samples in shown.items()
    }
    prompts = {key: value for key, value in asked["judging"].items() if key != "embedding"}
    judges = {
        "encoder": judge_encoder(paths["encoder"], paths["decoder"], prompts, run.threshold),
        "decoder": judge_decoder(paths["decoder"], run.threshold),
    }
    for part, feeds in (("encoder", images), ("decoder", asked)):
        with progress() as tell:
            found = quantize(
                paths[part], output / f"{stem}-{part}-int8.onnx", **feeds, judge=judges[part],
                progress=partial(tell, f"calibrating the {part}"),
            )  # fmt: skip
        show_choice(console, found)
        console.print(f"{found.path}: {found.size / 1e6:.2f} MB, SHA-256 {found.sha256}")
    return 0


def _embedded(encoder: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    session = open_session(encoder)
    chunks = [images[start : start + _ROWS] for start in range(0, len(images), _ROWS)]
    return np.concatenate([answers(session, {"image": chunk})["embedding"] for chunk in chunks])


def _masks(samples: list[Sample], steps: Preprocessing) -> torch.Tensor:
    """(N, 1, S, S) of 0 and 1."""
    return torch.from_numpy(square_masks(samples, steps.size)).unsqueeze(1).float()
