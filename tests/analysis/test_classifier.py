"""The classifiers are checked before they run, as the segmenter is, and refused by name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cutis.analysis import model_file
from cutis.analysis.cascade import Cascade, choose_cascade, load_cascade
from cutis.analysis.classifier import list_classifiers, load_lesion, load_symmetry
from cutis.analysis.runtime import list_models, load_model
from cutis.errors import CutisError

Write = Callable[..., Path]
THREE = json.dumps(["asymmetric", "one_axis", "two_axes"])


def test_what_the_symmetry_file_says_is_what_is_used(write_symmetry: Write, tmp_path: Path) -> None:
    path = write_symmetry(tmp_path / "s.onnx", temperature="1.5", threshold="0.4", masking="lae")
    model = load_symmetry(path)
    assert (model.info.name, model.info.precision) == ("toy-symmetry", "fp32")
    assert model.info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.rule == (("asymmetric", "symmetric"), 1.5, 0.4)
    assert (model.masking, model.preprocessing.size, model.map_size) == ("lae", 64, (4, 4))
    assert load_symmetry(str(path)) is model


def test_three_symmetries_need_no_threshold(write_symmetry: Write, tmp_path: Path) -> None:
    path = write_symmetry(tmp_path / "s.onnx", logits=(0.0, 1.0, 0.0), classes=THREE, threshold=None)
    assert load_symmetry(path).rule == (("asymmetric", "one_axis", "two_axes"), 1.0, None)


def test_what_the_lesion_file_says_is_what_is_used(write_lesion: Write, tmp_path: Path) -> None:
    model = load_lesion(write_lesion(tmp_path / "l.onnx", unlikeness_limit="2.5"))
    assert len(model.rule.classes) == 7 and model.rule.unlikeness_limit == 2.5
    assert model.rule.conformal.model_dump() == {"coverage": 0.9, "quantile": 0.75, "widest": 1}
    assert model.takes_map and model.symmetry_map_size == (4, 4)
    baseline = load_lesion(write_lesion(tmp_path / "b.onnx", takes=None))
    assert not baseline.takes_map and baseline.symmetry_map_size is None


def test_answers_have_their_shapes_and_the_map_reaches_the_lesion_network(cascade: Cascade) -> None:
    assert cascade.symmetry and cascade.lesion
    square = np.full((64, 64, 3), 255, np.uint8)
    square[:16] = 0
    told = cascade.symmetry.answer(square)
    np.testing.assert_allclose(told.logits, [0, 1])
    np.testing.assert_allclose(told.activation, [[1] * 4, [0] * 4, [0] * 4, [0] * 4])
    white = np.full((96, 96, 3), 255, np.uint8)
    answered = cascade.lesion.answer(white, told.activation)
    np.testing.assert_allclose(answered.logits, [0.25, 3, 0, 0, 0, 0, 0])
    assert answered.unlikeness == 1.0 and answered.activation.shape == (4, 4)


def test_wrong_arrays_are_a_programming_error(cascade: Cascade) -> None:
    assert cascade.symmetry and cascade.lesion
    with pytest.raises(ValueError, match="uint8"):
        cascade.symmetry.answer(np.zeros((10, 10, 3), np.uint8))
    square = np.zeros((96, 96, 3), np.uint8)
    for wrong in (None, np.zeros((5, 4), np.float32)):
        with pytest.raises(ValueError, match=r"\(4, 4\)"):
            cascade.lesion.answer(square, wrong)


BOTH = [
    ({"format": None}, "was not exported by cutis"),
    ({"format": "2"}, "model format 2"),
    ({"task": "segmentation"}, "is a model for 'segmentation'"),
    ({"classes": None}, "cutis.classes"),
    ({"classes": "mel, nv"}, "cutis.classes"),
    ({"classes": '["asymmetric"]'}, "cutis.classes"),
    ({"masking": "circle"}, "cutis.masking"),
    ({"masking": None}, "cutis.masking"),
    ({"cells": None}, "cutis.cells"),
    ({"cells": '{"first": 0.5, "step": 0}'}, "cutis.cells"),
    ({"temperature": "0"}, "cutis.temperature"),
    ({"temperature": "nan"}, "cutis.temperature"),
    ({"temperature": None}, "cutis.temperature"),
    ({"preprocessing": None}, "cutis.preprocessing"),
    ({"preprocessing": "{}"}, "cutis.preprocessing.size"),
    ({"output": "map"}, "no map 'activation'"),
    ({"logits": (0.0, 1.0, 0.0, 2.0)}, "export it again"),
]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        *BOTH,
        ({"task": "lesion_class"}, "is a model for 'lesion_class', not for 'symmetry'"),
        ({"threshold": None}, "no 'cutis.threshold'"),
        ({"threshold": "1.5"}, "cutis.threshold"),
        ({"classes": '["symmetric", "asymmetric"]'}, "cutis.classes"),
        ({"classes": THREE}, "export it again"),
    ],
)
def test_a_symmetry_model_of_another_kind_is_refused_by_name(
    write_symmetry: Write, tmp_path: Path, changed: dict, said: str
) -> None:
    refused(load_symmetry, write_symmetry(tmp_path / "other.onnx", **changed), said)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        *BOTH,
        ({"task": "symmetry"}, "is a model for 'symmetry', not for 'lesion_class'"),
        ({"conformal": None}, "cutis.conformal"),
        ({"conformal": '{"coverage": 0.9, "quantile": 1.5, "widest": 2}'}, "cutis.conformal.quantile"),
        ({"conformal": '{"coverage": 0.9, "quantile": 0.5}'}, "cutis.conformal.widest"),
        ({"unlikeness_limit": None}, "cutis.unlikeness_limit"),
        ({"unlikeness": None}, "export it again"),
        ({"classes": '["mel", "mel", "bcc", "akiec", "bkl", "df", "vasc"]'}, "cutis.classes"),
    ],
)
def test_a_lesion_model_of_another_kind_is_refused_by_name(
    write_lesion: Write, tmp_path: Path, changed: dict, said: str
) -> None:
    refused(load_lesion, write_lesion(tmp_path / "other.onnx", **changed), said)


def refused(load: Callable[[Path], object], path: Path, said: str) -> None:
    with pytest.raises(CutisError) as caught:
        load(path)
    assert said in str(caught.value) and "other.onnx" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no model at all", None])
def test_a_damaged_classifier_is_refused_by_name(write_lesion: Write, tmp_path: Path, content: bytes | None) -> None:
    path = write_lesion(tmp_path / "other.onnx")
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    refused(load_lesion, path, "other.onnx")


def test_a_segmenter_is_no_classifier_and_a_classifier_no_segmenter(
    toy_path: Path, write_symmetry: Write, tmp_path: Path
) -> None:
    with pytest.raises(CutisError, match="is a model for 'segmentation', not for 'symmetry'"):
        load_symmetry(toy_path)
    with pytest.raises(CutisError, match="is a model for 'symmetry', not for 'segmentation'"):
        load_model(write_symmetry(tmp_path / "s.onnx"))


def test_a_model_that_answers_without_numbers_is_named(write_lesion: Write, tmp_path: Path) -> None:
    model = load_lesion(write_lesion(tmp_path / "l.onnx", logits=(float("nan"),) * 7, takes=None))
    with pytest.raises(CutisError, match="toy-lesion_class 1 answers without numbers"):
        model.answer(np.zeros((96, 96, 3), np.uint8), None)


def test_two_models_that_do_not_fit_are_named(write_symmetry: Write, write_lesion: Write, tmp_path: Path) -> None:
    symmetry, lesion = write_symmetry(tmp_path / "s.onnx"), write_lesion(tmp_path / "l.onnx", takes=7)
    with pytest.raises(CutisError, match=r"toy-symmetry gives a map of 4x4, the class model .* takes one of 7x7"):
        load_cascade(symmetry, lesion)


@pytest.fixture
def nothing_bundled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A package without models, in a folder of its own."""
    monkeypatch.setattr(model_file.resources, "files", lambda package: tmp_path / "package")
    return tmp_path / "package" / "weights"


def test_without_its_map_a_lesion_network_cannot_answer(
    write_lesion: Write, nothing_bundled: Path, tmp_path: Path
) -> None:
    with pytest.raises(CutisError, match="give --symmetry-model too"):
        load_cascade(None, write_lesion(tmp_path / "l.onnx"))
    alone = load_cascade(None, write_lesion(tmp_path / "b.onnx", takes=None))
    assert alone.symmetry is None and alone.lesion is not None


def test_where_none_are_bundled_there_is_no_cascade(nothing_bundled: Path) -> None:
    assert load_cascade() == Cascade(None, None)


def test_bundled_classifiers_are_the_default_and_are_checked(
    write_symmetry: Write, write_lesion: Write, nothing_bundled: Path
) -> None:
    listing = {}
    for name, task, write in (
        ("symmetry-int8", "symmetry", write_symmetry),
        ("lesion-int8", "lesion_class", write_lesion),
    ):
        content = write(nothing_bundled / f"{name}.onnx").read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        listing[name] = {"file": f"{name}.onnx", "sha256": sha256, "version": "1", "task": task}
    (nothing_bundled / "models.json").write_text(json.dumps(listing))
    assert list_classifiers("symmetry") == ["symmetry-int8"] and list_classifiers("lesion_class") == ["lesion-int8"]
    assert list_models() == []
    found = load_cascade()
    assert found.symmetry_info and found.symmetry_info.name == "toy-symmetry"
    assert found.class_info and found.class_info.name == "toy-lesion_class"
    assert choose_cascade(None, None, wanted=False) == Cascade()
    altered = (nothing_bundled / "lesion-int8.onnx").read_bytes().replace(b"cutis.name", b"cutis.nAme")
    (nothing_bundled / "lesion-int8.onnx").write_bytes(altered)
    with pytest.raises(CutisError, match="SHA-256"):
        load_cascade()


def test_an_unknown_name_says_what_there_is(nothing_bundled: Path) -> None:
    with pytest.raises(CutisError, match=r"no model 'symmetric': .* none"):
        load_symmetry("symmetric")


def test_models_and_no_cascade_are_a_wrong_call(tmp_path: Path) -> None:
    with pytest.raises(CutisError, match="leave out one of them"):
        choose_cascade(tmp_path / "s.onnx", None, wanted=False)
