"""The measured tables of the README and of docs/performance.md, from benchmarks/results/*.json and nothing else.

    python benchmarks/readme_table.py            # write them between their markers
    python benchmarks/readme_table.py --check    # exit 1 where a page says anything else than the files do

`accuracy-<model>.json` is the summary.json of a `cutis evaluate`; the others are what `cutis benchmark` writes. Under
each table stand the commands that measured it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from performance_tables import PERFORMANCE

from cutis.evaluation.tables import markdown_table
from cutis.files import atomic_write

__all__ = ["accuracy", "classes", "loader", "main", "memory", "rendered", "speed"]

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = [ROOT / "README.md", ROOT / "docs" / "performance.md"]
MARKED = re.compile(r"(<!-- (\w+) from benchmarks/results -->\n).*?(<!-- end -->)", re.DOTALL)
MEASURES = {"dice": ("Dice", 3), "jaccard": ("Jaccard", 3), "hd95_256": ("HD95, px at 256", 1)}

CLASS_MEASURES = {
    "accuracy": ("Accuracy", 3),
    "balanced_accuracy": ("Balanced accuracy", 3),
    "kappa": ("Cohen's kappa", 3),
    "macro_f1": ("F1, macro", 3),
}


def accuracy(results: Path) -> str:
    """One line a data set and model: each mean with its interval."""
    reports = {
        path.stem.removeprefix("accuracy-"): _load(path) for path in sorted(results.glob("accuracy-segmenter-*.json"))
    }
    header = ["Data set", "Model", "Images (lesions)", "Size, px", *(title for title, _ in MEASURES.values())]
    found = [(of["dataset"], model, of) for model, report in reports.items() for of in report["datasets"]]
    order = list(dict.fromkeys(dataset for dataset, _, _ in found))
    lines = [
        [dataset, model, f"{of['images']:,} ({of['lesions']:,})", of["sizes"], *_means(of["measures"], MEASURES)]
        for dataset, model, of in sorted(found, key=lambda entry: order.index(entry[0]))
    ]
    origins = [report["origin"] for report in reports.values()]
    return _table(header, lines, [f"{origin['command']}: {origin['split']}" for origin in origins])


def classes(results: Path) -> str:
    """One line a classifier: accuracy, balanced accuracy and what else is said of classes, with intervals."""
    paths = [path for task in ("symmetry", "lesion") for path in sorted(results.glob(f"accuracy-{task}-*.json"))]
    reports = {path.stem.removeprefix("accuracy-"): _load(path) for path in paths}
    header = ["Model", "Test images (lesions)", *(title for title, _ in CLASS_MEASURES.values())]
    lines = [
        [model, f"{of['dataset']} {of['images']:,} ({of['lesions']:,})", *_means(of["measures"], CLASS_MEASURES)]
        for model, report in reports.items()
        for of in report["datasets"]
    ]
    return _table(header, lines, [f"`{report['origin']['command']}`" for report in reports.values()])


def speed(results: Path) -> str:
    """One line a program of the interleaved benchmarks: median time with its spread, and the ratio to U."""
    header = ["One thread, warm", "ms", "ratio to U", "goal"]
    return _benchmarks(results, ["network", "pipeline", "cascade", "prompts"], header, ["ms", "ratio to U"])


def memory(results: Path) -> str:
    """One line a folder analysed: images a second, and the memory at its peak."""
    header = ["cutis analyze", "images/s", "peak MB", "goal"]
    return _benchmarks(results, ["memory"], header, ["images/s", "peak MB"])


def loader(results: Path) -> str:
    """One line an image size: what the loader gives and the training step takes, images a second."""
    columns = ["loader images/s", "step images/s", "loader / step"]
    return _benchmarks(results, ["data"], ["Training at", *columns, "goal"], columns)


TABLES: dict[str, Callable[[Path], str]] = {
    "accuracy": accuracy,
    "classes": classes,
    "speed": speed,
    "memory": memory,
    "loader": loader,
    **PERFORMANCE,
}


def rendered(page: str, results: Path) -> str:
    """The page with every marked place filled from the files in `results`."""
    return MARKED.sub(lambda mark: f"{mark[1]}\n{TABLES[mark[2]](results)}\n\n{mark[3]}", page)


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with --check compare them; 1 where one differs from the files."""
    stale = 0
    for page in PAGES:
        before = page.read_text("utf-8")
        after = rendered(before, RESULTS)
        if before == after:
            continue
        if "--check" in arguments:
            print(f"{page.relative_to(ROOT)} differs from benchmarks/results: run python benchmarks/readme_table.py")
            stale = 1
        else:
            atomic_write(page, after)
    return stale


def _benchmarks(results: Path, names: Sequence[str], header: Sequence[str], columns: Sequence[str]) -> str:
    reports = [_load(results / f"{name}.json") for name in names if (results / f"{name}.json").exists()]
    lines = [
        [row["name"], *(_value(row["values"], column) for column in columns), _goal(row["target"])]
        for report in reports
        for row in report["rows"]
    ]
    return _table(header, lines, [f"`{report['command']}`, {_machine(report['machine'])}" for report in reports])


def _table(header: Sequence[str], lines: Sequence[Sequence[str]], sources: Sequence[str]) -> str:
    return markdown_table(header, lines) + "\n\n" + "\n".join(f"- {source}" for source in sources)


def _means(measures: dict[str, Any], wanted: dict[str, tuple[str, int]]) -> list[str]:
    return [
        f"{measures[name]['mean']:.{digits}f} [{measures[name]['low']:.{digits}f}, {measures[name]['high']:.{digits}f}]"
        for name, (_, digits) in wanted.items()
    ]


def _value(values: dict[str, float], column: str) -> str:
    if column not in values:
        return ""
    stem = column.removesuffix(" to U")
    spread = [values.get(f"{stem} {end}") for end in ("low", "high")]
    inner = "" if None in spread else " [" + ", ".join(f"{value:.3g}" for value in spread) + "]"
    return f"{values[column]:.3g}{inner}"


def _goal(target: Sequence[Any] | None) -> str:
    return f"{target[0]} {target[1]} {target[2]:.3g}" if target else ""


def _machine(machine: dict[str, Any]) -> str:
    return f"on {machine['processor']}, {machine['cores']} cores"


def _load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
