"""The tables of docs/performance.md, each made from the files in benchmarks/results that it is about.

readme_table.py writes them between the page's markers, with the README's. What was not measured yet says so, with the
command that measures it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cutis.benchmark.plots import PLOTS
from cutis.benchmark.result import shown
from cutis.evaluation.tables import markdown_table

__all__ = ["PERFORMANCE", "goals", "latency", "peers", "pictures", "reasons", "roofline"]

Report = Mapping[str, Any]
_PEERS = {
    "ms": "ms, 1 thread", "ratio to U": "ratio to U", "load ms": "load, ms", "first ms": "first, ms",
    "peak MB": "peak, MB", "above runtime MB": "above the runtime, MB", "file MB": "file, MB",
    "M parameters": "parameters, M", "GMAC": "GMAC", "attention GMAC": "of attention", "Dice": "Dice",
}  # fmt: skip
_ROOFLINE = ["ms", "roofline ms", "times roofline", "times roofline in cache", "GMAC", "MB moved", "nodes"]
_OPERATORS = ["ms", "roofline ms", "above it ms", "nodes", "GMAC", "MB moved"]
_SHOWN_OPERATORS = 5  # kinds of each model: the rest is small
_ALT = {
    "accuracy-latency": "Dice of each network that was trained here against the time of one forward pass",
    "latency-threads": "Time of one forward pass against the number of threads",
    "latency-size": "Time of one forward pass against the side of the picture",
}


def goals(results: Path) -> str:
    """Every target of every benchmark: what was found, and whether it is met."""
    lines = []
    for path in sorted(results.glob("*.json")):
        report = json.loads(path.read_text("utf-8"))
        for row in report.get("rows", ()) if "benchmark" in report else ():
            if isinstance(row, dict) and row.get("target"):
                name, relation, limit = row["target"]
                met = "yes" if row["met"] else "**NO**"
                lines.append([report["benchmark"], row["name"], name, shown(row["values"], name),
                              f"{relation} {limit:.3g}", met])  # fmt: skip
    return markdown_table(["Benchmark", "What", "Measure", "Found", "Goal", "Met"], lines)


def peers(results: Path) -> str:
    """Ours and the peers, one line each."""
    report = _report(results, "peers")
    if report is None:
        return _missing("cutis benchmark peers")
    rows = report["rows"]
    threads = [name for name in _columns(rows) if name.startswith("ms, ") and not name.endswith((" low", " high"))]
    columns = {"ms": _PEERS["ms"], **{name: name for name in threads}, **_PEERS}
    lines = [[row["name"], *(shown(row["values"], name) for name in columns)] for row in rows]
    accuracy = f"Dice: on {report['facts']['accuracy on']}, of networks trained and evaluated here."
    return markdown_table(["Network", *columns.values()], lines) + f"\n\n{accuracy}\n\n" + _source(report)


def reasons(results: Path) -> str:
    """What a peer could not do, and why."""
    report = _report(results, "peers")
    if report is None:
        return _missing("cutis benchmark peers")
    said = [
        f"- {title}: {what}, because {facts[what]}"
        for title, facts in report["facts"].items()
        if isinstance(facts, dict)
        for what in ("not exported", "not in INT8")
        if what in facts
    ]
    return "\n".join(said) or "Everything ran in both precisions."


def latency(results: Path) -> str:
    """One line a network, one column a side and a number of threads."""
    report = _report(results, "latency")
    if report is None:
        return _missing("cutis benchmark latency")
    points = list(dict.fromkeys((row["values"]["side"], row["values"]["threads"]) for row in report["rows"]))
    found: dict[str, dict[tuple[float, float], str]] = {}
    for row in report["rows"]:
        network = report["facts"][row["name"]]["network"]
        found.setdefault(network, {})[row["values"]["side"], row["values"]["threads"]] = shown(row["values"], "ms")
    header = [f"{side:g} px, {count:g} thread{'s' * (count > 1)}" for side, count in points]
    lines = [[network, *(of.get(point, "") for point in points)] for network, of in found.items()]
    return markdown_table(["ms", *header], lines) + "\n\n" + _source(report)


def roofline(results: Path) -> str:
    """Each model against its floor, then the operators furthest above theirs."""
    report = _report(results, "roofline")
    if report is None:
        return _missing("cutis benchmark roofline")
    wholes = [row for row in report["rows"] if row["target"]]
    parts = [row for row in report["rows"] if not row["target"]]
    shown_parts = [
        part
        for whole in wholes
        for part in [part for part in parts if part["name"].startswith(f"{whole['name']}: ")][:_SHOWN_OPERATORS]
    ]
    peaks = ", ".join(f"{name} {value:.3g}" for name, value in report["facts"]["peaks"].items())
    tables = [_table("Model", wholes, _ROOFLINE), _table("Operators", shown_parts, _OPERATORS)]
    return "\n\n".join([f"Measured peaks of one thread: {peaks}.", *tables, _source(report)])


def pictures(results: Path) -> str:
    """The plots of what was measured, where they are drawn beside the page."""
    drawn = [name for name, (source, _) in PLOTS.items() if (results / f"{source}.json").is_file()]
    return "\n\n".join(f"![{_ALT[name]}](images/{name}.svg)" for name in drawn) or _missing("cutis benchmark")


PERFORMANCE: dict[str, Callable[[Path], str]] = {
    "goals": goals,
    "peers": peers,
    "reasons": reasons,
    "latency": latency,
    "roofline": roofline,
    "pictures": pictures,
}


def _report(results: Path, name: str) -> Report | None:
    path = results / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


def _missing(command: str) -> str:
    return f"Not measured yet: `{command}` on an idle machine."


def _columns(rows: Sequence[Report]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row["values"]))


def _table(title: str, rows: Sequence[Report], columns: Sequence[str]) -> str:
    lines = [[row["name"], *(shown(row["values"], name) for name in columns)] for row in rows]
    return markdown_table([title, *columns], lines)


def _source(report: Report) -> str:
    machine = report["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return f"`{report['command']}`, {report['date']}, on {machine['processor']}, {machine['cores']} cores; {packages}."
