"""`cutis experiment sparsesegnet`: say the plan, run it; and `cutis experiment tables` of what it left.

SparseSegNet, tables 1 to 4. Ours are means over the test images of the data set (table 1: over the fold that is held
out), then mean and deviation over seeds; Dice and IoU at the images' own size, HD95 in pixels at 256 x 256;
milliseconds of the INT8 file on this machine, one thread.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cutis.errors import CutisError
from cutis.evaluation.evaluate import Row
from cutis.evaluation.statistics import jaccard_bounds, pair_is_possible, paired
from cutis.evaluation.summary import BOOTSTRAP
from cutis.evaluation.tables import markdown_table, read_rows
from cutis.experiments.ablation import LATENCY, RESULT, AblationPlace, finished, possible, read_ablation, run_ablation
from cutis.experiments.ablation_plan import WEIGHTS, AblationConfig, AblationJob, home_of, job_config, jobs_of
from cutis.experiments.measures import Spread, spread
from cutis.experiments.paper import PaperTable, sparsesegnet_tables
from cutis.experiments.segmenter_run import ROWS as EVALUATION
from cutis.experiments.segmenter_run import Segment
from cutis.files import atomic_write
from cutis.recipes.config import load_config, parse_flags

if TYPE_CHECKING:
    from cutis.recipes.distillation_config import DistillationConfig
    from cutis.recipes.pruning import Instruments

__all__ = ["impossible", "run_sparsesegnet", "show_sparsesegnet_tables"]

TITLES = {
    "parameters": "M parameters", "macs": "GMAC", "dice": "Dice", "jaccard": "IoU", "hd95_256": "HD95, px",
    "milliseconds": "INT8 ms", "fold_1": "fold 1", "fold_2": "fold 2", "fold_3": "fold 3",
}  # fmt: skip
ACCURACY = ("dice", "jaccard", "hd95_256")


def run_sparsesegnet(
    config: Path, flags: Sequence[str], data: Path, output: Path, *, plan: bool, cache: Path, accelerator: str,
    segment: Segment, instruments: Callable[[int], Instruments],
) -> int:  # fmt: skip
    """Run the experiment into `output`, or with `plan` only say what it would do and about how long it would take."""
    settings = load_config(config, parse_flags(flags), AblationConfig)
    if plan:
        print(plan_text(settings, data, output))
        return 0
    tools = instruments(settings.pruning.calibration)
    run_ablation(settings, AblationPlace(data, output, cache, segment, accelerator, print, tools))
    print(f"done: {output}; next: cutis experiment tables --results {output}")
    return 0


def plan_text(config: AblationConfig, data: Path, results: Path) -> str:
    """One line a stage and row: runs still to make, updates of each, seconds an update here, hours; and the sum."""
    from cutis.recipes.run import parts_of

    left_out: list[str] = []
    jobs = possible(jobs_of(config), data, left_out.append)
    rows: dict[tuple[str, str], list[AblationJob]] = {}
    for job in jobs:
        what = "tuples x folds" if job.stage == "weights" else job.name
        rows.setdefault((job.stage, what), []).append(job)
    seconds: dict[str, float] = {}
    lines, total = [], 0.0
    for (stage, what), own in rows.items():
        settings = job_config(config, own[0])
        images = settings.epoch_images or len(parts_of(settings, data)["train"])
        updates = settings.epochs * max(1, images // settings.batch_size)
        if stage != "weights":
            updates += len(config.pruning.steps) * _tuning_updates(config, settings, images)
        to_make = sum(not finished(job, results) for job in own)
        key = own[0].row
        if to_make and key not in seconds:
            seconds[key] = _seconds_an_update(settings, config.teachers.channels)
        each = seconds.get(key, 0.0) if to_make else 0.0
        hours = to_make * updates * each / 3600
        total += hours
        lines.append([stage, what, str(to_make), f"{updates:,}", f"{each:.3f}", f"{hours:.1f}"])
    lines.append(["all", "", str(sum(not finished(job, results) for job in jobs)), "", "", f"{total:.1f}"])
    header = ["stage", "row", "runs to make", "updates each", "seconds an update", "hours"]
    told = (
        f"{config.name}: {len(jobs)} runs. Hours are of updates alone, timed now on random pixels; asking the "
        "teachers, scoring, calibrating and evaluating are left out, and patience may end a run sooner."
    )
    return "\n\n".join([told, *left_out, markdown_table(header, lines)])


def show_sparsesegnet_tables(results: Path, names: Sequence[str] | None, *, csv_file: Path | None) -> int:
    """Print the tables that have runs (or those named), the paper's values beside ours; CSV into `csv_file`."""
    config, tables = read_ablation(results), sparsesegnet_tables()
    there = {"1": "weights", "2": "datasets", "3": "datasets", "4": "ablation"}
    chosen = list(names) if names else [name for name in tables if there[name] in config.stages]
    if unknown := [name for name in chosen if name not in tables]:
        raise CutisError(f"no table {unknown[0]!r} is made; there are: {', '.join(tables)}")
    print("\n".join(f"- {line}" for line in setup_lines(config)) + "\n")
    values: list[tuple[str, str, str, Spread]] = []
    for name in chosen:
        text, own = {"1": _weights, "2": _datasets, "3": _tests, "4": _ablation}[name](config, results, tables[name])
        values += own
        print(f"### Table {name}: {tables[name].title}\n\n{text}\n")
    if csv_file:
        stream = io.StringIO()
        out = csv.writer(stream, lineterminator="\n")
        out.writerow(["table", "row", "measure", "mean", "sd", "n"])
        out.writerows([*head, f"{v.mean:.6f}", f"{v.sd:.6f}", v.n] for *head, v in values)
        atomic_write(csv_file, stream.getvalue())
    return 0


def setup_lines(config: AblationConfig) -> list[str]:
    """What is different from the paper in how these runs were made."""
    base = config.base
    steps = base.epochs * (base.epoch_images // base.batch_size) if base.epoch_images else None
    length = f"{steps:,} updates of {base.batch_size}" if steps else f"{base.epochs} epochs"
    tuned = config.pruning.fine_tune.get("epochs", base.epochs)
    return [
        f"{base.preprocessing.size} px (paper: 256), {length} (paper: 120 epochs of 24 images an update), then "
        f"{len(config.pruning.steps)} x {tuned} epochs of fine-tuning or as much further training, for all rows alike.",
        f"Ablation on {', '.join(base.datasets)} (paper: ISIC 2017), divided by lesion; seeds {_listed(config.seeds)}.",
        f"Teachers: {config.teachers.first.kind} and {config.teachers.second.kind} (paper: SAM ViT-H and SEEM).",
        "Milliseconds: INT8, one thread, this machine, all files in turns (paper: Snapdragon 888).",
    ]


def impossible(table: PaperTable) -> list[str]:
    """Printed Dice and IoU that cannot both be means over the same images (Jensen), and means that are not their
    columns'.

    >>> impossible(sparsesegnet_tables()["4"])
    []
    """
    found = []
    for row in table.rows:
        said = " ".join(str(value) for value in row.what.values())
        dice, jaccard = row.values.get("dice"), row.values.get("jaccard")
        if table.name != "3" and dice and jaccard:
            rounding = max(dice.rounding, jaccard.rounding)
            if not pair_is_possible(dice.mean, jaccard.mean, rounding=rounding):
                low, high = jaccard_bounds(dice.mean)
                found.append(f"{said}: IoU {jaccard.text} with Dice {dice.text}, which allows {low:.3f} to {high:.3f}")
    return found


Table = tuple[str, list[tuple[str, str, str, Spread]]]


def _ablation(config: AblationConfig, results: Path, table: PaperTable) -> Table:
    timed = _latencies(results)
    header = ["row", "runs", "GMAC"]
    header += [cell for m in table.measures for cell in (TITLES[m], "paper")]
    lines, values = [], []
    printed = {str(row.what["row"]): row.values for row in table.rows}
    for name in (*printed, *(row for row in config.rows if row not in printed)):
        own = _values(home_of(results, "ablation", name)) | _milliseconds(timed, f"ablation/{name}")
        values += [("4", name, m, v) for m, v in own.items()]
        paper = {m: value.text for m, value in printed.get(name, {}).items()}
        cells = [cell for m in table.measures for cell in (_shown(m, own.get(m)), paper.get(m, "-"))]
        lines.append([name, str(own["dice"].n) if own else "-", _shown("macs", own.get("macs")), *cells])
    text = markdown_table(header, lines)
    pairs = _against(results, "full", [name for name in config.rows if name != "full"])
    return text + (f"\n\nFull against each row, over the same test images:\n\n{pairs}" if pairs else ""), values


def _datasets(config: AblationConfig, results: Path, table: PaperTable) -> Table:
    timed = _latencies(results)
    header = ["data set", "network", *(cell for m in table.measures for cell in (TITLES[m], "paper"))]
    lines, values = [], []
    for row in table.rows:
        name = str(row.what["dataset"])
        own: Mapping[str, Spread] = {}
        if row.what["network"] == "SparseSegNet":
            own = _values(home_of(results, "datasets", name)) | _milliseconds(timed, f"datasets/{name}")
            values += [("2", name, m, v) for m, v in own.items()]
        cells = [cell for m in table.measures for cell in (_shown(m, own.get(m)), row.values[m].text)]
        lines.append([name, str(row.what["network"]), *cells])
    return markdown_table(header, lines), values


def _tests(config: AblationConfig, results: Path, table: PaperTable) -> Table:
    """Against rivals of ours there is none but the ablation's rows; anyone's masks are compared by cutis evaluate."""
    lines = [[*map(str, row.what.values()), *(row.values[m].text for m in table.measures)] for row in table.rows]
    told = (
        "The paper's values. Ours, for any rival's masks on the same images: `cutis evaluate --predictions MASKS "
        "--data DIR --dataset NAME --output THEIRS`, then `cutis evaluate RUN --data DIR --against THEIRS/rows.csv`; "
        "against each row of the ablation they stand below table 4."
    )
    return f"{told}\n\n{markdown_table(['data set', 'rival', 'Dice, p', 'IoU, p'], lines)}", []


def _weights(config: AblationConfig, results: Path, table: PaperTable) -> Table:
    lines, values = [], []
    known: dict[tuple[float, ...], list[float]] = {}
    for job in jobs_of(config):
        path = job.folder(results) / RESULT
        if job.stage == "weights" and path.exists():
            known.setdefault(job.weights, []).append(json.loads(path.read_text(encoding="utf-8"))["dice"])
    printed = {tuple(float(row.what[w]) for w in WEIGHTS): row.values["dice"].text for row in table.rows}
    for weights, dice in sorted(known.items(), key=lambda item: -float(np.mean(item[1]))):
        own = spread(dice)
        values.append(("1", " ".join(f"{w:g}" for w in weights), "dice", own))
        lines.append([*(f"{w:g}" for w in weights), str(own), str(own.n), printed.pop(weights, "")])
    lines += [[*(f"{w:g}" for w in weights), "-", "0", text] for weights, text in printed.items()]
    return markdown_table([*WEIGHTS, "Dice", "folds", "paper"], lines), values


def _against(results: Path, first: str, others: Sequence[str]) -> str:
    """Paired tests over test images, an image's value being its mean over the seeds that both rows have."""
    lines = []
    for other in others:
        here, there = (_runs(home_of(results, "ablation", name)) for name in (first, other))
        seeds = [seed for seed in here if seed in there]
        if not seeds:
            continue
        names = [(row.dataset, row.id) for row in here[seeds[0]]]
        if any([(row.dataset, row.id) for row in side[seed]] != names for seed in seeds for side in (here, there)):
            raise CutisError(f"{first} and {other} were evaluated on other images: run the experiment again")
        groups = [row.group for row in here[seeds[0]]]
        for measure in ACCURACY:
            one, two = (
                np.mean([[row.measures[measure] for row in side[seed]] for seed in seeds], axis=0)
                for side in (here, there)
            )
            test = paired(one, two, groups, **BOOTSTRAP._asdict())
            d = test.difference
            digits = 2 if measure == "hd95_256" else 4
            shown = f"{d.mean:+.{digits}f} [{d.low:+.{digits}f}, {d.high:+.{digits}f}]"
            cells = [str(len(seeds)), shown, f"{test.t_p:.3g}", f"{test.wilcoxon_p:.3g}"]
            lines.append([f"{first} - ({other})", TITLES[measure], *cells])
    header = ["rows", "measure", "seeds", "difference [95%]", "t, p", "Wilcoxon, p"]
    return markdown_table(header, lines) if lines else ""


def _values(home: Path) -> dict[str, Spread]:
    """Measure -> mean and deviation over the seeds of one row."""
    runs = _runs(home)
    if not runs:
        return {}
    found = {m: spread([float(np.nanmean([r.measures[m] for r in rows])) for rows in runs.values()]) for m in ACCURACY}
    facts: list[dict[str, Any]] = [
        json.loads((home / f"seed-{seed}" / RESULT).read_text(encoding="utf-8")) for seed in runs
    ]
    found["parameters"] = spread([fact["parameters"] / 1e6 for fact in facts])
    found["macs"] = spread([fact["macs"] / 1e9 for fact in facts])
    return found


def _runs(home: Path) -> dict[int, list[Row]]:
    """Seed -> rows, of the runs of one row that are finished."""
    paths = {int(path.parent.name.removeprefix("seed-")): path.parent for path in home.glob(f"seed-*/{RESULT}")}
    return {seed: read_rows(folder / EVALUATION) for seed, folder in sorted(paths.items())}


def _latencies(results: Path) -> dict[str, float]:
    path = results / LATENCY
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _milliseconds(timed: Mapping[str, float], name: str) -> dict[str, Spread]:
    return {"milliseconds": spread([timed[name]])} if name in timed else {}


def _shown(measure: str, value: Spread | None) -> str:
    if value is None:
        return "-"
    digits = {"hd95_256": 2, "milliseconds": 2, "dice": 4, "jaccard": 4}.get(measure, 3)
    spread_text = f" ± {value.sd:.{digits}f}" if value.n > 1 and value.sd else ""
    return f"{value.mean:.{digits}f}{spread_text}"


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


def _tuning_updates(config: AblationConfig, settings: DistillationConfig, images: int) -> int:
    tune = config.pruning.fine_tune
    count = tune.get("epoch_images") or images
    return int(tune.get("epochs", settings.epochs)) * max(1, int(count) // settings.batch_size)


def _seconds_an_update(settings: DistillationConfig, channels: int) -> float:
    """The median of three updates on random pixels, after one to warm up."""
    import torch

    from cutis.data.taught_batches import DistillationBatch, Taught
    from cutis.recipes.distillation import Distillation, embedding_of
    from cutis.recipes.folder import build

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = build(settings.network, 0)
    cells = settings.preprocessing.size // embedding_of(network)[1]
    recipe = Distillation(network, settings, channels=channels)
    recipe.networks.to(device).train()
    optimiser, _ = recipe.optimisers(1)["network"]
    count, size = settings.batch_size, settings.preprocessing.size
    image, mask = torch.rand(count, 3, size, size, device=device), torch.ones(count, 1, size, size, device=device)
    taught = Taught(
        torch.zeros(count, 1, cells, cells, device=device), torch.rand(count, channels, cells, cells, device=device)
    )
    batch = DistillationBatch(image, mask, mask, torch.arange(count), taught, taught)
    times = []
    for _ in range(4):
        begun = time.perf_counter()
        for _name, loss, _terms in recipe.losses(batch):
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return float(np.median(times[1:]))
