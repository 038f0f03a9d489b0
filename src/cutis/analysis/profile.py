"""Where the time of a run went: rows that add up to the wall time, from the process's start to the last word.

Steps of an image are the record's own `times_ms`; what is between them (records, journal, report) has a row of its own,
and so has what came before the first image. Only a run of one image at a time can add up, so `--profile` is that.
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

__all__ = ["Profile"]

BETWEEN = "records and report"


class Profile:
    """Made when the verb begins: what the process did before is the row 'start'.

    >>> profile = Profile()
    >>> profile.lap("models")
    >>> profile.image({"read": 0.0, "network": 0.0})
    >>> list(profile.rows()), abs(sum(profile.rows().values()) - profile.wall_ms) < 50
    (['start', 'models', 'read', 'network', 'records and report'], True)
    """

    def __init__(self) -> None:
        self._before_ms = 1000 * _age()
        self._begun = self._last = time.perf_counter()
        self._laps: dict[str, float] = {"start": self._before_ms}
        self._steps: dict[str, float] = defaultdict(float)
        self.images = 0

    @property
    def wall_ms(self) -> float:
        """Since the process began."""
        return self._before_ms + 1000 * (time.perf_counter() - self._begun)

    def lap(self, name: str) -> None:
        """What was done since the last lap was `name`."""
        now = time.perf_counter()
        self._laps[name] = 1000 * (now - self._last)
        self._last = now

    def image(self, times_ms: Mapping[str, float]) -> None:
        """An image is finished."""
        self.images += 1
        for step, ms in times_ms.items():
            self._steps[step] += ms

    def rows(self) -> dict[str, float]:
        """Milliseconds by what they were spent on; their sum is the wall time."""
        known = {**self._laps, **self._steps}
        return {**known, BETWEEN: self.wall_ms - sum(known.values())}

    def table(self) -> str:
        """The same for a terminal, with each step's share of the wall time and its milliseconds an image."""
        rows = self.rows()
        whole = sum(rows.values())
        lines = [f"{'':20}{'ms':>10}{'share':>8}{'ms an image':>14}"]
        for name, ms in rows.items():
            each = f"{ms / self.images:14.2f}" if self.images and name not in self._laps else ""
            lines.append(f"{name:20}{ms:10.1f}{ms / whole:8.1%}{each}")
        return "\n".join([*lines, f"{'wall time':20}{whole:10.1f}{1:8.0%}"])


def _age() -> float:
    """Seconds since this process began; where the system does not tell, the processor time that it has had since."""
    stat, uptime = Path("/proc/self/stat"), Path("/proc/uptime")
    if sys.platform == "linux" and stat.is_file() and uptime.is_file():
        ticks = int(stat.read_text().rpartition(")")[2].split()[19])
        return max(0.0, float(uptime.read_text().split()[0]) - ticks / os.sysconf("SC_CLK_TCK"))
    return time.process_time()
