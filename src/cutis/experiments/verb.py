"""`cutis experiment`: say the plan, run it, print its tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cutis.errors import CutisError
from cutis.evaluation.tables import markdown_table
from cutis.experiments.ablation import holds_ablation
from cutis.experiments.ablation_verb import show_sparsesegnet_tables
from cutis.experiments.beside import SOURCES, beside, comparisons
from cutis.experiments.contradictions import contradictions
from cutis.experiments.estimate import Estimate, estimate
from cutis.experiments.grid import Grid, read_grid, run_grid
from cutis.experiments.grid_config import GridConfig, jobs_of
from cutis.experiments.measures import measures_of, spread
from cutis.experiments.mining_grid import holds_mining
from cutis.experiments.mining_verb import show_mining_tables
from cutis.experiments.paper import selcn_tables
from cutis.experiments.published import published_runs
from cutis.experiments.segmenter_run import Segment
from cutis.experiments.setup import STAGE_OF, setup_lines
from cutis.experiments.slsnet_grid import holds_slsnet
from cutis.experiments.slsnet_verb import show_slsnet_tables
from cutis.experiments.tables import comparison_markdown, csv_of, markdown_of
from cutis.files import atomic_write
from cutis.recipes.config import load_config, parse_flags

__all__ = ["run_experiment", "show_tables"]


def run_experiment(
    config: Path, flags: Sequence[str], data: Path, output: Path, *, plan: bool, cache: Path, accelerator: str,
    segment: Segment,
) -> int:  # fmt: skip
    """Run the grid into `output`, or with `plan` only say what it would do and about how long it would take."""
    settings = load_config(config, parse_flags(flags), GridConfig)
    if plan:
        print(plan_text(settings, estimate(settings, data, output)))
        return 0
    run_grid(Grid(data, output, cache, segment, accelerator, print, settings))
    print(f"done: {len(jobs_of(settings))} runs in {output}; next: cutis experiment tables --results {output}")
    return 0


def plan_text(config: GridConfig, found: Sequence[Estimate]) -> str:
    """One line a stage: runs still to make, what each is, seconds an image here, hours; and the sum."""
    lines = [
        [
            one.stage, str(one.runs), f"{one.epochs} x {one.epoch_images:,}", f"{one.answered:,}",
            f"{1000 * one.speed.training:.1f} / {1000 * one.speed.forward:.1f}", f"{one.seconds / 3600:.1f}",
            f"{one.seconds * one.speed.cores / 3600:.1f}",
        ]
        for one in found
    ]  # fmt: skip
    hours = (sum(one.seconds for one in found), sum(one.seconds * one.speed.cores for one in found))
    lines.append(["all", str(sum(one.runs for one in found)), "", "", "", *(f"{value / 3600:.1f}" for value in hours)])
    header = [
        "stage", "runs to make", "epochs x images", "images answered a run", "ms an image, train / answer", "hours",
        "core hours",
    ]  # fmt: skip
    told = (
        f"{config.name}: {len(jobs_of(config))} runs. Hours are at most (patience may end a run sooner), of computing "
        "alone, from steps timed now, so that what else runs here makes them more; core hours say what is computed."
    )
    return f"{told}\n\n{markdown_table(header, lines)}"


def show_tables(results: Path, names: Sequence[str] | None, *, csv_file: Path | None, published: Path | None) -> int:
    """Print the tables (all that have runs unless named), paired comparisons below 8b and 14; CSV into `csv_file`."""
    if holds_ablation(results):
        return show_sparsesegnet_tables(results, names, csv_file=csv_file)
    if holds_mining(results):
        return show_mining_tables(results, names, csv_file=csv_file)
    if holds_slsnet(results):
        return show_slsnet_tables(results, names, csv_file=csv_file)
    config = read_grid(results)
    known = [name for name in STAGE_OF if STAGE_OF[name] in config.stages or _has_runs(results, name)]
    chosen = list(names) if names else known
    if unknown := [name for name in chosen if name not in STAGE_OF]:
        raise CutisError(f"no table {unknown[0]!r} is made; there are: {', '.join(STAGE_OF)}")
    tables = []
    for name in chosen:
        planned = len(config.seeds) * config.folds(STAGE_OF[name])
        tables.append(beside(results, name, planned))
        sys.stdout.write(markdown_of(tables[-1], setup_lines(config, results, name)) + "\n")
        if name in ("8b", "14") and (pairs := comparisons(results, SOURCES[name][0])):
            sys.stdout.write(
                f"Map transfer against the baseline with the same masking:\n\n{comparison_markdown(pairs)}\n"
            )
        if name == "8b" and published:
            sys.stdout.write(published_text(published) + "\n")
    if csv_file:
        atomic_write(csv_file, csv_of(tables))
    return 0


def published_text(folder: Path) -> str:
    """Table 8b from the authors' published predictions, beside what they print."""
    table = selcn_tables()["8b"]
    lines = []
    for model, runs in published_runs(folder).items():
        values = [measures_of(run, table.measures) for run in runs.values()]
        row = table.row(model=model)
        assert row is not None  # the runs are those of this table's rows
        cells = ((str(spread([v[m] for v in values])), row.values[m].text) for m in table.measures)
        lines.append([str(model), *(cell for pair in cells for cell in pair)])
    header = ["model", *(cell for m in table.measures for cell in (m.replace("_", " "), "paper"))]
    return f"From the authors' published predictions:\n\n{markdown_table(header, lines)}\n"


def paper_text() -> str:
    """What in the printed tables cannot be, one line each."""
    return "\n".join(f"- {line}" for line in contradictions(selcn_tables())) + "\n"


def _has_runs(results: Path, name: str) -> bool:
    return (results / STAGE_OF[name]).is_dir()
