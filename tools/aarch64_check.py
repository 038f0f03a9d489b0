"""Does the wheel give the same masks on 64-bit ARM? `python tools/aarch64_check.py WHEEL FOLDER`, on Debian.

Correctness, not time: an ARM Python of Debian's and the ARM wheels of what cutis stands on are unpacked into FOLDER and
run by QEMU in user mode. Drawn lesions are analysed here and there, with INT8 and with fp32; of every picture the masks
may differ in `MOST_DIFFERENT` of the pixels. Nothing is installed on this machine. onnxruntime 1.23 and later stop at
import in the emulator (not on ARM itself), so the check takes 1.22.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cutis.data.synthetic import write_folder
from cutis.imaging.read import read_mask

MOST_DIFFERENT = 0.001
PICTURES = 3
MODELS = ("segmenter-int8", "segmenter-fp32")
DEBIAN = (
    "libc6 libgcc-s1 libstdc++6 zlib1g libexpat1 libffi8 libbz2-1.0 liblzma5 libssl3 libuuid1 libcrypt1 "
    "python3.11-minimal libpython3.11-minimal libpython3.11-stdlib"
)
PACKAGES = "numpy==2.2.6 onnxruntime==1.22.1 opencv-python-headless pillow pydantic cyclopts rich pyyaml"
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")


def main(wheel: Path, folder: Path) -> int:
    """Prepare, analyse on both, compare; 0 where all masks agree."""
    root, site = folder / "root", folder / "site"
    if not (root / "usr/bin/python3.11").exists():
        _unpack_debian(folder / "debs", root)
    if not site.exists():
        _unpack_wheels(wheel, folder / "wheels", site)
    pictures = folder / "pictures"
    drawn = write_folder(pictures, PICTURES, 1, width=600, height=450)
    emulator = ["qemu-aarch64-static", "-L", str(root), "-E", f"PYTHONPATH={site}", "-E", "OMP_NUM_THREADS=1"]
    there = [*emulator, "-E", f"PYTHONHOME={root / 'usr'}", str(root / "usr/bin/python3.11"), "-s"]
    machine = _run([*there, "-c", "import platform; print(platform.machine())"]).strip()
    if machine != "aarch64":
        raise SystemExit(f"the emulated Python says it is on {machine}")
    worst = 0.0
    for model in MODELS:
        words = [
            "-c",
            "from cutis.cli import main; main()",
            "analyze",
            *map(str, drawn),
            "--model",
            model,
            "--workers",
            "1",
        ]
        _run([sys.executable, *words, "--output", str(folder / f"here-{model}")])
        _run([*there, *words, "--output", str(folder / f"there-{model}")])
        worst = max(worst, _compare(folder / f"here-{model}", folder / f"there-{model}", model))
    print(f"largest share of a mask's pixels that differ: {worst:.5%} (allowed: {MOST_DIFFERENT:.3%})")
    return int(worst > MOST_DIFFERENT)


def _unpack_debian(debs: Path, root: Path) -> None:
    lists = debs / "lists" / "partial"
    lists.mkdir(parents=True)
    apt = ["apt-get", "-q", "-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64"]
    apt += ["-o", f"Dir::State::Lists={lists.parent}", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="]
    _run([*apt, "update"])
    _run([*apt, "download", *DEBIAN.split()], debs)
    for package in sorted(debs.glob("*.deb")):
        _run(["dpkg", "-x", str(package), str(root)])


def _unpack_wheels(wheel: Path, wheels: Path, site: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", "--python-version", "3.11"]
    pip += ["--implementation", "cp", "-d", str(wheels)]
    for platform in PLATFORMS:
        pip += ["--platform", f"{platform}_aarch64"]
    _run([*pip, *PACKAGES.split()])
    for path in (*wheels.glob("*.whl"), wheel):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(site)


def _compare(here: Path, there: Path, model: str) -> float:
    """The largest share of pixels that differ in one of the masks."""
    records = [[json.loads(line) for line in (of / "results.jsonl").read_text().splitlines()] for of in (here, there)]
    for one, other in zip(*records, strict=True):
        said = [record["error"] or (record["diagnosis"] or {}).get("label") for record in (one, other)]
        print(
            f"{model}, {Path(one['file']).name}: {one['status']}, {said[0]} here; {other['status']}, {said[1]} on ARM"
        )
    worst = 0.0
    masks = sorted(path.relative_to(here) for path in (here / "masks").rglob("*.png"))
    for name in masks:
        share = float(np.mean(read_mask(here / name) != read_mask(there / name)))
        print(f"{model}, {name}: {share:.5%} of the pixels differ")
        worst = max(worst, share)
    if not masks:
        raise SystemExit(f"{model}: no mask was written")
    return worst


def _run(words: Sequence[str], folder: Path | None = None) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words[:4])} ... ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("give the wheel and a folder to unpack into: aarch64_check.py dist/cutis-*.whl arm-check")
    sys.exit(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()))
