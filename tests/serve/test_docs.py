"""The commands and the example of docs/service.md, run as written but for the port."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cutis.imaging.read import read_mask

PAGE = (Path(__file__).parents[2] / "docs" / "service.md").read_text("utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CURLS = [block for block in BLOCKS if "curl" in block and "--insecure" not in block]


@pytest.fixture(scope="module")
def place(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reader")
    shutil.copy(photos / "1.jpg", folder / "lesion.jpg")
    shutil.copy(photos / "2.jpg", folder / "other.jpg")
    return folder


def test_there_are_examples() -> None:
    assert len(CURLS) == 4


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("block", CURLS)
def test_curl_examples_work(block: str, service, place: Path) -> None:
    assert "http://127.0.0.1:8000" in block
    script = block.replace("http://127.0.0.1:8000", str(service.client.base_url).rstrip("/"))
    script = script.replace("curl ", "curl --fail --silent --show-error ")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-e", "-c", script], cwd=place, env=os.environ | {"PATH": path}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    if "-o mask.png" in block:
        record = json.loads((place / "record.json").read_text())
        assert read_mask(place / "mask.png").sum() == record["lesion"]["area"]
    elif "-F" in block:
        said = json.loads(done.stdout)
        assert [record["file"] for record in said["analyses"]] == ["lesion.jpg", "other.jpg"]
        assert said["analyses"][0]["lesion"]["diameter_mm"]


def test_the_example_runs() -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, check=True)
    assert "/v1/analyses" in done.stdout


def test_the_limits_it_names_are_the_defaults() -> None:
    from cutis.serve.settings import MAX_FILES, Settings

    defaults = Settings(workers=1)
    named = dict(re.findall(r"`--([\w-]+)` (\d+) \|", PAGE))
    assert named == {
        "queue": f"{defaults.queue}",
        "deadline": f"{defaults.deadline_s:g}",
        "max-body": f"{defaults.body_mb:g}",
        "max-memory": f"{defaults.inflight_mb:g}",
    }
    assert f"`--keep-seconds` ({defaults.keep_s:g})" in PAGE and f"`--keep-memory` ({defaults.keep_mb:g} MB" in PAGE
    assert f"images in a request | | {MAX_FILES} |" in PAGE
