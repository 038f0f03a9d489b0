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
    from matplotlib.figure import Figure

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
        draw(figure, report)
        machine = report["machine"]
        figure.text(0.99, 0.01, f"{machine['processor']}, {report['date']}", ha="right", fontsize=6, color="0.4")
        content = io.StringIO()
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in content.getvalue().splitlines()) + "\n"


def _accuracy_against_latency(figure: Figure, report: Report) -> None:
    """Above, networks whose accuracy was measured; below, on the same axis of time, every other, one line each."""
    rows = sorted(report["rows"], key=lambda row: row["values"]["ms"])
    judged = [row for row in rows if "Dice" in row["values"]]
    others = [row for row in rows if "Dice" not in row["values"]]
    panels = [bool(judged), bool(others)]
    figure.set_size_inches(_WIDTH, _HEIGHT * panels[0] + (0.6 + 0.17 * len(others)) * panels[1])
    heights = [height for height, there in zip((_HEIGHT, 0.6 + 0.17 * len(others)), panels, strict=True) if there]
    axes = list(figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0])
    if judged:
        above = axes[0]
        for row in judged:
            of = row["values"]
            ends = [[of["Dice"] - of["Dice low"]], [of["Dice high"] - of["Dice"]]]
            above.errorbar(of["ms"], of["Dice"], yerr=ends, fmt="o", capsize=3, label=row["name"])
        above.set_ylabel(f"Dice on {report['facts']['accuracy on']}, mean and 95% interval")
        above.legend(fontsize=7)
    for number, row in enumerate(others):
        axes[-1].plot(row["values"]["ms"], -number, "o", color="0.35", markersize=4)
        axes[-1].annotate(row["name"], (row["values"]["ms"], -number), xytext=(6, 0), textcoords="offset points",
                          fontsize=7, va="center")  # fmt: skip
    if others:
        axes[-1].set_yticks([])
        axes[-1].set_ylabel("not trained here: time alone")
    axes[-1].set_xscale("log")
    axes[-1].set_xlim(0.7 * rows[0]["values"]["ms"], 12 * rows[-1]["values"]["ms"])  # names stand right of the last
    axes[-1].set_xlabel("one forward pass on one thread, milliseconds")


def _latency_against_threads(figure: Figure, report: Report) -> None:
    axes = _lines(figure, report, "threads", "threads", lambda values: values["side"] == 256)
    counts = sorted({row["values"]["threads"] for row in report["rows"]})
    axes.set_xticks(counts, [f"{count:g}" for count in counts])


def _latency_against_side(figure: Figure, report: Report) -> None:
    _lines(figure, report, "side", "side of the picture, pixels", lambda values: values["threads"] == 1)


def _lines(figure: Figure, report: Report, along: str, label: str, wanted: Callable[[dict[str, float]], bool]) -> Axes:
    axes = figure.subplots()
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
    axes.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    return axes


PLOTS: dict[str, tuple[str, Callable[[Figure, Report], None]]] = {
    "accuracy-latency": ("peers", _accuracy_against_latency),
    "latency-threads": ("latency", _latency_against_threads),
    "latency-size": ("latency", _latency_against_side),
}
"""Name of the picture -> (the result that it is drawn from, what draws it)."""
