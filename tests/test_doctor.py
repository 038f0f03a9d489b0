"""`cutis doctor` on machines that lack something: packages of our own making stand in the path of the real ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cutis import doctor
from cutis.errors import CutisError

NMS = "RuntimeError('operator torchvision::nms does not exist')"


def package(folder: Path, name: str, body: str) -> None:
    """A module that shadows the real one of that name for as long as `folder` is first in the path."""
    (folder / f"{name}.py").write_text(body)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def packages(size: str, *distributions: str) -> dict[str, doctor.Check]:
    return {check.name: check for check in doctor._packages(size, distributions)}


def test_a_package_that_imports_is_ok_with_its_version():
    found = packages("small size", "numpy", "pillow", "opencv-python-headless", "pyyaml")
    assert {check.status for check in found.values()} == {"ok"}
    import numpy

    assert found["numpy"].detail == numpy.__version__


def test_the_error_of_torch_without_its_torchvision_is_recognised(path):
    package(path, "timm", f"raise {NMS}")
    found = packages("train", "timm")["timm"]
    assert found.status == "broken"
    assert "torchvision::nms" in found.detail
    assert "torch==2.14.1 torchvision==0.29.1" in found.advice


def test_a_missing_package_is_absent_and_its_extra_is_named():
    found = packages("train", "cutis-no-such-package")["cutis-no-such-package"]
    assert (found.status, found.advice) == ("absent", 'pip install "cutis[train]"')


def test_a_package_whose_own_dependency_is_missing_is_broken_not_absent(path):
    package(path, "timm", "import cutis_no_such_dependency")
    found = packages("train", "timm")["timm"]
    assert found.status == "broken"
    assert "cutis_no_such_dependency" in found.detail


def test_a_package_that_ends_the_process_is_named_and_the_others_are_still_looked_at(path):
    package(path, "first", "print('noise on the way')")
    package(path, "crashes", "import os; os._exit(132)")
    package(path, "after", "")
    found = doctor.probe(["first", "crashes", "after"])
    assert found["first"] is None
    assert found["after"] is None
    assert "ends the process (exit code 132)" in found["crashes"]


def test_requirements_are_those_of_the_installed_package():
    sizes = doctor._requirements()
    assert {"numpy", "onnxruntime", "opencv-python-headless"} <= set(sizes["small size"])
    assert {"torch", "torchvision", "lightning"} <= set(sizes["train"])
    assert not set(sizes) & {"dev", "check"}


def test_a_missing_extra_leaves_the_small_size_working_and_a_missing_package_does_not():
    ok = doctor.Check("small size", "numpy", "ok", "2")
    assert doctor.works([ok, doctor.Check("train", "torch", "absent", "")])
    assert doctor.works([ok, doctor.Check("folders", "this folder", "broken", "read-only")])
    assert not doctor.works([ok, doctor.Check("bundled models", "segmenter-int8", "absent", "")])


class Model:
    """Answers as a loaded network does; `value` is the probability it gives everywhere."""

    def __init__(self, value: float) -> None:
        self.value = value
        self.preprocessing = type("Preprocessing", (), {"size": 8})
        self.info = type("Info", (), {"version": "1.0"})

    def probability(self, square):
        import numpy as np

        return np.full((1, 8, 8), self.value, np.float32)


@pytest.mark.parametrize(("value", "status"), [(0.5, "ok"), (float("nan"), "broken")])
def test_a_bundled_model_is_run_once(monkeypatch, value, status):
    monkeypatch.setattr("cutis.analysis.runtime.list_models", lambda: ["segmenter-int8"])
    monkeypatch.setattr("cutis.analysis.runtime.load_model", lambda name: Model(value))
    (found,) = doctor._models()
    assert (found.name, found.status) == ("segmenter-int8", status)


def test_the_bundled_promptable_is_asked_once():
    (found,) = doctor._promptables()
    assert (found.name, found.status) == ("promptable-encoder-int8", "ok")


def test_a_damaged_model_is_broken_and_the_reason_is_given(monkeypatch):
    def refuse(name):
        raise CutisError(f"{name} is not the file that came with cutis")

    monkeypatch.setattr("cutis.analysis.runtime.list_models", lambda: ["segmenter-int8"])
    monkeypatch.setattr("cutis.analysis.runtime.load_model", refuse)
    (found,) = doctor._models()
    assert found.status == "broken"
    assert "not the file that came with cutis" in found.detail


def test_models_are_not_tried_where_a_package_they_need_is_missing(monkeypatch):
    monkeypatch.setattr(doctor, "_requirements", lambda: {doctor.SMALL: ["cutis-no-such-package"]})
    monkeypatch.setattr(doctor, "_models", lambda: pytest.fail("was tried"))
    found = list(doctor.examine())
    assert [check.detail for check in found if check.group == "bundled models"] == ["need the packages above"]
    assert not doctor.works(found)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    found = doctor._room("this folder", tmp_path / "gone")
    assert found.status == "broken"
    assert "gone" in found.detail


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("broken", 1)])
def test_the_report_tells_by_its_exit_code_and_its_json_holds_every_check(monkeypatch, capsys, status, code):
    check = doctor.Check("small size", "numpy", status, "[2.4]", "advice")
    monkeypatch.setattr(doctor, "examine", lambda: iter([check]))
    assert doctor.report(as_json=True) == code
    written = json.loads(capsys.readouterr().out)
    assert written == {"works": code == 0, "checks": [check._asdict()]}
    assert doctor.report(as_json=False) == code
    assert "[2.4]: advice" in capsys.readouterr().out


def test_packages_that_are_missing_alike_share_a_line_of_the_table(monkeypatch, capsys):
    absent = [doctor.Check("train", name, "absent", doctor.MISSING, "install") for name in ("torch", "timm")]
    same = [doctor.Check("train", name, "ok", "1.0") for name in ("pandas", "scipy")]
    monkeypatch.setattr(doctor, "examine", lambda: iter([*absent, *same]))
    assert doctor.report(as_json=False) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["train", "2", "packages", "absent", "not", "installed:", "install"]
    assert lines[1:3] == [["pandas", "ok", "1.0"], ["scipy", "ok", "1.0"]]


@pytest.mark.parametrize(("value", "status"), [(0.5, "ok"), (float("nan"), "broken")])
def test_bundled_classifiers_are_run_once(monkeypatch, value, status):
    import numpy as np

    class Classifier(Model):
        symmetry_map_size = (3, 4)

        def answer(self, square, symmetry=None):
            assert square.shape == (8, 8, 3) and (symmetry is None or symmetry.shape == (3, 4))
            return type("Answered", (), {"logits": np.array([self.value, 0.0])})

    monkeypatch.setattr("cutis.analysis.classifier.list_classifiers", lambda task: [f"{task}-int8"])
    for name in ("load_symmetry", "load_lesion"):
        monkeypatch.setattr(f"cutis.analysis.classifier.{name}", lambda name: Classifier(value))
    found = list(doctor._classifiers())
    assert [(check.name, check.status) for check in found] == [("symmetry-int8", status), ("lesion_class-int8", status)]
