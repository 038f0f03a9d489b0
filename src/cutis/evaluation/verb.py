"""`cutis evaluate`, the order of its steps: select, measure, summarise, compare, print, write."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cutis import __version__
from cutis.evaluation import report
from cutis.evaluation.evaluate import Predictor, evaluate
from cutis.evaluation.selection import SplitRule, select
from cutis.evaluation.summary import BOOTSTRAP, compare, summarise
from cutis.evaluation.tables import read_rows

__all__ = ["Subject", "run"]


class Subject(NamedTuple):
    """What is evaluated: a predictor, its name as reports print it, the split it was trained with, safe parallelism."""

    predict: Predictor
    name: str
    rule: SplitRule
    workers: int


def run(
    subject: Subject,
    data: Path,
    *,
    datasets: Sequence[str] | None,
    part: str,
    output: Path | None,
    against: Path | None,
    limit: int | None,
    command: str,
) -> int:
    """Evaluate, print the tables, write the files if `output` is given; 0, or 1 if an image could not be measured."""
    others = read_rows(against) if against else []  # a wrong file is said before the work, not after it
    samples = select(data, datasets=datasets, part=part, rule=subject.rule, limit=limit)
    chosen = [sample for own in samples.values() for sample in own]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("evaluating", total=len(chosen))
        evaluation = evaluate(subject.predict, chosen, workers=subject.workers, done=lambda: bar.advance(task))
    origin = {
        "model": subject.name,
        "split": _split_text(part, subject.rule) + (f"; at most {limit} images of each data set" if limit else ""),
        "cutis": __version__,
        "command": f"`{command}`",
    }
    summaries = summarise(evaluation.rows, BOOTSTRAP)
    comparisons = compare(evaluation.rows, others, BOOTSTRAP) if against else []
    result = report.Report(
        origin | ({"compared with": str(against)} if against else {}), evaluation, summaries, comparisons
    )
    sys.stdout.write(report.markdown(result))
    if output:
        report.write(output, result, samples, subject.predict)
    return 1 if evaluation.failures else 0


def _split_text(part: str, rule: SplitRule) -> str:
    if part == "all":
        return "all images, also those that the model was trained on"
    shares = ", ".join(f"{name} {share:g}" for name, share in rule.fractions.items())
    return f"{part}, of {shares} by lesion with seed {rule.seed} over {', '.join(rule.datasets)}; other data sets whole"
