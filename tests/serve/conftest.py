"""A running service, drawn pictures to send, and the command line's answers to compare with."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import cv2
import httpx2
import numpy as np
import pytest

from cutis.data.synthetic import draw_lesion

START_LIMIT_S = 200
COUNT = 8


class Running(NamedTuple):
    """A service in a process of its own; `said` is what it printed and logged."""

    process: subprocess.Popen
    client: httpx2.Client
    said: Path


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn lesions of different sizes, one of them large, and a picture without any."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(COUNT):
        random = np.random.default_rng(number)
        lesion = draw_lesion(random, width=300 + 20 * number, height=225 + 10 * number, symmetry=number % 3)
        save(folder / f"{number}.jpg", lesion.image)
    save(folder / "large.jpg", cv2.resize(lesion.image, (2640, 1770)))
    save(folder / "skin.png", np.full((240, 320, 3), (230, 195, 175), np.uint8))
    return folder


def save(path: Path, rgb: np.ndarray) -> None:
    done, content = cv2.imencode(path.suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    assert done
    path.write_bytes(content.tobytes())


@contextlib.contextmanager
def running(
    folder: Path, *flags: str, environment: dict[str, str] | None = None, **client: object
) -> Iterator[Running]:
    """`cutis serve` on a free port, ready; killed afterwards where it has not ended."""
    said = folder / "said.txt"
    variables = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | (environment or {})
    command = [sys.executable, "-m", "cutis.cli", "serve", "--port", "0", *flags]
    with said.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=variables, cwd=folder)
    try:
        url = wait_for(lambda: url_in(said, process))
        with httpx2.Client(base_url=url, timeout=60, **client) as asking:  # type: ignore[arg-type]
            wait_for(lambda: ready(asking))
            yield Running(process, asking, said)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def url_in(said: Path, process: subprocess.Popen) -> str | None:
    text = said.read_text()
    assert process.poll() is None, text
    return text.split()[1] if text.startswith("cutis: http") and "\n" in text else None


def ready(client: httpx2.Client) -> bool:
    with contextlib.suppress(httpx2.ConnectError):
        return client.get("/readyz").status_code == 200
    return False


def wait_for(found: Callable[[], str | bool | None]) -> str:
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end:
        if answer := found():
            return str(answer)
        time.sleep(0.05)
    raise AssertionError("it takes too long")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With limits small enough to be met: 3 MB a body and 6 MB for all."""
    with running(
        tmp_path_factory.mktemp("service"), "--workers", "2", "--max-body", "3", "--max-memory", "6"
    ) as started:
        yield started


@pytest.fixture(scope="session")
def client(service: Running) -> httpx2.Client:
    return service.client


@pytest.fixture(scope="session")
def start() -> Callable[..., contextlib.AbstractContextManager[Running]]:
    return running


@pytest.fixture(scope="session")
def until() -> Callable[[Callable[[], str | bool | None]], str]:
    """Wait until a question has an answer."""
    return wait_for


def module_at(path: str) -> ModuleType:
    """A file of the repository, outside the package, as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, Path(__file__).parents[2] / path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def bad_files() -> ModuleType:
    """The command line's list of bad files."""
    return module_at("tests/imaging/test_bad_files.py")


@pytest.fixture(scope="session")
def load_benchmark() -> ModuleType:
    return module_at("benchmarks/serve_load.py")
