"""`cutis experiment slsnet`: say the plan, run it; and `cutis experiment tables` of what it left."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cutis.errors import CutisError
from cutis.evaluation.statistics import pair_is_possible
from cutis.evaluation.tables import markdown_table
from cutis.experiments.paper import PaperRow, PaperTable, slsnet_tables
from cutis.experiments.seeds import compare_runs, values_of
from cutis.experiments.segmenter_run import Place, Segment
from cutis.experiments.slsnet_beside import PAIRS, balance_of, costs_of
from cutis.experiments.slsnet_grid import finished, read_slsnet_grid, run_slsnet_grid
from cutis.experiments.slsnet_plan import (
    COMPARED,
    OURS,
    SLSNetGrid,
    SLSNetJob,
    job_config,
    jobs_of,
    tables_with_runs,
    variant_of,
)
from cutis.files import atomic_write
from cutis.recipes.config import load_config, parse_flags

__all__ = ["impossible_pairs", "run_slsnet", "show_slsnet_tables"]

MARK = "†"
TITLES = {
    "accuracy": "ACC", "dice": "DSC", "jaccard": "JSC", "thresholded_jaccard": "JSC at 0.65", "sensitivity": "SEN",
    "specificity": "SPE", "parameters": "M parameters", "macs": "GMAC",
}  # fmt: skip
COSTS = ("parameters", "macs")


def run_slsnet(
    config: Path, flags: Sequence[str], data: Path, output: Path, *, plan: bool, cache: Path, accelerator: str,
    segment: Segment,
) -> int:  # fmt: skip
    """Run the grid into `output`, or with `plan` only say what it would do and about how long it would take."""
    settings = load_config(config, parse_flags(flags), SLSNetGrid)
    if plan:
        print(plan_text(settings, output))
        return 0
    run_slsnet_grid(settings, Place(data, output, cache, segment, accelerator, print))
    print(f"done: {len(jobs_of(settings))} runs in {output}; next: cutis experiment tables --results {output}")
    return 0


def plan_text(config: SLSNetGrid, results: Path) -> str:
    """One line a variant: runs still to make, updates of each, seconds an update here, hours; and the sum."""
    to_make: dict[str, int] = {}
    for job in jobs_of(config):
        to_make[job.variant] = to_make.get(job.variant, 0) + (not finished(job, results))
    lines, total = [], 0.0
    for variant, runs in to_make.items():
        settings = job_config(config, SLSNetJob(variant, config.seeds[0]))
        if settings.epoch_images is None:
            raise CutisError("--plan needs epoch_images: give --run.epoch_images, the images of an epoch")
        updates = settings.epochs * (settings.epoch_images // settings.batch_size)
        seconds = _seconds_an_update(config, variant) if runs else 0.0
        hours = runs * updates * seconds / 3600
        total += hours
        lines.append([variant, str(runs), f"{updates:,}", f"{seconds:.2f}", f"{hours:.1f}"])
    lines.append(["all", str(sum(to_make.values())), "", "", f"{total:.1f}"])
    told = f"{config.name}: {len(jobs_of(config))} runs. Hours are of computing alone, from updates timed now."
    return f"{told}\n\n{markdown_table(['variant', 'runs to make', 'updates', 'seconds an update', 'hours'], lines)}"


def show_slsnet_tables(results: Path, names: Sequence[str] | None, *, csv_file: Path | None) -> int:
    """Print the tables, what the parts add, and how the discriminators did; the values into `csv_file`."""
    config = read_slsnet_grid(results)
    tables = slsnet_tables()
    chosen = list(names) if names else tables_with_runs()
    if unknown := [name for name in chosen if name not in tables_with_runs()]:
        raise CutisError(
            f"no table {unknown[0]!r} is made from runs; there are: {', '.join(tables_with_runs())}; table 5 is "
            "made by 'cutis benchmark architectures'"
        )
    print("\n".join(f"- {line}" for line in setup_lines(config)) + "\n")
    for name in chosen:
        print(table_text(config, results, tables[name]) + "\n")
    if pairs := pairs_text(results):
        print(f"What each part adds, paired over test images:\n\n{pairs}\n")
    if balance := balance_text(config, results):
        print(f"The discriminators, over the last third of training:\n\n{balance}\n")
    if csv_file:
        atomic_write(csv_file, values_csv(config, results, [tables[name] for name in chosen]))
    sys.stdout.flush()
    return 0


def table_text(config: SLSNetGrid, results: Path, table: PaperTable) -> str:
    """The table as Markdown, each measure of ours beside the paper's; pairs that cannot be are marked."""
    marked = [row for row, _ in impossible_pairs(table)]
    lines = []
    for label, run, row in _lines(table):
        own = run is not None and (results / variant_of(config, run)).is_dir()
        cells = [label + (f" {MARK}" if row is not None and row in marked else "")]
        for measure in table.measures:
            ours = _ours(config, results, run, measure) if own and run else "-"
            cells += [ours, row.values[measure].text if row and measure in row.values else "-"]
        lines.append(cells)
    header = ["", *(cell for m in table.measures for cell in (TITLES[m], "paper"))]
    text = f"### Table {table.name}: {table.title}\n\n{markdown_table(header, lines)}"
    notes = [f"- {MARK} {said}" for _, said in impossible_pairs(table)]
    return "\n\n".join([text, "\n".join(notes)]) if notes else text


def impossible_pairs(table: PaperTable) -> list[tuple[PaperRow, str]]:
    """Rows whose mean Dice and mean Jaccard cannot be of the same images (Jensen), with what was expected.

    >>> [row.what["method"] for row, _ in impossible_pairs(slsnet_tables()["6"])]
    ['BL + CAM', 'BL + PAM + CAM w/o MS', 'SLSNet']
    """
    found = []
    for row in table.rows:
        if {"dice", "jaccard"} <= row.values.keys():
            dice, jaccard = row.values["dice"], row.values["jaccard"]
            rounding = max(dice.rounding, jaccard.rounding) / 100
            if not pair_is_possible(dice.mean / 100, jaccard.mean / 100, rounding=rounding):
                least = 100 * (dice.mean / 100) / (2 - dice.mean / 100)
                said = f"{row.what['method']}: a mean DSC of {dice.text} needs a mean JSC of at least {least:.2f}"
                found.append((row, f"{said}, {jaccard.text} is printed: not means over the same images."))
    return found


def pairs_text(results: Path) -> str:
    """One line a pair and measure: by how much the first is better, over seeds and over images."""
    lines = []
    for first, second in PAIRS:
        for measure in ("dice", "jaccard"):
            if found := compare_runs(results, first, second, measure, scale=100):
                by_seed, test = found
                low, high = 100 * test.difference.low, 100 * test.difference.high
                lines.append([
                    f"{first} - {second}", TITLES[measure], f"{sum(d > 0 for d in by_seed)} of {len(by_seed)}",
                    f"{np.mean(by_seed):+.2f} ± {np.std(by_seed):.2f}",
                    f"{100 * test.difference.mean:+.2f} [{low:+.2f}, {high:+.2f}]", f"{test.t_p:.3g}",
                    f"{test.wilcoxon_p:.3g}",
                ])  # fmt: skip
    header = [
        "runs", "measure", "seeds in which the first is better", "difference, seeds", "difference, images [95%]",
        "t, p", "Wilcoxon, p",
    ]  # fmt: skip
    return markdown_table(header, lines) if lines else ""


def balance_text(config: SLSNetGrid, results: Path) -> str:
    """One line a variant, the mean over its seeds."""
    lines = []
    for variant in dict.fromkeys(job.variant for job in jobs_of(config)):
        jobs = (job for job in jobs_of(config) if job.variant == variant)
        seen = [found for job in jobs if (found := balance_of(job.folder(results)))]
        if seen:
            real, generated, loss = np.mean(seen, axis=0)
            lines.append([variant, f"{100 * real:.1f}", f"{100 * generated:.1f}", f"{loss:.3f}"])
    return markdown_table(["", "right on real, %", "right on generated, %", "its loss"], lines) if lines else ""


def values_csv(config: SLSNetGrid, results: Path, tables: Sequence[PaperTable]) -> str:
    """One line a value: table, row, measure, ours (mean, sd, seeds), the paper's."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["table", "row", "measure", "mean", "sd", "n", "paper"])
    for table in tables:
        for label, run, row in _lines(table):
            for measure in (m for m in table.measures if m not in COSTS):
                value = values_of(results, variant_of(config, run), measure, scale=100) if run else None
                own = [f"{value.mean:.4f}", f"{value.sd:.4f}", value.n] if value else ["", "", 0]
                printed = row.values[measure].mean if row and measure in row.values else ""
                out.writerow([table.name, label, measure, *own, printed])
    return text.getvalue()


def setup_lines(config: SLSNetGrid) -> list[str]:
    """How our runs were made, the paper's way in brackets."""
    run = config.run
    how = "none" if run.augmentation is None else run.augmentation.when
    images = f"{run.epochs} epochs of {run.epoch_images or 'all'} images"
    return [
        f"Ours: {', '.join(run.datasets)}, test part divided by lesion (paper: ISBI 2017's test set; table 4: the ISIC "
        f"2018 leaderboard); measured at the pictures' own resolution; seeds {', '.join(map(str, config.seeds))}.",
        f"{run.preprocessing.size} px (paper: 128), {images}, batches of {run.batch_size}, Adam {run.learning_rate:g} "
        f"with beta1 {run.betas[0]:g}, {run.schedule} (paper: 8, 0.0002, 0.5, constant); augmentation {how}.",
        "± is over seeds; means in percent over images. GMAC without attention products, as in the paper.",
    ]


def _lines(table: PaperTable) -> Iterator[tuple[str, str | None, PaperRow | None]]:
    """(label, run, the paper's row): the printed rows, and ours below them."""
    for row in table.rows:
        run = row.what["run"]
        yield row.what["method"], None if run == "none" else run, row
    if table.name in ("3", "4"):
        known = {row.what["run"] for row in table.rows}
        yield from ((name, name, None) for name in COMPARED if name not in known)
    if table.name == "6":
        yield OURS["alone"], "alone", None
    if table.name == "8":
        yield from ((label, run, None) for run, label in OURS.items())


def _ours(config: SLSNetGrid, results: Path, run: str, measure: str) -> str:
    if measure in COSTS:
        costs = costs_of(config, run)
        beside = f" (+{costs['attention_macs']:.2f})" if measure == "macs" and costs["attention_macs"] else ""
        return f"{costs[measure]:.2f}{beside}"
    value = values_of(results, variant_of(config, run), measure, scale=100)
    if value is None:
        return "-"
    return f"{value.mean:.2f} ± {value.sd:.2f}" if value.n > 1 else f"{value.mean:.2f}"


def _seconds_an_update(config: SLSNetGrid, variant: str) -> float:
    """The median of three updates of both networks on random pixels, after one to warm up."""
    import torch

    from cutis.data.batches import Batch
    from cutis.recipes.adversarial import Adversarial
    from cutis.recipes.folder import build

    settings = job_config(config, SLSNetJob(variant, config.seeds[0]))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    critic = build(settings.discriminator, 0) if settings.loss.adversarial else None
    recipe = Adversarial(build(settings.network, 0), critic, settings)
    recipe.networks.to(device)
    optimisers = recipe.optimisers(1)
    count, size = settings.batch_size, settings.preprocessing.size
    image, mask = torch.rand(count, 3, size, size, device=device), torch.ones(count, 1, size, size, device=device)
    times = []
    for _ in range(4):
        begun = time.perf_counter()
        for name, loss, _terms in recipe.losses(Batch(image, mask, mask, torch.arange(count))):
            loss.backward()
            optimisers[name][0].step()
            optimisers[name][0].zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return float(np.median(times[1:]))
