"""Every runtime answers as ONNX Runtime does, within what is stated, and the right one is chosen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cutis.analysis import runtimes
from cutis.analysis.cascade import load_cascade
from cutis.analysis.pipeline import analyze_image, predict_mask
from cutis.analysis.prompted import load_promptable_model
from cutis.analysis.runtime import list_models, load_model
from cutis.analysis.runtimes import RUNTIMES, TOLERANCE, open_session
from cutis.data.synthetic import draw_lesion
from cutis.errors import CutisError
from cutis.files import UNSEALED, seal

OTHERS = [name for name in RUNTIMES if name not in ("onnxruntime", "executorch")]  # that one: tests/export
PROGRAM = b"\0\0\0\0ET12 no more of it"


def opened(runtime: str, content: bytes) -> runtimes.Session:
    pytest.importorskip(runtime.partition("-")[0], exc_type=ImportError)
    try:
        return open_session(content, runtime, 1)
    except CutisError as error:
        pytest.skip(str(error))


def squares(size: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    drawn = [draw_lesion(rng, width=size, height=size, symmetry=1, hairs=4 * i).image for i in range(4)]
    return np.stack(drawn)


def test_openvino_is_begun_once(toy_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its last core goes, signal handlers are left a stack that is freed: a child's end killed the process."""
    content = toy_path.read_bytes()
    opened("openvino", content)
    monkeypatch.setattr("openvino.Core", lambda: pytest.fail("another core"))
    assert open_session(content, "openvino", 1).runtime == "openvino"


@pytest.mark.parametrize("runtime", OTHERS)
def test_a_runtime_sees_the_same_file(runtime: str, toy_path: Path) -> None:
    here, there = (opened(name, toy_path.read_bytes()) for name in ("onnxruntime", runtime))
    assert there.inputs == here.inputs and there.outputs == here.outputs
    assert there.metadata == here.metadata and there.runtime == runtime


@pytest.mark.parametrize("runtime", OTHERS)
@pytest.mark.parametrize("model", list_models() or [pytest.param("none", marks=pytest.mark.skip)])
def test_masks_and_probabilities_are_those_of_onnxruntime(runtime: str, model: str) -> None:
    pytest.importorskip(runtime.partition("-")[0], exc_type=ImportError)
    try:
        first, second = load_model(model), load_model(model, runtime=runtime)
    except CutisError as error:
        pytest.skip(str(error))
    images = squares(first.preprocessing.size)
    one, other = first.probability(images), second.probability(images)
    differ = ((one > first.threshold) != (other > first.threshold)).mean(axis=(1, 2))
    mean = np.abs(one - other).mean(axis=(1, 2))
    print(f"{model} on {runtime}: pixels {differ.max():.5f}, mean |dp| {mean.max():.5f}")
    assert differ.max() <= TOLERANCE[runtime].pixels and mean.max() <= TOLERANCE[runtime].mean
    assert (one > first.threshold).any()  # there is something to differ in


@pytest.mark.parametrize("runtime", OTHERS)
def test_a_box_is_answered_as_by_onnxruntime(runtime: str) -> None:
    pytest.importorskip(runtime.partition("-")[0], exc_type=ImportError)
    try:
        first, second = load_promptable_model(), load_promptable_model(runtime=runtime)
    except CutisError as error:
        pytest.skip(str(error))
    size = first.preprocessing.size
    box = (size * 0.2, size * 0.2, size * 0.8, size * 0.8)
    answers = [[model.answer(square, box, [], None)[0] for square in squares(size)] for model in (first, second)]
    one, other = (np.stack(found) for found in answers)
    differ, mean = ((one > 0.5) != (other > 0.5)).mean(axis=(1, 2)), np.abs(one - other).mean(axis=(1, 2))
    print(f"promptable on {runtime}: pixels {differ.max():.5f}, mean |dp| {mean.max():.5f}")
    assert differ.max() <= TOLERANCE[runtime].pixels and mean.max() <= TOLERANCE[runtime].mean
    assert (one > 0.5).any()


def test_a_whole_analysis_says_the_same_on_openvino() -> None:
    pytest.importorskip("openvino")
    drawn = draw_lesion(np.random.default_rng(3), width=320, height=240, symmetry=2).image
    found = [
        analyze_image(drawn, load_model(runtime=name), name="x", cascade=load_cascade(runtime=name))
        for name in ("onnxruntime", "openvino")
    ]
    one, other = (outcome.analysis for outcome in found)
    assert one.lesion and other.lesion and one.model == other.model
    assert other.lesion.area == pytest.approx(one.lesion.area, rel=0.01)
    if one.diagnosis and other.diagnosis:
        assert one.diagnosis.label == other.diagnosis.label


def test_threads_may_share_a_model_on_openvino(toy_path: Path) -> None:
    pytest.importorskip("openvino")
    model = load_model(toy_path, runtime="openvino")
    pictures = squares(128)
    alone = [model.probability(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        for expected, found in zip(alone, pool.map(model.probability, pictures), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_model_is_resident_once_a_runtime(toy_path: Path) -> None:
    pytest.importorskip("openvino")
    assert load_model(toy_path, runtime="openvino") is load_model(toy_path, runtime="openvino")
    assert load_model(toy_path, runtime="openvino") is not load_model(toy_path)


def test_a_runtime_that_is_not_installed_names_its_extra(toy_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(CutisError, match=r"pip install 'cutis\[openvino\]'"):
        open_session(toy_path.read_bytes(), "openvino", 1)


def test_executorch_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("executorch", "executorch.runtime", "executorch.extension.pybindings"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    for runtime in ("executorch", "fastest"):
        with pytest.raises(CutisError, match=r"pip install 'cutis\[executorch\]'"):
            open_session(PROGRAM + seal(UNSEALED.encode()), runtime, 1)


@pytest.mark.parametrize("runtime", ["onnxruntime", *OTHERS])
def test_a_program_needs_executorch(runtime: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pte"
    path.write_bytes(PROGRAM)
    with pytest.raises(CutisError, match=r"a.pte is a program of ExecuTorch's \(.pte\).* give --runtime executorch"):
        load_model(path, runtime=runtime)


def test_executorch_opens_no_onnx_file(toy_path: Path) -> None:
    with pytest.raises(CutisError, match=r"toy.onnx is no program of ExecuTorch's \(.pte\): leave --runtime out"):
        load_model(toy_path, runtime="executorch")


def test_half_a_program_is_not_even_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "executorch", lambda content, threads: pytest.fail("opened"))  # type: ignore[arg-type]
    for runtime in ("executorch", "fastest"):
        with pytest.raises(CutisError, match="this model is cut short, or cutis did not export it"):
            open_session(PROGRAM, runtime, 1)


def test_the_fastest_is_the_one_that_is(toy_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(RUNTIMES["onnxruntime"]):  # type: ignore[misc, name-defined]
        runtime = "slow"

        def run(self, outputs, feeds):
            for _ in range(50):
                found = super().run(outputs, feeds)
            return found

    monkeypatch.setattr(runtimes, "RUNTIMES", {"slow": Slow, "onnxruntime": RUNTIMES["onnxruntime"]})
    monkeypatch.setattr(runtimes, "_here", lambda: ["slow", "onnxruntime"])
    model = load_model(toy_path, runtime="fastest")
    assert model.runtime == "onnxruntime"
    drawn = draw_lesion(np.random.default_rng(3), width=320, height=240, symmetry=2)
    np.testing.assert_array_equal(predict_mask(drawn.image, model), predict_mask(drawn.image, load_model(toy_path)))
