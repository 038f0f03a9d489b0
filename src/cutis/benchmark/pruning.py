"""`cutis prune`: the instruments that measure each step (masks, INT8 files, their times in turns), and the table.

SparseSegNet, Sec. 3.1-3.2 and 4.3. The procedure is `recipes/pruning.py`; it is handed what it may not import.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cutis import __version__
from cutis.analysis.pipeline import predict_mask
from cutis.analysis.runtime import load_model
from cutis.benchmark import machine
from cutis.benchmark.forward import forward
from cutis.benchmark.latency import OWN_TIME, Protocol, interleave, ratio_to, spread
from cutis.data.samples import Sample, choose
from cutis.errors import CutisError
from cutis.evaluation.evaluate import evaluate
from cutis.evaluation.predictors import NetworkModel
from cutis.evaluation.tables import markdown_table, write_json
from cutis.files import atomic_write
from cutis.recipes.config import load_config, parse_flags
from cutis.recipes.pruning_config import PruningConfig

if TYPE_CHECKING:
    from cutis.recipes.pruning import Accuracy, Instruments, Latency, Pruned
    from cutis.recipes.run import Run

__all__ = ["instruments", "prune_from_file", "table_of"]

_WARMUP, _CALLS, _SEED = 2, 3, 2026


def prune_from_file(
    run: Path, flags: Sequence[str], *, config: Path, data: Path, output: Path, teacher: Path | None, cache: Path,
    resume: bool, accelerator: str,
) -> int:  # fmt: skip
    """`prune` as the command line calls it: print the table, write it beside the run folder that it is of."""
    from cutis.recipes.pruning import prune

    settings = load_config(config, parse_flags(flags), PruningConfig)
    rows = prune(
        settings, run, data, output, instruments=instruments(settings.calibration), teacher=teacher, cache=cache,
        resume=resume, accelerator=accelerator,
    )  # fmt: skip
    command = shlex.join(["cutis", *sys.argv[1:]])
    text = table_of(rows)
    origin = {"run": str(run), "command": command, "cutis": __version__, "machine": machine.describe()}
    origin["config"] = settings.model_dump(mode="json")
    origin["data"] = {"teacher": str(teacher) if teacher else "the unpruned network", "folder": str(data)}
    write_json(output / "pruning.json", {**origin, "rows": [asdict(row) for row in rows]})
    atomic_write(output / "pruning.md", f"`{command}`\n\n{text}")
    sys.stdout.write(text)
    print(f"written: {output}; next: cutis evaluate {output} --data {data}, cutis export {output} --data {data}")
    return 0


def instruments(calibration: int) -> Instruments:
    """What measures: masks through the pipeline that analyses images, INT8 files as `cutis export` writes them."""
    from cutis.recipes.pruning import Instruments

    def quantise(run: Run, training: tuple[Sample, ...], path: Path) -> None:
        _quantise(run, training, path, calibration)

    return Instruments(_judge, quantise, _time)


def table_of(rows: Sequence[Pruned]) -> str:
    """Markdown: each step's costs, in shares of the unpruned network's too, and its accuracy before and after.

    HD95 is in pixels at 256 x 256; a step that was taken back is the last line that is not part of the result.
    """
    first = rows[0]
    header = ["step", "channels", "parameters", "MACs", "INT8 ms", "of unpruned"]
    header += ["Dice cut", "HD95 cut", "Dice tuned", "HD95 tuned", "kept"]
    lines = []
    for row in rows:
        width = ", ".join(f"{was}→{left}" for was, left in row.channels.values())
        cost = [_share(row.parameters, first.parameters, 1e6, "M"), _share(row.macs, first.macs, 1e9, "G")]
        time = [f"{row.latency.milliseconds:.2f}", f"{row.latency.ratio:.3f}"]
        cut = [f"{row.before.dice:.4f}", f"{row.before.hd95:.2f}"] if row.before else ["", ""]
        tuned = [f"{row.after.dice:.4f}", f"{row.after.hd95:.2f}"]
        lines.append([row.step, width, *cost, *time, *cut, *tuned, "yes" if row.kept else "NO, taken back"])
    return markdown_table(header, lines) + "\n"


def _share(value: int, whole: int, unit: float, name: str) -> str:
    return f"{value / unit:.3f} {name}" + (f" ({value / whole - 1:+.1%})" if value != whole else "")


def _judge(run: Run, samples: tuple[Sample, ...]) -> Accuracy:
    """Means over the images, through the pipeline that `cutis evaluate` uses."""
    import torch

    from cutis.recipes.pruning import Accuracy

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = NetworkModel(run.network, run.preprocessing, threshold=run.threshold, device=device)
    found = evaluate(lambda sample: predict_mask(sample.image, model), samples, workers=1)
    if found.failures:
        failed = found.failures[0]
        raise CutisError(f"{failed.dataset} {failed.id} cannot be measured: {failed.reason}; run 'cutis data check'")
    means = [float(np.mean([row.measures[name] for row in found.rows])) for name in ("dice", "hd95_256")]
    return Accuracy(*means)


def _quantise(run: Run, training: tuple[Sample, ...], path: Path, calibration: int) -> None:
    """The INT8 file of a run, as `cutis export` makes it, judged on other training images than it is calibrated on."""
    from cutis.export.int8 import quantize
    from cutis.export.onnx import export_onnx
    from cutis.export.verb import load

    chosen = choose(training, calibration + max(1, calibration // 4), _SEED)
    images = load(chosen, run.preprocessing, "calibration")
    if len(images) <= calibration:
        raise CutisError(f"{len(images)} training images are too few for --calibration {calibration}: give fewer")
    with tempfile.TemporaryDirectory() as folder:
        fp32 = Path(folder) / "fp32.onnx"
        export_onnx(run.network, run.preprocessing, fp32, name=run.name, version="pruning", threshold=run.threshold)
        quantize(fp32, path, calibration={"image": images[:calibration]}, judging={"image": images[calibration:]})


def _time(files: Mapping[str, Path], rounds: int) -> dict[str, Latency]:
    """One thread, one image, in turns; ratios to the first, round by round.

    What is read is the thread's own time: a pruning takes hours, and other work on the machine comes and goes.
    """
    from cutis.recipes.pruning import Latency

    programs = {name: forward(load_model(path)) for name, path in files.items()}
    times = interleave(programs, Protocol(warmup=_WARMUP, rounds=rounds, calls=_CALLS), clock=OWN_TIME)
    first = next(iter(times.values()))
    return {name: Latency(spread(1000 * own).median, ratio_to(first, own).median) for name, own in times.items()}
