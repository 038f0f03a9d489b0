"""What a time was measured on, and whether the machine had other things to do.

A benchmark refuses to begin on a busy machine (`must_be_idle`) and says afterwards what it saw (`watching`).
Linux tells how long every core was busy; without that, the load average has to do.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from cutis.errors import CutisError

__all__ = ["Watch", "busy_elsewhere", "describe", "must_be_idle", "watching"]

PACKAGES = ("cutis", "numpy", "opencv-python-headless", "pillow", "onnxruntime", "torch", "segmentation-models-pytorch")
LOAD_LIMIT = 0.3  # cores that other work keeps busy before
OTHERS_LIMIT = 0.15  # and while it is measured, on average
SHARE_LIMIT = 0.97
_SAMPLE_S = 0.5
_STAT = Path("/proc/stat")


def describe() -> dict[str, Any]:
    """Processor, cores, system, Python, packages: JSON-ready. Nothing that names the machine or its user."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def processor() -> str:
    """The processor's name as its system gives it; `platform` knows it on some systems only."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        import subprocess

        found = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        )
        if found.returncode == 0:
            return found.stdout.strip()
    return platform.processor() or platform.machine()


class Watch:
    """`load`: cores that other work kept busy just before; None where the system does not tell.

    `others`: the same on average while it was measured (Linux). `share`: of a core, how much this process had then;
    computing all the time on a free core gives 1.
    """

    load: float | None = None
    others: float | None = None
    share: float | None = None

    def complaints(self, *, one_thread: bool) -> list[str]:
        """Why these times should not be believed; empty where nothing was seen."""
        found = []
        if self.load is not None and self.load > LOAD_LIMIT:
            found.append(f"other work was running before the measurement (load {self.load:.1f})")
        if self.others is not None and self.others > OTHERS_LIMIT:
            found.append(f"other work kept {self.others:.2f} cores busy during the measurement")
        if one_thread and self.share is not None and self.share < SHARE_LIMIT:
            found.append(f"the measurement had {self.share:.0%} of a core, the rest of the time it waited")
        return found


def must_be_idle(busy: bool) -> None:
    """Raise a `CutisError` where other work is running now; with `busy`, which the user gave, never.

    >>> must_be_idle(busy=True)
    """
    found = None if busy else busy_elsewhere()
    if found is not None and found > LOAD_LIMIT:
        raise CutisError(
            f"other work keeps {found:.1f} cores of this machine busy, so times taken now would be wrong: wait until "
            "it ends, or give --busy to measure all the same (the result then says so)"
        )


def busy_elsewhere() -> float | None:
    """Cores that other processes keep busy at this moment; half a second is slept for it. None: not known.

    Where only the load average is there, a thread of our own may still be in its minute: one is taken off.
    """
    before = _ticks()
    if before is None:
        return max(0.0, os.getloadavg()[0] - 1.0) if hasattr(os, "getloadavg") else None
    time.sleep(_SAMPLE_S)
    return _others(before, _SAMPLE_S)


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch how busy the machine is while the block runs; the answer is complete when the block ends.

    Processes that the block starts and waits for are its own.
    """
    watch = Watch()
    watch.load = busy_elsewhere()
    ticks = _ticks()
    wall, used = time.perf_counter(), time.process_time()
    try:
        yield watch
    finally:
        seconds = max(time.perf_counter() - wall, 1e-9)
        watch.share = (time.process_time() - used) / seconds
        watch.others = _others(ticks, seconds) if ticks is not None and seconds > _SAMPLE_S else None


def _others(before: tuple[float, float], seconds: float) -> float | None:
    now = _ticks()
    if now is None:
        return None
    busy, own = (late - early for late, early in zip(now, before, strict=True))
    return max(0.0, busy - own) / seconds


def _ticks() -> tuple[float, float] | None:
    """Seconds of processor time so far: of everything on the cores this process may use, and of this process with the
    children it waited for. None where the system does not tell."""
    try:
        lines = [line.split() for line in _STAT.read_text(encoding="utf-8").splitlines()]
        cores = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    except (OSError, AttributeError):
        return None
    kinds = (1, 2, 3, 6, 7, 8)  # user, nice, system, interrupts (two), what another virtual machine took
    busy = sum(int(line[kind]) for line in lines if line and line[0] in cores for kind in kinds if kind < len(line))
    own = os.times()
    spent = own.user + own.system + own.children_user + own.children_system
    return busy / os.sysconf("SC_CLK_TCK"), spent


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
