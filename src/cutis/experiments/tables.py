"""Tables as Markdown and CSV: each measure of ours beside what the paper prints; above them what is different here."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np

from cutis.evaluation.tables import markdown_table
from cutis.experiments.beside import Beside
from cutis.experiments.measures import Comparison, Spread
from cutis.experiments.paper import PaperRow

__all__ = ["comparison_markdown", "csv_of", "markdown_of"]

GAUSSIAN = "centred Gaussian"
TITLES = {
    "dice": "Dice", "sensitivity": "sensitivity", "specificity": "specificity", "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy", "kappa": "kappa", "macro_precision": "macro precision",
    "macro_recall": "macro recall", "macro_f1": "macro F1", "weighted_precision": "weighted precision",
    "weighted_recall": "weighted recall", "weighted_f1": "weighted F1", "iou": "IoU", "overlap": "overlap",
    "pointing_game": "pointing game",
}  # fmt: skip


def markdown_of(table: Beside, setup: Sequence[str]) -> str:
    """The table as Markdown: what is different at our scale above it, each measure of ours beside the paper's."""
    names = list(table.paper.rows[0].what)
    header = [*names, *(cell for m in table.paper.measures for cell in (TITLES[m], "paper"))]
    lines = [
        [*(_cell(row.what[key]) for key in names), *_values(row, ours, table)]
        for row, ours in zip(table.paper.rows, table.ours, strict=True)
    ]
    if table.gaussian:
        known = (_own(m, table.gaussian[m], table) for m in table.paper.measures)
        lines.append([GAUSSIAN, *[""] * (len(names) - 1), *(cell for value in known for cell in (value, ""))])
    title = f"### Table {table.paper.name}: {table.paper.title}"
    spread_over = {
        "runs": "± is the standard deviation over runs; the paper's likewise.",
        "folds": "± is the standard deviation over runs (every fold of every seed); the paper's is over folds.",
        "images": "± is the standard deviation over images.",
        "none": "Means over images.",
    }[table.paper.spread]
    notes = [f"- {line}" for line in (*setup, spread_over, *_missing(table))]
    return "\n\n".join([title, "\n".join(notes), markdown_table(header, lines)]) + "\n"


def csv_of(tables: Sequence[Beside]) -> str:
    """One line a value: table, what the row is of, measure, ours (mean, sd, runs or images), the paper's (mean, sd)."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["table", "row", "measure", "mean", "sd", "n", "paper_mean", "paper_sd"])
    for table in tables:
        for row, ours in zip(table.paper.rows, table.ours, strict=True):
            what = " ".join(f"{key}={_cell(value)}" for key, value in row.what.items())
            for measure, printed in row.values.items():
                value = ours.get(measure)
                own = [f"{value.mean:.6f}", f"{value.sd:.6f}", value.n] if value else ["", "", 0]
                sd = "" if printed.sd is None else printed.sd
                out.writerow([table.paper.name, what, measure, *own, printed.mean, sd])
        for measure, value in table.gaussian.items():
            out.writerow([table.paper.name, GAUSSIAN, measure, f"{value.mean:.6f}", f"{value.sd:.6f}", value.n, "", ""])
    return text.getvalue()


def comparison_markdown(found: Mapping[tuple[int, int], Comparison]) -> str:
    """One line a pair: in how many runs the map helped, by how much, and the paired tests over test images."""
    lines = []
    for (model, baseline), one in found.items():
        for name, test in (("accuracy", one.accuracy), ("balanced_accuracy", one.balanced_accuracy)):
            differences = one.runs[name]
            low, high = test.difference.low, test.difference.high
            lines.append([
                f"{model} - {baseline}", TITLES[name], f"{sum(d > 0 for d in differences)} of {len(differences)}",
                f"{np.mean(differences):+.3f} ± {np.std(differences):.3f}",
                f"{test.difference.mean:+.3f} [{low:+.3f}, {high:+.3f}]", f"{test.t_p:.3g}", f"{test.wilcoxon_p:.3g}",
            ])  # fmt: skip
    header = [
        "models", "measure", "runs better with the map", "difference, runs", "difference, images [95%]", "t, p",
        "Wilcoxon, p",
    ]  # fmt: skip
    return markdown_table(header, lines) + "\n"


def _values(row: PaperRow, ours: Mapping[str, Spread], table: Beside) -> list[str]:
    return [cell for m in table.paper.measures for cell in (_own(m, ours.get(m), table), row.values[m].text)]


def _own(measure: str, value: Spread | None, table: Beside) -> str:
    if value is None:
        return "-"
    if table.paper.spread == "none" or measure == "pointing_game":  # a share of images: its deviation says nothing
        return f"{value.mean:.3f}"
    return f"{value} ({value.n})" if value.n < table.planned else str(value)


def _missing(table: Beside) -> list[str]:
    absent = sum(not ours for ours in table.ours)
    short = sum(0 < value.n < table.planned for ours in table.ours for value in list(ours.values())[:1])
    lines = [f"Not run yet: {absent} of {len(table.ours)} rows."] if absent else []
    return lines + ([f"A number in brackets: so many of the {table.planned} planned runs are there."] if short else [])


def _cell(value: object) -> str:
    return {"True": "yes", "False": "no"}.get(str(value), str(value))
