"""`cutis export`, the order of its steps: open the run, write fp32, calibrate, write INT8, print how far they agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cutis.data.samples import Sample, choose
from cutis.data.synthetic import draw_lesion
from cutis.errors import CutisError
from cutis.imaging.frame import letterbox
from cutis.imaging.preprocessing import Preprocessing
from cutis.imaging.read import read_image, read_mask
from cutis.terminal import printer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from cutis.export.int8 import Quantized
    from cutis.export.onnx import Weights
    from cutis.recipes.run import Run

__all__ = ["JUDGING", "export", "export_run", "load", "progress", "show_choice", "square_masks"]

JUDGING = 128
_LOSS = 0.003  # of mean Dice: what INT8 may cost before fine-tuning for it is advised
_DRAWN = 12


def export(
    folder: Path, output: Path, *, symmetry: Sequence[Path], cache: Path, executorch: bool = False, **options: Any
) -> int:
    """Export the run in `folder`, whatever its task; `options` are those of `export_run`."""
    from cutis.recipes.folder import recipe_of, task_of

    task = task_of(folder)
    if options["calibration"] < 1:
        raise CutisError(
            f"--calibration is {options['calibration']}: give the number of images to calibrate on, 512 for example"
        )
    network = "promptable" if recipe_of(folder) == "prompting" else task
    if executorch and network != "segmentation":
        raise CutisError(f"--executorch is for segmenters, and {folder} is a run of task {network}: leave it out")
    if executorch:
        from cutis.export.executorch import check_installed

        check_installed()  # said before minutes of work
    if task == "segmentation":
        if symmetry:
            raise CutisError(f"{folder} is the run of a segmenter: leave --symmetry-model out")
        if network == "promptable":
            from cutis.export.promptable_verb import export_promptable_run

            return export_promptable_run(folder, output, **options)
        return export_run(folder, output, executorch=executorch, **options)
    from cutis.export.classifier_verb import export_classifier_run

    return export_classifier_run(folder, output, symmetry=symmetry, cache=cache, **options)


def export_run(
    folder: Path,
    output: Path,
    *,
    name: str | None,
    version: str,
    half: bool,
    data: Path | None,
    calibration: int,
    seed: int,
    executorch: bool = False,
) -> int:
    """Write `<name>-fp32.onnx` and, where there is `data` to calibrate with, `<name>-int8.onnx`; print the parity. With
    `executorch`, programs (`.pte`) beside them.

    Calibration uses `calibration` images of the run's training part, as many of each data set as they allow; what INT8
    loses is measured on up to 128 of its validation part. Without data, parity is measured on drawn lesions.
    """
    from cutis.export.executorch_verb import write_programs
    from cutis.export.onnx import export_onnx
    from cutis.recipes.run import load_segmenter

    console = printer()
    run = load_segmenter(folder)
    parts = _parts(run, data) if data else None  # a wrong folder is said before minutes of work
    name = name or run.name
    fp32 = output / f"{name}-fp32.onnx"
    weights: Weights = "float16" if half else "float32"
    exported = export_onnx(
        run.network, run.preprocessing, fp32, name=name, version=version, threshold=run.threshold, weights=weights
    )
    console.print(
        f"{fp32}: opset {exported.opset}, {_megabytes(exported.size)}, weights in {weights}, SHA-256 {exported.sha256}"
    )
    if parts is None:
        drawn = _drawn(run.preprocessing)
        console.print(_parity(run, fp32, None, drawn))
        if executorch:
            write_programs(run, output, name=name, version=version, images=None, judging=drawn)
        return 0
    judges = choose(parts["validation"], JUDGING, seed)
    judging = load(judges, run.preprocessing, "judging")
    images = load(choose(parts["train"], calibration, seed), run.preprocessing, "calibration")
    int8 = output / f"{name}-int8.onnx"
    made = _quantize(fp32, int8, images, judging)
    show_choice(console, made)
    console.print(_lost(run, data, fp32, made, judging, judges), soft_wrap=True, markup=False)
    console.print(f"{made.path}: {_megabytes(made.size)}, SHA-256 {made.sha256}")
    console.print(_parity(run, fp32, int8, judging))
    if executorch:
        write_programs(run, output, name=name, version=version, images=images, judging=judging)
    return 0


def _parts(run: Run, data: Path) -> dict[str, tuple[Sample, ...]]:
    from cutis.recipes.run import parts_of

    parts = parts_of(run.config, data)
    for part in ("train", "validation"):
        if not parts.get(part):
            raise CutisError(f"{data} holds no {part} images of {', '.join(run.config.datasets)}: INT8 needs some")
    return parts


def load(samples: Sequence[Sample], preprocessing: Preprocessing, what: str) -> NDArray[np.uint8]:
    """(N, S, S, 3) uint8: as the network sees them."""
    with progress() as tell:
        squares = []
        for sample in samples:
            squares.append(preprocessing.apply(read_image(sample.image).pixels).square)
            tell(f"reading {what} images", len(squares), len(samples))
    return np.stack(squares)


def _lost(
    run: Run, data: Path | None, fp32: Path, made: Quantized, images: NDArray[np.uint8], samples: Sequence[Sample]
) -> str:
    """Dice of both files against the masks of `images`, in the network's squares; what to do if INT8 loses much."""
    from cutis.export.parity import open_session, probabilities
    from cutis.metrics.overlap import count, dice

    truth = square_masks(samples, run.preprocessing.size)

    def mean_dice(path: Path) -> float:
        session = open_session(path)
        found = np.concatenate([probabilities(session, images[i : i + 8]) for i in range(0, len(images), 8)])
        return float(dice(count(found[:, 0] >= run.threshold, truth)).mean())

    before, after = mean_dice(fp32), mean_dice(made.path)
    said = f"Dice on these {len(images)} validation images: fp32 {before:.4f}, INT8 {after:.4f} ({after - before:+.4f})"
    if before - after <= _LOSS:
        return said
    way = made.chosen.candidate
    flags = f"--quantization.ranges {way.ranges} --quantization.float_head {str(bool(way.float_last)).lower()}"
    return (
        f"{said}: more than {_LOSS} is lost; fine-tune with: cutis train quantization {run.folder} --config "
        f"configs/sparsesegnet/quantization.yaml --data {data} --output {run.folder}-quantized {flags}"
    )


def square_masks(samples: Sequence[Sample], size: int) -> NDArray[np.bool_]:
    """(N, S, S): the masks of samples that have one, as the network sees them."""
    masks = [read_mask(sample.mask) for sample in samples if sample.mask is not None]
    return np.stack([letterbox(mask.astype(np.uint8) * np.uint8(255), size)[0] >= 128 for mask in masks])


def _drawn(preprocessing: Preprocessing) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    pictures = [draw_lesion(rng, width=320, height=240, symmetry=2, hairs=4 * i).image for i in range(_DRAWN)]
    return np.stack([preprocessing.apply(picture).square for picture in pictures])


def _quantize(fp32: Path, int8: Path, images: NDArray[np.uint8], judging: NDArray[np.uint8]) -> Quantized:
    from cutis.export.int8 import quantize

    with progress() as tell:
        return quantize(
            fp32, int8, calibration={"image": images}, judging={"image": judging},
            progress=lambda done, total: tell("calibrating", done, total),
        )  # fmt: skip


def show_choice(console: Console, made: Quantized) -> None:
    """The table of the ways to quantise that were tried."""
    from rich.table import Column, Table

    told = list(made.chosen.loss.said)
    table = Table(
        Column("INT8", no_wrap=True),
        *told,
        "time of fp32's",
        "size",
        caption=f"calibrated on {made.calibrated_on} images",
    )
    for trial in made.trials:
        mark = " (written)" if trial is made.chosen else ""
        table.add_row(
            f"{trial.candidate}{mark}", *trial.loss.said.values(), f"{trial.time:.2f}", _megabytes(trial.size)
        )
    console.print(table)


def _parity(run: Run, fp32: Path, int8: Path | None, images: NDArray[np.uint8]) -> Table:
    from cutis.export.onnx import torch_probabilities
    from cutis.export.parity import compare_over, open_session, parity_table, probabilities

    sessions = {path: open_session(path) for path in (fp32, int8) if path}

    def torch_answers(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return torch_probabilities(run.network, run.preprocessing, batch)

    def onnx_answers(path: Path) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
        return lambda batch: probabilities(sessions[path], batch)

    rows = {"torch = fp32": compare_over(torch_answers, onnx_answers(fp32), images, run.threshold)}
    if int8:
        rows["fp32 = int8"] = compare_over(onnx_answers(fp32), onnx_answers(int8), images, run.threshold)
        rows["torch = int8"] = compare_over(torch_answers, onnx_answers(int8), images, run.threshold)
    return parity_table(rows)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2f} MB"


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr that follows (what, done, total)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("")
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
