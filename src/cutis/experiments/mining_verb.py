"""`cutis experiment knowledge-mining`: say the plan, run it; and `cutis experiment tables` of what it left.

Knowledge mining, Tables 1 to 3. Ours are means over the test images of the data set at their own size, then mean and
deviation over seeds.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cutis.errors import CutisError
from cutis.evaluation.tables import markdown_table
from cutis.experiments.measures import Spread
from cutis.experiments.mining_beside import pairs_of, quality_over_seeds
from cutis.experiments.mining_grid import finished, possible, read_mining_grid, run_mining_grid
from cutis.experiments.mining_plan import OWN, MiningGrid, MiningJob, jobs_of, shares_of, words_of
from cutis.experiments.paper import PaperRow, PaperTable, mining_tables
from cutis.experiments.seeds import compare_runs, values_of
from cutis.experiments.segmenter_run import Place, Segment
from cutis.files import atomic_write
from cutis.recipes.config import load_config, parse_flags

__all__ = ["plan_text", "run_knowledge_mining", "show_mining_tables"]

DATASETS = {"1": "kvasir_seg", "2": "covid_qu_ex", "3": "kvasir_seg"}
"""Printed table -> the data set that it is of."""
MEASURES = {"jaccard": "IoU", "dice": "Dice"}


def run_knowledge_mining(
    config: Path, flags: Sequence[str], data: Path, output: Path, *, plan: bool, cache: Path, accelerator: str,
    segment: Segment,
) -> int:  # fmt: skip
    """Run the grid into `output`, or with `plan` only say what it would do and about how long it would take."""
    settings = load_config(config, parse_flags(flags), MiningGrid)
    place = Place(data, output, cache, segment, accelerator, print)
    if plan:
        print(plan_text(settings, place))
        return 0
    run_mining_grid(settings, place)
    print(f"done: {output}; next: cutis experiment tables --results {output}")
    return 0


def plan_text(config: MiningGrid, place: Place) -> str:
    """One line a data set and share of labels: runs still to make, updates, hours; and the sum."""
    import torch

    from cutis.experiments.estimate import time_network
    from cutis.recipes.folder import build
    from cutis.recipes.run import parts_of

    base, mining = config.base, config.base.mining
    assert mining is not None  # checked with the configuration
    device = "cuda" if torch.cuda.is_available() else "cpu"
    jobs = [job for job in possible(config, place) if not finished(job, place.results)]
    size = base.preprocessing.size
    speed = time_network(build(base.network, 0), size, base.batch_size, False, device) if jobs else None
    lines, total = [], 0.0
    for dataset in config.labelled:
        own = [job for job in jobs if job.dataset == dataset]
        one = base.model_copy(update={"datasets": {dataset: 1.0}})
        images = len(parts_of(one, place.data)["train"]) if own else 0
        for share in shares_of(config, dataset):
            mine = [job for job in own if job.share == share]
            firsts = {job.first(place.results) for job in mine} - {
                home for job in mine if ((home := job.first(place.results)) / "done.json").exists()
            }
            first = base.epochs * max(1, (base.epoch_images or round(images * share / 100)) // base.batch_size)
            second = mining.epochs * max(1, (mining.epoch_images or images) // base.batch_size)
            weight = sum(2 if job.words.schedule == "continuous" else 1 for job in mine)
            updates = len(firsts) * first + weight * second
            hours = updates * base.batch_size * (speed.training if speed else 0.0) / 3600
            total += hours
            lines.append(
                [dataset, f"{share:g}", str(len(mine)), str(len(firsts)), f"{first:,}", f"{second:,}", f"{hours:.1f}"]
            )
    lines.append(["all", "", str(len(jobs)), "", "", "", f"{total:.1f}"])
    header = ["data set", "% labelled", "runs to make", "first phases", "updates", "updates after", "hours"]
    told = (
        f"{config.name}: {len(jobs_of(config))} runs. Hours are at most (patience may end a run sooner), of updates "
        "timed now on random pixels, a continuous one counted as two; decoding, embedding, pretraining and evaluating "
        "are left out."
    )
    return f"{told}\n\n{markdown_table(header, lines)}"


def show_mining_tables(results: Path, names: Sequence[str] | None, *, csv_file: Path | None) -> int:
    """Print the tables of the data sets that have runs (or those named), the paper's values beside ours."""
    config = read_mining_grid(results)
    known = _known(config)
    chosen = list(names) if names else known
    if unknown := [name for name in chosen if name not in known]:
        raise CutisError(f"no table {unknown[0]!r} is made; there are: {', '.join(known)}")
    print("\n".join(f"- {line}" for line in setup_lines(config)) + "\n")
    for name in chosen:
        print(f"{table_text(config, results, name)}\n")
    if pairs := pairs_text(config, results):
        print(f"What each adds, paired over test images:\n\n{pairs}\n")
    if csv_file:
        atomic_write(csv_file, values_csv(config, results, chosen))
    return 0


def table_text(config: MiningGrid, results: Path, name: str) -> str:
    """One line a share of labels and row: ours, the paper's, and how good the pseudo-labels were."""
    paper = mining_tables().get(name)
    lines = []
    for job, printed in _lines(config, name):
        seeds = [job._replace(seed=seed) for seed in config.seeds]
        cells = [f"{job.share:g}", job.row, str(sum(finished(one, results) for one in seeds))]
        for measure in MEASURES:
            cells.append(_shown(values_of(results, job.variant, measure, scale=1)))
            cells += [printed.values[measure].text if printed else "-"] if paper else []
        quality = quality_over_seeds(results, seeds)
        pairs = [(f"{q.pseudo:.3f} ({q.student:.3f})") for q in quality] if quality else ["-", "-"]
        lines.append([*cells, *pairs, f"{100 * quality[1].used:.0f}" if quality else "-"])
    header = ["% labelled", "row", "runs"]
    header += [cell for title in MEASURES.values() for cell in ((title, "paper") if paper else (title,))]
    header += ["pseudo-labels' Dice, first epoch", "last epoch", "% used"]
    title = f"Table {name}: {paper.title}" if paper else f"{name} (not in the paper)"
    return (
        f"### {title}\n\n{markdown_table(header, lines)}\n\nIn brackets: the small network's own Dice on the same "
        "unlabelled images, as they were met in training."
    )


def pairs_text(config: MiningGrid, results: Path) -> str:
    """One line a pair and measure: by how much the first is better, over seeds and over images."""
    lines = []
    for first, second in pairs_of(config):
        for measure, title in MEASURES.items():
            if found := compare_runs(results, first.variant, second.variant, measure, scale=1):
                by_seed, test = found
                d = test.difference
                lines.append([
                    f"{first.dataset} {first.share:g}%", f"{first.row} - {second.row}"
                    + (f" ({second.share:g}%)" if second.share != first.share else ""), title,
                    f"{sum(value > 0 for value in by_seed)} of {len(by_seed)}",
                    f"{np.mean(by_seed):+.4f} ± {np.std(by_seed):.4f}",
                    f"{d.mean:+.4f} [{d.low:+.4f}, {d.high:+.4f}]", f"{test.t_p:.3g}", f"{test.wilcoxon_p:.3g}",
                ])  # fmt: skip
    header = [
        "", "rows", "measure", "seeds in which the first is better", "difference, seeds", "difference, images [95%]",
        "t, p", "Wilcoxon, p",
    ]  # fmt: skip
    return markdown_table(header, lines) if lines else ""


def values_csv(config: MiningGrid, results: Path, names: Sequence[str]) -> str:
    """One line a value: table, share of labels, row, measure, ours (mean, sd, seeds), the paper's (mean, sd)."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["table", "labelled", "row", "measure", "mean", "sd", "n", "paper_mean", "paper_sd"])
    for name in names:
        for job, printed in _lines(config, name):
            for measure in MEASURES:
                value = values_of(results, job.variant, measure, scale=1)
                own = [f"{value.mean:.6f}", f"{value.sd:.6f}", value.n] if value else ["", "", 0]
                paper = [printed.values[measure].mean, printed.values[measure].sd] if printed else ["", ""]
                out.writerow([name, f"{job.share:g}", job.row, measure, *own, *paper])
    return text.getvalue()


def setup_lines(config: MiningGrid) -> list[str]:
    """How our runs were made, the paper's way in brackets."""
    base, mining = config.base, config.base.mining
    assert mining is not None  # checked with the configuration
    lengths = [
        f"{epochs} epochs of {images or 'all'} images" for epochs, images in
        ((base.epochs, base.epoch_images), (mining.epochs, mining.epoch_images))
    ]  # fmt: skip
    encoder = base.network.options.get("encoder")
    return [
        f"{base.network.name}{f' with {encoder}' if encoder else ''} (paper: U-Net++ with ResNet-34), weights "
        f"{base.weights or 'random'}, {base.preprocessing.size} px letterboxed (paper: 224, the middle square).",
        f"Supervised phase at most {lengths[0]}, then at most {lengths[1]} for every row alike, the supervised one too "
        "(the paper does not say how long that trained); the weights that validate best.",
        f"Batches of {base.batch_size}, Adam {base.learning_rate:g}, then {mining.learning_rate:g} (paper: 8, 5e-05); "
        f"lambda {mining.pseudo_weight:g}, k {base.loss.cross_entropy:g} (paper: 0.25, 0.2).",
        f"Teacher: {config.teacher or 'none given'} (paper: SAM); MedSAM: {config.medsam or 'none given'}.",
        *(f"{word}: {what} (ours)." for word, what in OWN.items() if any(word in words_of(r).own for r in config.rows)),
        f"Test parts by lesion, the same for all; seeds {', '.join(map(str, config.seeds))}, each with its own weights "
        "and labelled images; ± is over seeds.",
    ]


def _known(config: MiningGrid) -> list[str]:
    """Tables of the data sets in the grid: the paper's by number, others by their name."""
    prompted = any(words_of(row).prompts for row in config.rows)
    printed = [n for n, name in DATASETS.items() if name in config.labelled and (n != "3" or prompted)]
    return printed + [name for name in config.labelled if name not in DATASETS.values()]


def _lines(config: MiningGrid, name: str) -> Iterator[tuple[MiningJob, PaperRow | None]]:
    """(the first seed's job, the paper's row) of a table: what is printed, and what of ours is not."""
    dataset, paper = DATASETS.get(name, name), mining_tables().get(name)
    printed = {(float(row.what["labelled"]), str(row.what["run"])): row for row in (paper.rows if paper else ())}
    own = {(job.share, job.row) for job in jobs_of(config) if job.dataset == dataset and _fits(name, job, paper)}
    order = {row: place for place, row in enumerate(dict.fromkeys([row for _, row in printed] + list(config.rows)))}
    for share, row in sorted(own | printed.keys(), key=lambda line: (-line[0], order[line[1]])):
        yield MiningJob(dataset, share, row, config.seeds[0]), printed.get((share, row))


def _fits(name: str, job: MiningJob, paper: PaperTable | None) -> bool:
    """Prompts are table 3's; where there is no printed table everything is in one."""
    if paper is None:
        return True
    return bool(job.words.prompts) if name == "3" else not job.words.prompts


def _shown(value: Spread | None) -> str:
    return "-" if value is None else str(value)
