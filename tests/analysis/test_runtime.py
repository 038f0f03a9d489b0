"""Models are checked before they run, and refused by name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cutis.analysis import model_file
from cutis.analysis.runtime import Segmenter, list_models, load_model
from cutis.errors import CutisError
from cutis.files import UNSEALED, seal

Write = Callable[..., Path]


def test_darker_than_skin_is_lesion(toy: Segmenter) -> None:
    size = toy.preprocessing.size
    batch = np.full((3, size, size, 3), 220, np.uint8)
    batch[1, 20:60, 30:80] = 60
    probability = toy.probability(batch)
    assert probability.shape == (3, size, size) and probability.dtype == np.float32
    assert probability[0].max() < 0.01 and probability[1, 40, 50] > 0.99 and probability[1, 100, 100] < 0.01
    np.testing.assert_array_equal(toy.probability(batch[1])[0], probability[1])


def test_wrong_pixels_are_a_programming_error(toy: Segmenter) -> None:
    with pytest.raises(ValueError, match="uint8"):
        toy.probability(np.zeros((10, 10, 3), np.uint8))


def test_what_the_file_says_is_what_is_used(toy: Segmenter, toy_path: Path) -> None:
    assert (toy.info.name, toy.info.version, toy.info.precision) == ("toy", "1", "fp32")
    assert toy.info.sha256 == hashlib.sha256(toy_path.read_bytes()).hexdigest()
    assert toy.threshold == 0.5 and toy.preprocessing.size == 128


def test_a_model_stays_resident_until_its_file_changes(toy_path: Path, write_model: Write, tmp_path: Path) -> None:
    assert load_model(toy_path) is load_model(str(toy_path))
    path = write_model(tmp_path / "m.onnx")
    first = load_model(path)
    write_model(path, version="2.0")
    assert load_model(path) is not first and load_model(path).info.version == "2.0"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"format": None}, "was not exported by cutis"),
        ({"format": "2"}, "model format 2"),
        ({"task": "classification"}, "'classification'"),
        ({"threshold": "1.5"}, "cutis.threshold"),
        ({"threshold": None}, "cutis.threshold"),
        ({"precision": "bf16"}, "cutis.precision"),
        ({"preprocessing": "{}"}, "metadata"),
        ({"preprocessing": None}, "metadata"),
        ({"size": 64}, "export it again"),
        ({"output": "mask"}, "export it again"),
    ],
)
def test_a_model_of_another_kind_is_refused_by_name(
    write_model: Write, tmp_path: Path, changed: dict, said: str
) -> None:
    path = write_model(tmp_path / "other.onnx", **changed)
    with pytest.raises(CutisError, match=said) as caught:
        load_model(path)
    assert "other.onnx" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no model at all", None])
def test_a_damaged_model_is_refused_by_name(toy_path: Path, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(toy_path.read_bytes()[:-200] if content is None else content)
    with pytest.raises(CutisError, match=r"cut\.onnx") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_an_altered_export_is_refused_by_name(write_model: Write, tmp_path: Path) -> None:
    path = write_model(tmp_path / "sealed.onnx", seal=UNSEALED)
    whole = seal(path.read_bytes())
    path.write_bytes(whole)
    assert load_model(path).info.name == "toy"
    path.write_bytes(whole.replace(b"0.5", b"0.4", 1))
    with pytest.raises(CutisError, match=r"sealed\.onnx was altered"):
        load_model(path)


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(CutisError, match="no model 'nothing'"):
        load_model("nothing")


def test_an_altered_bundled_model_is_refused(toy_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    content = toy_path.read_bytes()
    (weights / "t.onnx").write_bytes(content)
    entry = {"file": "t.onnx", "sha256": hashlib.sha256(content).hexdigest(), "version": "1"}
    (weights / "models.json").write_text(json.dumps({"tiny": entry}))
    monkeypatch.setattr(model_file.resources, "files", lambda package: tmp_path)
    assert list_models() == ["tiny"]
    assert load_model("tiny").info.name == "toy"
    (weights / "t.onnx").write_bytes(content.replace(b"cutis.name", b"cutis.nAme"))
    with pytest.raises(CutisError, match="SHA-256"):
        load_model("tiny")


def test_threads_may_share_a_model(toy: Segmenter) -> None:
    from concurrent.futures import ThreadPoolExecutor

    rng = np.random.default_rng(0)
    squares = [rng.integers(0, 255, (128, 128, 3), np.uint8) for _ in range(12)]
    alone = [toy.probability(square) for square in squares]
    with ThreadPoolExecutor(4) as pool:
        for expected, found in zip(alone, pool.map(toy.probability, squares), strict=True):
            np.testing.assert_array_equal(found, expected)
