"""The tables a paper prints, as data: `selcn_tables.yaml` holds SE-LCN's tables 5 to 15, `slsnet_tables.yaml` SLSNet's
3 to 8, `sparsesegnet_tables.yaml` SparseSegNet's 1 to 4, `mining_tables.yaml` knowledge mining's 1 to 3, every value as
printed.

`Printed.bold` is what the paper marks as the highest of its group; `contradictions` (contradictions.py) says where that
and other things cannot be.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml

__all__ = ["PaperRow", "PaperTable", "Printed", "mining_tables", "selcn_tables", "slsnet_tables", "sparsesegnet_tables"]


@dataclass(frozen=True)
class Printed:
    """A value as the paper prints it: its digits, `sd` None where there is none.

    >>> value = Printed.parse("*0.883 ± 0.006")
    >>> value.mean, value.sd, value.bold, value.text, value.rounding
    (0.883, 0.006, True, '0.883 ± 0.006', 0.0005)
    """

    text: str
    mean: float
    sd: float | None
    bold: bool
    rounding: float
    """How far the mean may be from what was measured: half of its last digit, or what the table says."""

    @classmethod
    def parse(cls, text: str, rounding: float | None = None) -> Printed:
        """Read 'mean ± sd' or 'mean', either with a star before it where it is bold."""
        plain = text.removeprefix("*")
        mean, _, sd = plain.partition(" ± ")
        half = 0.5 * 10.0 ** -len(mean.partition(".")[2])
        return cls(plain, float(mean), float(sd) if sd else None, text.startswith("*"), rounding or half)


@dataclass(frozen=True)
class PaperRow:
    """One line: `what` it is of (model, lesion, symmetry, pretrained, network, class, support), values by measure."""

    what: dict[str, Any]
    values: dict[str, Printed]


@dataclass(frozen=True)
class PaperTable:
    """One printed table; `spread` says what its ± is over, `model` which one it is of where it is of one."""

    name: str
    title: str
    spread: Literal["folds", "runs", "images", "none"]
    measures: tuple[str, ...]
    rows: tuple[PaperRow, ...]
    model: int | None
    rounding: float | None

    def row(self, **what: Any) -> PaperRow | None:
        """The line that is of all that is asked for; None if there is none.

        >>> selcn_tables()["8b"].row(model=3).values["kappa"].text
        '0.721 ± 0.011'
        """
        return next((row for row in self.rows if what.items() <= row.what.items()), None)


@cache
def selcn_tables() -> dict[str, PaperTable]:
    """SE-LCN's tables by number, in the paper's order.

    >>> list(selcn_tables())
    ['5', '6a', '6b', '7', '8a', '8b', '9', '10', '11', '12', '13', '14', '15']
    """
    return _read("selcn_tables.yaml")


@cache
def slsnet_tables() -> dict[str, PaperTable]:
    """SLSNet's tables by number, in the paper's order; a dash in the paper has no value.

    >>> slsnet_tables()["6"].row(method="BL GAN").values["dice"].text
    '83.61'
    """
    return _read("slsnet_tables.yaml")


@cache
def sparsesegnet_tables() -> dict[str, PaperTable]:
    """SparseSegNet's tables by number.

    >>> sparsesegnet_tables()["4"].row(row="-ag_op").values["dice"].text
    '0.885'
    """
    return _read("sparsesegnet_tables.yaml")


@cache
def mining_tables() -> dict[str, PaperTable]:
    """Knowledge mining's tables by number.

    >>> mining_tables()["1"].row(labelled=75, run="continuous").values["dice"].text
    '0.756 ± 0.003'
    """
    return _read("mining_tables.yaml")


def _read(name: str) -> dict[str, PaperTable]:
    text = resources.files("cutis.experiments").joinpath(name).read_text(encoding="utf-8")
    return {name: _table(name, content) for name, content in yaml.safe_load(text).items()}


def _table(name: str, content: dict[str, Any]) -> PaperTable:
    measures, rounding = tuple(content["measures"]), content.get("rounding")
    rows = tuple(
        PaperRow(
            {key: value for key, value in row.items() if key != "values"},
            {key: Printed.parse(text, rounding) for key, text in zip(measures, row["values"], strict=True) if text},
        )
        for row in content["rows"]
    )
    return PaperTable(name, content["title"], content["spread"], measures, rows, content.get("model"), rounding)
