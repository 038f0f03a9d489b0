"""A toy model that really segments, and drawn images, for the tests of the analysis."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from cutis.analysis.cascade import Cascade, load_cascade
from cutis.analysis.runtime import Segmenter, load_model
from cutis.data.synthetic import SyntheticLesion, draw_lesion, draw_skin


def _toy() -> ModuleType:
    spec = importlib.util.spec_from_file_location("analysis_toy", Path(__file__).with_name("toy.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def write_model() -> Callable[..., Path]:
    """Writes the toy model to a path, with metadata changed at will."""
    pytest.importorskip("onnx")
    return _toy().write_model


@pytest.fixture(scope="session")
def toy_path(write_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "toy.onnx")


@pytest.fixture(scope="session")
def toy(toy_path: Path) -> Segmenter:
    return load_model(toy_path)


@pytest.fixture(scope="session")
def write_symmetry() -> Callable[..., Path]:
    """Writes the toy symmetry network, changed at will."""
    pytest.importorskip("onnx")
    return _toy().write_symmetry


@pytest.fixture(scope="session")
def write_lesion() -> Callable[..., Path]:
    """Writes the toy lesion network, changed at will."""
    pytest.importorskip("onnx")
    return _toy().write_lesion


@pytest.fixture(scope="session")
def cascade(
    write_symmetry: Callable[..., Path], write_lesion: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Cascade:
    folder = tmp_path_factory.mktemp("cascade")
    return load_cascade(write_symmetry(folder / "symmetry.onnx"), write_lesion(folder / "lesion.onnx"))


@pytest.fixture(scope="session")
def drawn() -> SyntheticLesion:
    """Pale skin, no hair: what the toy model can tell."""
    return draw_lesion(np.random.default_rng(5), width=400, height=300, symmetry=2, tone=0.0)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder: three lesions, one in a folder of its own, one named in another script; plain skin; a broken file."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(("a.png", "sub/b.jpg", "病变 ü.png")):
        lesion = draw_lesion(np.random.default_rng(number), width=160, height=120, symmetry=1, tone=0.0)
        save(folder / name, lesion.image)
    save(folder / "skin.png", draw_skin(np.random.default_rng(9), width=160, height=120, tone=0.0))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff not a JPEG")
    return folder


def save(path: Path, rgb: np.ndarray) -> None:
    done, content = cv2.imencode(path.suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    assert done
    path.write_bytes(content.tobytes())
