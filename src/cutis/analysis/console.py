"""`cutis analyze` as a person at a terminal sees it: a bar, a line for each failure, what was found, the exit code."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from cutis.analysis.batch import Options, StoppedError, analyze_to_folder
from cutis.analysis.cascade import Cascade, choose_cascade
from cutis.analysis.profile import Profile
from cutis.analysis.prompted import Correction, correction_of, parse_box, parse_point
from cutis.analysis.runtime import load_model
from cutis.analysis.runtimes import DEFAULT_RUNTIME
from cutis.analysis.words import RESEARCH_ONLY
from cutis.errors import CutisError

__all__ = ["Models", "Prompts", "run"]


class Models(NamedTuple):
    """Which networks, and what runs them; None for those that come with cutis."""

    segmenter: str | None = None
    symmetry: str | None = None
    lesion: str | None = None
    cascade: bool = True
    runtime: str = DEFAULT_RUNTIME


class Prompts(NamedTuple):
    """--box, --point and --not-point as they were typed; `refine`: the promptable that is asked by the network's own
    mask, and that answers the others too."""

    box: str | None = None
    points: Sequence[str] = ()
    not_points: Sequence[str] = ()
    refine: str | None = None

    def correction(self, runtime: str) -> Correction | None:
        """What is asked of which promptable, opened; None where nothing is."""
        box = parse_box(self.box) if self.box else None
        on, beside = ([parse_point(text) for text in texts] for texts in (self.points, self.not_points))
        return correction_of(box, on, beside, self.refine, runtime=runtime)


class _Bar(NamedTuple):
    """`total`: how many there are. `advance`: one more is done. `say`: a line above the bar."""

    total: Callable[[int], None]
    advance: Callable[[], None]
    say: Callable[[str], None]


def run(
    inputs: Sequence[Path], output: Path, *, models: Models, options: Options, resume: bool, profile: bool = False,
    prompts: Prompts | None = None,
) -> int:  # fmt: skip
    """Analyse and say so; 0 if every image was analysed, 1 if some failed or the output filled up.

    A network for symmetry or class that is wanted and not there is told of, once. With `profile`, one image after the
    other, and where the time went.

    Messages and the bar go to stderr; the summary to stdout.
    """
    watch = Profile()
    if profile and (options.workers or 1) > 1:
        raise CutisError("--profile follows one image at a time: leave --workers out")
    counts: Counter[str] = Counter()
    network = load_model(models.segmenter, runtime=models.runtime)
    cascade = choose_cascade(models.symmetry, models.lesion, models.cascade, runtime=models.runtime)
    options = replace(
        options, cascade=cascade, correction=prompts.correction(models.runtime) if prompts else None,
        workers=1 if profile else options.workers,
    )  # fmt: skip
    watch.lap("models")
    try:
        with _bar() as bar:

            def begin(total: int, kept: int) -> None:
                bar.total(total)
                counts["total"], counts["kept"] = total, kept

            for analysis in analyze_to_folder(inputs, output, network, options, resume=resume, begin=begin):
                counts[analysis.status] += 1
                watch.image(analysis.times_ms)
                if analysis.diagnosis:
                    counts["named" if analysis.diagnosis.label else "not sure"] += 1
                bar.advance()
                if analysis.error:
                    bar.say(f"cutis: {analysis.error}")
    except StoppedError as error:
        print(f"cutis: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        done = counts["lesion"] + counts["no_lesion"] + counts["failed"]
        print(f"cutis: stopped at {done} of {counts['total']}; go on with --resume", file=sys.stderr)
        return 130
    print(_summary(counts, output, _absent(options.cascade) if models.cascade else ""))
    if profile:
        print(f"\n{watch.table()}")
    return 1 if counts["failed"] else 0


@contextmanager
def _bar() -> Iterator[_Bar]:
    """A bar on a terminal; elsewhere none, and what draws it is not loaded."""
    if not sys.stderr.isatty():
        yield _Bar(lambda total: None, lambda: None, lambda text: print(text, file=sys.stderr))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("Analysing", total=None)
        yield _Bar(
            lambda total: progress.update(task, total=total),
            lambda: progress.advance(task),
            lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True),
        )


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
