"""`cutis benchmark plots`: accuracy against latency, latency against threads and against the image's side, as SVG.

Drawn from the JSON files alone. The same files give the same bytes, so that a test can tell an old picture.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutis.errors import CutisError
from cutis.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PLOTS", "draw_plots", "drawn"]

_WIDTH, _HEIGHT = 7.2, 4.5  # inches
_STYLE = {"svg.hashsalt": "cutis", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
Report = Mapping[str, Any]


def draw_plots(results: Path, images: Path) -> int:
    """Draw every plot whose result is there; CutisError where there is none."""
    written = []
    for name, (source, _) in PLOTS.items():
        if (results / f"{source}.json").is_file():
            atomic_write(images / f"{name}.svg", drawn(name, results))
            written.append(f"{name}.svg")
    if not written:
        raise CutisError(f"{results} holds neither peers.json nor latency.json: run 'cutis benchmark peers' first")
    print(f"written to {images}: {', '.join(written)}")
    return 0


def drawn(name: str, results: Path) -> str:
    """The plot `name` as SVG text."""
    import matplotlib
    from matplotlib.figure import Figure

    source, draw = PLOTS[name]
    report = json.loads((results / f"{source}.json").read_text(encoding="utf-8"))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        axes = figure.subplots()
        draw(axes, report)
        machine = report["machine"]
        figure.text(0.99, 0.01, f"{machine['processor']}, {report['date']}", ha="right", fontsize=6, color="0.4")
        content = io.StringIO()
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in content.getvalue().splitlines()) + "\n"


def _accuracy_against_latency(axes: Axes, report: Report) -> None:
    """Networks without a measured accuracy stand as ticks on the axis of time, by their names."""
    rows = sorted(report["rows"], key=lambda row: row["values"]["ms"])
    judged = [row for row in rows if "Dice" in row["values"]]
    floor = min((row["values"]["Dice low"] for row in judged), default=0.8) - 0.01
    for row in judged:
        of = row["values"]
        bars = [[of["Dice"] - of["Dice low"]], [of["Dice high"] - of["Dice"]]]
        axes.errorbar(of["ms"], of["Dice"], yerr=bars, fmt="o", capsize=3, label=row["name"])
        axes.annotate(row["name"], (of["ms"], of["Dice"]), xytext=(6, 4), textcoords="offset points")
    ceiling = max((row["values"]["Dice high"] for row in judged), default=0.95) + 0.01
    axes.set_ylim(floor, ceiling + 0.6 * (ceiling - floor))
    for row in (row for row in rows if row not in judged):
        axes.axvline(row["values"]["ms"], ymax=0.04, color="0.4")
        axes.annotate(row["name"], (row["values"]["ms"], 0.06), xycoords=("data", "axes fraction"), rotation=90,
                      fontsize=7, color="0.35", ha="center", va="bottom")  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("one forward pass, one thread, milliseconds (ticks: latency only, not trained here)")
    axes.set_ylabel(f"Dice on {report['facts']['accuracy on']}, mean and 95% interval")


def _latency_against_threads(axes: Axes, report: Report) -> None:
    _lines(axes, report, "threads", "threads", lambda values: values["side"] == 256)
    counts = sorted({row["values"]["threads"] for row in report["rows"]})
    axes.set_xticks(counts, [f"{count:g}" for count in counts])


def _latency_against_side(axes: Axes, report: Report) -> None:
    _lines(axes, report, "side", "side of the picture, pixels", lambda values: values["threads"] == 1)


def _lines(axes: Axes, report: Report, along: str, label: str, wanted: Callable[[dict[str, float]], bool]) -> None:
    networks = dict.fromkeys(of["network"] for of in report["facts"].values())
    for network in networks:
        points = sorted(
            (row["values"][along], row["values"]["ms"], row["values"]["ms low"], row["values"]["ms high"])
            for row in report["rows"]
            if report["facts"][row["name"]]["network"] == network and wanted(row["values"])
        )
        x, ms, low, high = zip(*points, strict=True)
        (line,) = axes.plot(x, ms, marker="o", label=network)
        axes.fill_between(x, low, high, alpha=0.15, color=line.get_color())
    axes.set_yscale("log")
    axes.set_xlabel(label)
    axes.set_ylabel("one forward pass, milliseconds (median and quartiles)")
    axes.legend(fontsize=7)


PLOTS: dict[str, tuple[str, Callable[[Axes, Report], None]]] = {
    "accuracy-latency": ("peers", _accuracy_against_latency),
    "latency-threads": ("latency", _latency_against_threads),
    "latency-size": ("latency", _latency_against_side),
}
"""Name of the picture -> (the result that it is drawn from, what draws it)."""
