"""Pruning, step by step: score, cut, measure, fine-tune, measure again, keep or take back.

SparseSegNet, Sec. 3.1-3.2: Fisher information in stage 2 (Eq. 1), sensitivity of Dice in stage 3 (Eq. 2), likeness to a
teacher's map in the decoder (Eq. 5-6). Differs from the text in that every step is gated on HD95 too, since Dice
survives pruning where the boundary does not. Every state is a run folder of its own; gates on skips (EFFU) are settled
when the first step begins, so that fine-tuning sees the network that will be used.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor

from cutis.data.batches import Batch
from cutis.data.cache import SegmentationCache, open_cache
from cutis.data.samples import Sample
from cutis.errors import CutisError
from cutis.files import atomic_path, atomic_write
from cutis.layers.effu import gates_of
from cutis.models.budget import budget
from cutis.pruning.dice_sensitivity import dice_sensitivity_scores
from cutis.pruning.fisher import fisher_scores
from cutis.pruning.selection import below, least
from cutis.pruning.semantic import Anchor, semantic_scores
from cutis.pruning.shape import difference
from cutis.pruning.surgery import convolution_of, remove
from cutis.recipes.config import SupervisedConfig
from cutis.recipes.fine_tuning import fine_tuned
from cutis.recipes.folder import begin, best_checkpoint, build, decoding, digest, stage, thin
from cutis.recipes.pruning_config import PruningConfig, SemanticStep, Step
from cutis.recipes.run import Run, as_they_are, load_run, load_segmenter, parts_of, train_supervised
from cutis.teachers.cache import open_teacher_cache

__all__ = ["Accuracy", "Instruments", "Latency", "Pruned", "prune"]

UNPRUNED = "unpruned"
_ASKED = "pruning.yaml"


class Accuracy(NamedTuple):
    """Means over the same validation images: Dice at the images' own size, HD95 in pixels at 256 x 256."""

    dice: float
    hd95: float


class Latency(NamedTuple):
    """Median `milliseconds` of the INT8 file on one thread; `ratio` to the unpruned one's, taken in turns with it."""

    milliseconds: float
    ratio: float


class Instruments(NamedTuple):
    """What measures, handed in from above. `judge`: run, images -> accuracy. `quantise`: run, images to calibrate
    on, a file to write. `time`: name -> INT8 file, the unpruned one first -> latency of each."""

    judge: Callable[[Run, tuple[Sample, ...]], Accuracy]
    quantise: Callable[[Run, tuple[Sample, ...], Path], None]
    time: Callable[[Mapping[str, Path], int], dict[str, Latency]]


@dataclass(frozen=True)
class Pruned:
    """One line of the table. `before`: right after the cut; `after`: fine-tuned, what counts. `channels`: block ->
    channels before and after the cut. `kept`: not taken back."""

    step: str
    parameters: int
    macs: int
    latency: Latency
    before: Accuracy | None
    after: Accuracy
    channels: dict[str, tuple[int, int]]
    kept: bool

    @classmethod
    def read(cls, path: Path) -> Pruned:
        values = json.loads(path.read_text(encoding="utf-8"))
        before = values["before"] and Accuracy(*values["before"])
        channels = {block: (was, left) for block, (was, left) in values["channels"].items()}
        accuracy = {"before": before, "after": Accuracy(*values["after"])}
        return cls(**{**values, **accuracy, "latency": Latency(*values["latency"]), "channels": channels})


@dataclass(frozen=True)
class _Job:
    config: PruningConfig
    source: Path
    data: Path
    folder: Path
    instruments: Instruments
    teacher: Path | None
    cache: Path
    accelerator: str
    say: Callable[[str], None]
    parts: dict[str, tuple[Sample, ...]]
    training: SegmentationCache

    @property
    def judging(self) -> tuple[Sample, ...]:
        return thin(self.parts["validation"], self.config.judging_images)

    @property
    def reference(self) -> Path:
        """The unpruned network's INT8 file."""
        return self.folder / "steps" / f"0-{UNPRUNED}" / "int8.onnx"


def prune(
    config: PruningConfig,
    source: Path,
    data: Path,
    folder: Path,
    *,
    instruments: Instruments,
    teacher: Path | None,
    cache: Path,
    resume: bool,
    accelerator: str,
    say: Callable[[str], None] = print,
) -> list[Pruned]:
    """Prune the run in `source`; `folder` is then a run folder too, of what the steps that were kept left.

    `teacher`: a teacher's cache of the run's training images, whose probabilities are the anchor maps of Eq. 5; without
    one the unpruned network's own are. With `resume`, what was done stays, and what was cut off goes on.
    """
    run = load_segmenter(source)
    _remember(config, source, folder, teacher, resume)
    parts = parts_of(run.config, data, say)
    for part in ("train", "validation"):
        if not parts.get(part):
            raise CutisError(f"{data} holds no {part} images of {', '.join(run.config.datasets)}: pruning needs them")
    training = open_cache(parts["train"], run.preprocessing.size, cache, decoding("training images", say))
    job = _Job(config, source, data, folder, instruments, teacher, cache, accelerator, say, parts, training)
    rows, current = [_unpruned(job, run)], source
    for number, step in enumerate(config.steps, 1):
        place = folder / "steps" / f"{number}-{step.kind}"
        last = next(row for row in reversed(rows) if row.kept)
        rows.append(_taken(job, step, place, current, last))
        current = place / "tuned" if rows[-1].kept and rows[-1].channels else current
        say(_told(rows[-1], last, config.hd95_allowance))
    _publish(current, folder, rows)
    return rows


def _unpruned(job: _Job, run: Run) -> Pruned:
    path = job.reference.with_name("row.json")
    if not path.exists():
        job.say("unpruned: measuring")
        job.instruments.quantise(run, job.parts["train"], job.reference)
        latency = job.instruments.time({UNPRUNED: job.reference}, job.config.rounds)[UNPRUNED]
        accuracy = job.instruments.judge(run, job.judging)
        _write(path, Pruned(UNPRUNED, *_cost(run), latency, None, accuracy, {}, True))
    return Pruned.read(path)


def _taken(job: _Job, step: Step, place: Path, current: Path, last: Pruned) -> Pruned:
    """Take one step, or what is missing of it."""
    path = place / "row.json"
    if path.exists():
        return Pruned.read(path)
    cut = place / "cut.json"
    if not cut.exists():
        _cut(job, step, place, current, last)
    row = Pruned.read(cut)
    if row.channels:
        run = load_run(place / "pruned")
        arguments = {"cache": job.cache, "say": job.say, "accelerator": job.accelerator, "start": place / "pruned"}
        stage(train_supervised, run.config, job.data, place / "tuned", job.say, arguments)
        accuracy = job.instruments.judge(load_run(place / "tuned"), job.judging)
        kept = accuracy.hd95 - last.after.hd95 <= job.config.hd95_allowance
        row = replace(row, after=accuracy, kept=kept)
    _write(path, row)
    return row


def _cut(job: _Job, step: Step, place: Path, current: Path, last: Pruned) -> None:
    """Score, cut, measure: `place`/pruned is a run folder, cut.json its row as if it were not fine-tuned."""
    run = load_run(current)
    job.say(f"{step.kind}: scoring the channels of {', '.join(step.blocks)}")
    try:
        going = {block: found for block, found in _chosen(job, step, run).items() if found}
        widths = {block: convolution_of(run.network, block).out_channels for block in going}
        remove(run.network, torch.zeros(1, 3, run.preprocessing.size, run.preprocessing.size), going)
    except ValueError as error:
        raise CutisError(f"step {step.kind!r} cannot be taken: {error}; correct its field 'blocks'") from error
    channels = {block: (width, width - len(going[block])) for block, width in widths.items()}
    if not channels:
        _write(place / "cut.json", replace(last, step=step.kind, before=None, channels={}))
        return
    for gate in gates_of(run.network):
        gate.settle()
    run = _write_run(job, run, place / "pruned", step, channels)
    job.instruments.quantise(run, job.parts["train"], place / "int8.onnx")
    latency = job.instruments.time({UNPRUNED: job.reference, step.kind: place / "int8.onnx"}, job.config.rounds)
    accuracy = job.instruments.judge(run, job.judging)
    _write(place / "cut.json", Pruned(step.kind, *_cost(run), latency[step.kind], accuracy, accuracy, channels, True))


def _chosen(job: _Job, step: Step, run: Run) -> dict[str, list[int]]:
    """Block -> the channels that go."""
    batches = _scored_batches(job, run)
    multiple = job.config.multiple
    if isinstance(step, SemanticStep):
        scores = semantic_scores(run.network, batches, step.blocks, _anchor(job))
        return {name: below(values, threshold=step.threshold, multiple=multiple) for name, values in scores.items()}
    score = fisher_scores if step.kind == "fisher" else dice_sensitivity_scores
    scores = score(run.network, batches, step.blocks)
    return {name: least(values, keep=step.keep, multiple=multiple) for name, values in scores.items()}


def _scored_batches(job: _Job, run: Run) -> Any:
    """Training images as they are, the same share of every data set."""
    chosen = thin(job.training.samples, job.config.images)
    return as_they_are(job.training, run.preprocessing, chosen, run.config.batch_size)


def _anchor(job: _Job) -> Anchor:
    if job.teacher is None:
        network = load_run(job.source).network
        return lambda batch: network(batch.image).sigmoid()
    answers = open_teacher_cache(job.teacher, job.training)

    def taught(batch: Batch) -> Tensor:
        return torch.stack([torch.from_numpy(answers.logits[i].astype("float32")) for i in batch.where]).sigmoid()

    return taught


def _write_run(job: _Job, run: Run, folder: Path, step: Step, channels: dict[str, tuple[int, int]]) -> Run:
    """The network as it is now as a run folder whose configuration is that of its fine-tuning."""
    plain = run.config.network.model_copy(update={"channels": {}})
    left = difference(run.network, build(plain, run.config.seed))
    network = plain.model_copy(update={"channels": left}).model_dump(mode="json")
    config = fine_tuned(run.config, {"network": network, **job.config.fine_tune}, SupervisedConfig, {})
    folder.mkdir(parents=True, exist_ok=True)
    facts = run.facts | {"parameters": _cost(run)[0], "pruned": {"by": step.model_dump(mode="json"), "left": channels}}
    begin(folder, config, facts)
    state = {f"networks.network.{name}": value for name, value in run.network.state_dict().items()}
    (folder / "checkpoints").mkdir(exist_ok=True)
    with atomic_path(folder / "checkpoints" / "best.ckpt") as temporary:
        torch.save({"state_dict": state}, temporary)
    return load_run(folder)


def _cost(run: Run) -> tuple[int, int]:
    found = budget(run.network, run.preprocessing.size)
    return found.parameters, found.macs


def _told(row: Pruned, last: Pruned, allowance: float) -> str:
    if not row.channels:
        return f"{row.step}: no channel goes"
    said = f"{row.step}: Dice {row.after.dice:.4f}, HD95 {row.after.hd95:.2f}"
    costs = f"{row.after.hd95 - last.after.hd95:+.2f} px of HD95, {allowance:g} are allowed"
    return f"{said} ({costs}): {'kept' if row.kept else 'taken back'}"


def _remember(config: PruningConfig, source: Path, folder: Path, teacher: Path | None, resume: bool) -> None:
    """Write what is asked for, or refuse if the folder holds something else."""
    asked = {
        "config": config.model_dump(mode="json"),
        "run": digest(best_checkpoint(source)),
        "teacher": teacher.name if teacher else None,
    }
    path = folder / _ASKED
    if path.exists():
        if not resume:
            raise CutisError(f"{folder} holds a pruning already: give another --output, or --resume to go on with it")
        before = yaml.safe_load(path.read_text(encoding="utf-8"))
        others = [name for name in asked if asked[name] != before.get(name)]
        if others:
            what = others[0]
            raise CutisError(f"{folder} was begun with another {what}: resume with the same, or give another --output")
    elif resume:
        raise CutisError(f"{folder} holds no pruning: nothing to resume; leave --resume out")
    elif (folder / "config.yaml").exists():
        raise CutisError(f"{folder} holds a run: give another --output")
    atomic_write(path, yaml.safe_dump(asked, sort_keys=False))


def _publish(current: Path, folder: Path, rows: list[Pruned]) -> None:
    """Make `folder` a run folder: what `current` is, with the rows among its facts."""
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "checkpoints" / "best.ckpt") as temporary:
        shutil.copyfile(best_checkpoint(current), temporary)
    told = [asdict(row) for row in rows]
    facts = json.loads((current / "run.json").read_text(encoding="utf-8"))
    atomic_write(folder / "run.json", json.dumps(facts | {"pruning": told}, indent=1))
    atomic_write(folder / "config.yaml", (current / "config.yaml").read_bytes())


def _write(path: Path, row: Pruned) -> None:
    atomic_write(path, json.dumps(asdict(row), indent=1))
