"""`cutis doctor`: what works on this machine, what is missing, and what to do about it.

Packages are imported in another process, so that one that crashes (a wheel for another processor) is a line in the
table and not the end of the examination. Only the small size and the bundled models decide whether the answer is good.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from cutis.errors import CutisError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cutis.analysis.classifier import LesionClassifier
    from cutis.analysis.prompted import PromptableModel
    from cutis.analysis.runtime import Segmenter

__all__ = ["Check", "advise", "examine", "probe", "report", "works"]

SMALL = "small size"
REQUIRED = ("machine", SMALL, "bundled models")
DEVELOPERS = ("check", "dev")
IMPORT_NAMES = {
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "segmentation-models-pytorch": "segmentation_models_pytorch",
}
KNOWN_ERRORS = {
    "operator torchvision::nms does not exist": "torch and torchvision do not belong together; "
    "pip install --force-reinstall torch==2.14.1 torchvision==0.29.1",
    "libGL.so.1": "pip uninstall opencv-python opencv-python-headless; pip install opencv-python-headless",
    "DLL load failed": "install the Microsoft Visual C++ Redistributable, then try again",
}
MARKS = {"ok": "[green]ok[/]", "absent": "[yellow]absent[/]", "broken": "[red]broken[/]"}
MISSING = "not installed"
ROOM_NEEDED = 1e9

# Every answer is one line behind a mark: libraries may print while they are imported.
_PROBE = """
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[1])
for name in sys.argv[2:]:
    error = None
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as e:
        error = "missing" if e.name == name else f"{type(e).__name__}: {e}"
    except BaseException as e:
        error = f"{type(e).__name__}: {e}"
    print("cutis-probe", json.dumps([name, error]), flush=True)
"""


class Check(NamedTuple):
    """One thing looked at; `status` is 'ok', 'absent' (not there) or 'broken' (there, and does not work)."""

    group: str
    name: str
    status: Literal["ok", "absent", "broken"]
    detail: str
    advice: str = ""


def works(checks: Sequence[Check]) -> bool:
    """Whether the small size works: everything that using a model needs is ok.

    >>> works([Check("small size", "numpy", "ok", "2.4.6"), Check("train", "torch", "absent", "")])
    True
    >>> works([Check("small size", "numpy", "absent", "")])
    False
    """
    return all(check.status == "ok" for check in checks if check.group in REQUIRED)


def examine() -> Iterator[Check]:
    """Look at the machine, the packages and the models, one `Check` after another; seconds where torch is there."""
    yield from _machine()
    for size, distributions in _requirements().items():
        packages = list(_packages(size, distributions))
        yield from packages
        if size == SMALL and works(packages):
            yield from _models()
            yield from _classifiers()
            yield from _promptables()
        elif size == SMALL:
            yield Check("bundled models", "all", "broken", "need the packages above")
        if any(check.name == "torch" and check.status == "ok" for check in packages):
            yield _gpu()


def report(as_json: bool) -> int:
    """Print the examination as a table or as JSON; 0 if the small size works, else 1."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    with Console(stderr=True).status("Looking at this machine"):
        checks = list(examine())
    good = works(checks)
    if as_json:
        print(json.dumps({"works": good, "checks": [check._asdict() for check in checks]}, indent=2))
        return 0 if good else 1
    table = Table(box=None, pad_edge=False, show_header=False)
    for overflow in ("ignore", "ignore", "ignore", "fold"):
        table.add_column(overflow=overflow, no_wrap=overflow == "ignore")
    shown = ""
    for (group, name, status, said), alike in groupby(checks, _line):
        table.add_row(
            "" if group == shown else group, name or f"{len(list(alike))} packages", MARKS[status], escape(said)
        )
        shown = group
    console = Console()
    console.print(table)
    console.print("cutis works here." if good else "cutis does not work here: see the lines above that are not ok.")
    return 0 if good else 1


def _line(check: Check) -> tuple[str, str, str, str]:
    """Group, name, status and what is said; without the name where packages that are missing alike share a line."""
    said = ": ".join(part for part in (check.detail, check.advice) if part)
    shared = check.status == "absent" and check.detail == MISSING
    return check.group, "" if shared else check.name, check.status, said


def probe(modules: Sequence[str]) -> dict[str, str | None]:
    """Import each module in another process: None where that worked, 'missing', or the error in one line.

    >>> probe(["json", "no_such_module"])
    {'json': None, 'no_such_module': 'missing'}
    """
    found: dict[str, str | None] = {}
    while left := [name for name in modules if name not in found]:
        command = [sys.executable, "-c", _PROBE, json.dumps(sys.path), *left]
        child = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        for line in child.stdout.splitlines():
            if line.startswith("cutis-probe "):
                name, error = json.loads(line.removeprefix("cutis-probe "))
                found[name] = error and " ".join(error.split())
        culprit = next((name for name in left if name not in found), None)
        if culprit:
            found[culprit] = f"importing it ends the process (exit code {child.returncode})"
    return {name: found[name] for name in modules}


def advise(error: str, install: str) -> str:
    """What to do about an import error: the remedy of a known one, else to install again with `install`.

    >>> advise("RuntimeError: operator torchvision::nms does not exist", "pip install cutis")[:47]
    'torch and torchvision do not belong together; p'
    """
    return next((advice for text, advice in KNOWN_ERRORS.items() if text in error), install)


def _machine() -> Iterator[Check]:
    yield Check("machine", "Python", "ok" if sys.version_info >= (3, 10) else "broken", platform.python_version())
    yield Check("machine", "system", "ok", f"{platform.system()} {platform.release()}, {platform.machine()}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Check("machine", "cores", "ok", str(cores))
    for name, folder in (("temporary files", Path(tempfile.gettempdir())), ("this folder", Path.cwd())):
        yield _room(name, folder)


def _room(name: str, folder: Path) -> Check:
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as stream:
            stream.write(b"cutis")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Check("folders", name, "broken", f"{folder}: {error.strerror}", "write results to another folder")
    detail = f"{folder}: writable, {free / 1e9:.1f} GB free"
    if free < ROOM_NEEDED:
        return Check("folders", name, "broken", detail, "free some space: a training writes gigabytes")
    return Check("folders", name, "ok", detail)


def _requirements() -> dict[str, list[str]]:
    """Distributions by size: 'small size', then each extra meant for users, as the installed package declares them."""
    sizes: dict[str, list[str]] = {SMALL: []}
    for requirement in metadata.requires("cutis") or []:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", requirement)
        size = extra[1] if extra else SMALL
        if name and size not in DEVELOPERS:
            sizes.setdefault(size, []).append(name[0].lower())
    return sizes


def _packages(extra: str, distributions: Sequence[str]) -> Iterator[Check]:
    install = "pip install cutis" if extra == SMALL else f'pip install "cutis[{extra}]"'
    modules = {name: IMPORT_NAMES.get(name, name.replace("-", "_")) for name in distributions}
    errors = probe(list(modules.values()))
    for name, module in modules.items():
        error = errors[module]
        if error is None:
            yield Check(extra, name, "ok", _version(name))
        elif error == "missing":
            yield Check(extra, name, "absent", MISSING, install)
        else:
            yield Check(extra, name, "broken", error, advise(error, f"{install} --force-reinstall"))


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "imports, but pip does not know it"


def _models() -> Iterator[Check]:
    """Each bundled model opened (which checks its SHA-256) and run once on a grey square."""
    from cutis.analysis import runtime

    group, advice = "bundled models", "install cutis again"
    try:
        names = runtime.list_models()
    except CutisError as error:
        yield Check(group, "models.json", "broken", str(error), advice)
        return
    if runtime.DEFAULT_MODEL not in names:
        yield Check(group, runtime.DEFAULT_MODEL, "absent", "this installation came without its weights", advice)
    yield from (_tried(name, runtime.load_model, _probabilities) for name in names)


def _classifiers() -> Iterator[Check]:
    """The same of the networks for symmetry and class, where some come with cutis."""
    from cutis.analysis import classifier

    try:
        symmetry, lesion = classifier.list_classifiers("symmetry"), classifier.list_classifiers("lesion_class")
    except CutisError:  # `_models` has said so
        return
    for name in symmetry:
        yield _tried(name, classifier.load_symmetry, lambda model, square: model.answer(square).logits)
    for name in lesion:
        yield _tried(name, classifier.load_lesion, _class_logits)


def _promptables() -> Iterator[Check]:
    """The same of the pairs that boxes and points are asked of."""
    from cutis.analysis import model_file, prompted

    try:
        names = model_file.bundled("prompt-encoder")
    except CutisError:  # `_models` has said so
        return
    for name in names:
        yield _tried(name, prompted.load_promptable_model, _boxed)


def _tried(name: str, load: Callable[[str], Any], answer: Callable[[Any, NDArray], NDArray]) -> Check:
    """One model opened and asked about a grey square; `answer` gives its numbers."""
    import numpy as np

    group, advice = "bundled models", "install cutis again"
    try:
        model = load(name)
        size = model.preprocessing.size
        started = time.perf_counter()
        good = bool(np.isfinite(answer(model, np.full((size, size, 3), 128, np.uint8))).all())
    except Exception as error:  # whatever stops a model on this machine is what was asked for
        return Check(group, name, "broken", " ".join(str(error).split()), advice)
    if not good:
        return Check(group, name, "broken", "gives no probabilities", advice)
    taken = f"version {model.info.version}, answered in {1000 * (time.perf_counter() - started):.0f} ms"
    return Check(group, name, "ok", taken)


def _probabilities(model: Segmenter, square: NDArray) -> NDArray:
    found = model.probability(square)
    if found.shape != (1, *square.shape[:2]):
        raise ValueError(f"gives {found.shape}")
    return found


def _boxed(model: PromptableModel, square: NDArray) -> NDArray:
    size = square.shape[0]
    return model.answer(square, (size / 4, size / 4, size / 2, size / 2), [], None)[0]


def _class_logits(model: LesionClassifier, square: NDArray) -> NDArray:
    import numpy as np

    size = model.symmetry_map_size
    return model.answer(square, np.zeros(size, np.float32) if size else None).logits


def _gpu() -> Check:
    import torch

    if torch.cuda.is_available():
        return Check("train", "GPU", "ok", torch.cuda.get_device_name())
    if torch.backends.mps.is_available():
        return Check("train", "GPU", "ok", "Apple GPU (mps)")
    return Check("train", "GPU", "absent", "torch sees none: training uses the processor")
