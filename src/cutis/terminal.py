"""Where tables are printed: as wide as the terminal, and wide enough where it all goes into a pipe or a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["PIPED_WIDTH", "printer"]

PIPED_WIDTH = 140
"""Columns where there is no terminal: rich's 80 cut the figures of our tables to their first digit."""


def printer() -> Console:
    """Rich's console on stdout; lines of text are never broken, tables are as wide as there is room.

    >>> printer().width >= 40
    True
    """
    from rich.console import Console

    console = Console(soft_wrap=True)
    return console if console.is_terminal else Console(soft_wrap=True, width=PIPED_WIDTH)
