"""What a time was measured on, and whether the machine had other things to do."""

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

__all__ = ["Watch", "describe", "watching"]

PACKAGES = ("cutis", "numpy", "opencv-python-headless", "pillow", "onnxruntime", "torch", "segmentation-models-pytorch")
LOAD_LIMIT = 1.0  # the minute before may hold the benchmark that ran before this one: one thread of our own
SHARE_LIMIT = 0.97


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
    """`load`: processes wanting a core, averaged over the minute before; None where the system does not tell.

    `share`: of a core, how much this process had while it was measured; computing all the time on a free core gives 1.
    """

    load: float | None = None
    share: float | None = None

    def complaints(self, *, one_thread: bool) -> list[str]:
        """Why these times should not be believed; empty where nothing was seen."""
        found = []
        if self.load is not None and self.load > LOAD_LIMIT:
            found.append(f"other work was running before the measurement (load {self.load:.1f})")
        if one_thread and self.share is not None and self.share < SHARE_LIMIT:
            found.append(f"the measurement had {self.share:.0%} of a core, the rest of the time it waited")
        return found


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch how busy the machine is while the block runs; the answer is complete when the block ends."""
    watch = Watch()
    watch.load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    wall, used = time.perf_counter(), time.process_time()
    try:
        yield watch
    finally:
        watch.share = (time.process_time() - used) / max(time.perf_counter() - wall, 1e-9)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
