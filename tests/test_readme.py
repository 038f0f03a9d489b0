"""The commands and examples of the README, taken from it and run as written, on small inputs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cutis.cli import app
from cutis.data.synthetic import write_folder

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

LONG = {
    "make demo": "makes an environment of its own; .ci/run calls it",
    "make test": "runs these tests; .ci/run calls it",
    "make page": "downloads from a package registry; make test calls it where npm is",
    "pip install": "changes the environment the tests run in; the Makefile installs the same",
    "source .venv": "belongs to a shell",
    "cutis train supervised --config configs/sparsesegnet/bundled": "trains for hours on research images",
    "cutis train symmetry --config configs/se-lcn/symmetry.yaml": "trains on research images from ImageNet weights",
    "cutis train lesion --config configs/se-lcn/lesion.yaml": "trains on research images from ImageNet weights",
    "cutis prune runs/bundled-third": "fine-tunes for an hour what takes hours to train",
}
"""What is not run here, and why; those of cutis are still parsed."""


def commands(block: str) -> list[str]:
    lines = block.replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+", " ", line).strip() for line in lines if line.strip()]


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of each fenced block, in their order."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def shell(page: Path) -> list[str]:
    return [command for language, text in blocks(page) if language == "sh" for command in commands(text)]


def steps() -> list[tuple[str, str]]:
    """(language, what to run) of the README, one command or one example each, in their order."""
    found = []
    for language, text in blocks(PAGES[0]):
        found += [(language, command) for command in commands(text)] if language == "sh" else [(language, text)]
    return [step for step in found if not any(step[1].startswith(start) for start in LONG)]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """The folder of a reader who has the repository and some photos: the README's steps run in it in their order."""
    home = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "configs", home / "configs")
    write_folder(home / "mine", 3, seed=1, width=320, height=240)
    (home / "mine" / "images").rename(home / "photos")
    shutil.copy(min((home / "photos").glob("*.jpg")), home / "photo.jpg")
    return home


def run(command: list[str], place: Path) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_two_commands_come_first_and_ci_calls_them():
    assert shell(PAGES[0])[:2] == ["make demo", "make test"]
    ci = (ROOT / ".ci/run").read_text("utf-8")
    assert all(re.search(rf"^{command}\b", ci, re.MULTILINE) for command in ("make check", "make demo", "make test"))
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert {"demo", "test", "check", "bench"} <= set(targets)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_parses(page):
    for command in shell(page):
        if command.startswith("cutis "):
            app.parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)


@pytest.mark.parametrize(("language", "what"), steps())
def test_every_step_of_the_readme_works_as_written(language, what, place):
    if language == "python":
        assert run([sys.executable, "-c", what], place)
        return
    program, *arguments = shlex.split(what)
    assert (language, program) == ("sh", "cutis"), f"say in LONG why this is not run: {what}"
    run([sys.executable, "-m", "cutis.cli", *arguments], place)


def test_the_files_the_readme_promises_are_there(place):
    results = place / "results"
    photos = sorted(path.stem for path in (place / "photos").iterdir())
    records = [json.loads(line) for line in (results / "results.jsonl").read_text("utf-8").splitlines()]
    assert [record["status"] for record in records] == ["lesion"] * len(photos)
    assert sorted(path.stem for path in (results / "masks").rglob("*.png")) == photos
    assert sorted(path.stem for path in (results / "overlays").rglob("*.png")) == photos
    page = (results / "report.html").read_text("utf-8")
    assert page.count("data:image/") >= len(photos)
    elsewhere = re.findall(r"(?:src|href)\s*=(?!\s*[\"']?(?:data:|#))[^>]{0,80}|url\((?!data:)|@import", page)
    assert elsewhere == [], "the report must open offline"
