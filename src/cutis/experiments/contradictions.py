"""What in a paper's printed tables cannot be, worked out from the printed digits alone.

Five rules. Bold is the highest value of its group. The mean F1 is at most the harmonic mean of mean precision and mean
recall (F1 is concave in both, Jensen). A map's mean IoU is at most its mean overlap (the union holds the map). Two
models do not have the same mean and standard deviation over thousands of images. The mean over the classes of a table
of classes is the macro average that table 8b prints for its model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

from cutis.experiments.paper import PaperRow, PaperTable

__all__ = ["chance_agreement", "contradictions"]


def contradictions(tables: Mapping[str, PaperTable]) -> list[str]:
    """One line a contradiction, in the order of the tables.

    >>> from cutis.experiments.paper import selcn_tables
    >>> [line.partition(" (")[0] for line in contradictions({"13": selcn_tables()["13"]})]
    ['Table 13, macro_f1: model 4', 'Table 13, macro_recall: model 12']
    """
    found: list[str] = []
    for table in tables.values():
        for rule in (_bold, _concave, _overlap, _twins):
            found += [f"Table {table.name}, {line}" for line in rule(table)]
        if table.model and "8b" in tables:
            found += [f"Table {table.name}, {line}" for line in _classes(table, tables["8b"])]
    return found


def chance_agreement(accuracy: float, kappa: float) -> float:
    """The agreement by chance that accuracy and Cohen's kappa together imply: kappa = (accuracy - p) / (1 - p).

    With seven classes of one size and predictions alike it is 1/7; on HAM10000's own shares about 0.47.

    >>> round(chance_agreement(0.859, 0.828), 2), round(chance_agreement(0.849, 0.713), 2)
    (0.18, 0.47)
    """
    return (accuracy - kappa) / (1 - kappa)


def _bold(table: PaperTable) -> Iterator[str]:
    """Within the models that mask the lesion network's input alike; all rows where there is only one group.

    Table 5 prints its best value of each line, which is the same rule over two networks.
    """
    for _, members in groupby(table.rows, key=lambda row: row.what.get("lesion")):
        rows = list(members)
        for measure in table.measures:
            bold = [row for row in rows if row.values[measure].bold]
            best = max(rows, key=lambda row: row.values[measure].mean)
            for row in bold:
                if row.values[measure].mean < best.values[measure].mean:
                    yield (
                        f"{measure}: {_name(row)} ({row.values[measure].text}) is bold, "
                        f"{_name(best)} ({best.values[measure].text}) is higher"
                    )


def _concave(table: PaperTable) -> Iterator[str]:
    trios = [tuple(m for m in table.measures if m.endswith(part)) for part in ("precision", "recall", "f1")]
    for precision, recall, f1 in zip(*trios, strict=True):
        for row in table.rows:
            p, r, f = (row.values[name] for name in (precision, recall, f1))
            highest = 2 / (1 / (p.mean + p.rounding) + 1 / (r.mean + r.rounding))
            if f.mean - f.rounding > highest:
                yield (
                    f"{f1}: {_name(row)} prints {f.text}, but {precision} {p.mean:g} and {recall} {r.mean:g} "
                    f"(each within {p.rounding:g}) allow at most {highest:.4f}"
                )


def _overlap(table: PaperTable) -> Iterator[str]:
    if {"iou", "overlap"} <= set(table.measures):
        for row in table.rows:
            iou, overlap = row.values["iou"], row.values["overlap"]
            if iou.mean - iou.rounding > overlap.mean + overlap.rounding:
                yield f"iou: {_name(row)} has IoU {iou.mean:g} above its overlap {overlap.mean:g}"


def _twins(table: PaperTable) -> Iterator[str]:
    if table.spread != "images":
        return
    for index, row in enumerate(table.rows):
        for other in table.rows[index + 1 :]:
            same = [m for m in table.measures if row.values[m].text == other.values[m].text]
            if {"iou", "pointing_game"} <= set(same):
                values = ", ".join(f"{m} {row.values[m].text}" for m in same)
                yield f"{_name(row)} and {_name(other)}: both {values}"


def _classes(table: PaperTable, overall: PaperTable) -> Iterator[str]:
    means = {f"macro_{m}": sum(row.values[m].mean for row in table.rows) / len(table.rows) for m in table.measures}
    rounding = table.rounding or 0.0

    def fits(row: PaperRow) -> bool:
        return all(abs(row.values[m].mean - mean) <= rounding + row.values[m].rounding for m, mean in means.items())

    fitting = [row for row in overall.rows if fits(row)]
    if all(row.what["model"] != table.model for row in fitting):
        said = ", ".join(f"{m} {mean:.3f}" for m, mean in means.items())
        others = " or ".join(_name(row) for row in fitting)
        yield f"the means over its classes ({said}) are not model {table.model}'s in table {overall.name}" + (
            f" but {others}'s" if others else ""
        )


def _name(row: PaperRow) -> str:
    if "model" in row.what:
        return f"model {row.what['model']}"
    return str(row.what.get("network") or row.what["class"])
