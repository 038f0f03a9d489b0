"""`cutis analyze` as a person at a terminal sees it: a bar, a line for each failure, what was found, the exit code."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cutis.analysis.batch import Options, StoppedError, analyze_to_folder
from cutis.analysis.cascade import Cascade
from cutis.analysis.runtime import load_model
from cutis.analysis.words import RESEARCH_ONLY

__all__ = ["run"]


def run(
    inputs: Sequence[Path], output: Path, *, model: str | None, options: Options, resume: bool, cascade_wanted: bool
) -> int:
    """Analyse and say so; 0 if every image was analysed, 1 if some failed or the output filled up.

    With `cascade_wanted`, a network for symmetry or class that `options` lack is told of, once.

    Messages and the bar go to stderr; the summary to stdout.
    """
    counts: Counter[str] = Counter()
    network = load_model(model)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
            bar = progress.add_task("Analysing", total=None)

            def begin(total: int, kept: int) -> None:
                progress.update(bar, total=total)
                counts["total"], counts["kept"] = total, kept

            for analysis in analyze_to_folder(inputs, output, network, options, resume=resume, begin=begin):
                counts[analysis.status] += 1
                if analysis.diagnosis:
                    counts["named" if analysis.diagnosis.label else "not sure"] += 1
                progress.advance(bar)
                if analysis.error:
                    console.print(f"cutis: {analysis.error}", markup=False, highlight=False, soft_wrap=True)
    except StoppedError as error:
        print(f"cutis: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        done = counts["lesion"] + counts["no_lesion"] + counts["failed"]
        print(f"cutis: stopped at {done} of {counts['total']}; go on with --resume", file=sys.stderr)
        return 130
    print(_summary(counts, output, _absent(options.cascade) if cascade_wanted else ""))
    return 1 if counts["failed"] else 0


def _absent(cascade: Cascade) -> str:
    """What was not answered because no network for it is there."""
    lacking = [("symmetry", "--symmetry-model", cascade.symmetry), ("class", "--class-model", cascade.lesion)]
    absent = [(what, flag) for what, flag, network in lacking if network is None]
    if not absent:
        return ""
    whats, flags = (" and ".join(words) for words in zip(*absent, strict=True))
    return f"No {whats}: this cutis has no model for {'them' if len(absent) > 1 else 'it'} (give {flags}).\n"


def _summary(counts: Counter[str], output: Path, absent: str) -> str:
    total = "1 image" if counts["total"] == 1 else f"{counts['total']} images"
    parts = [f"{counts['lesion']} with a lesion", f"{counts['no_lesion']} without", f"{counts['failed']} failed"]
    earlier = f" ({counts['kept']} from an earlier run)" if counts["kept"] else ""
    classes = f"Class: {counts['named']} named, {counts['not sure']} not sure.\n" * any(
        counts[answer] for answer in ("named", "not sure")
    )
    found = f"{total}: {', '.join(parts)}{earlier}.\n"
    return f"{found}{classes}{absent}Report: {output / 'report.html'}\n{RESEARCH_ONLY}"
