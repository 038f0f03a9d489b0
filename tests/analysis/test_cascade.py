"""The cascade after the mask: what its networks see, where their maps lie, and what the record says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from cutis import analyze
from cutis.analysis import batch
from cutis.analysis.batch import Options, analyze_to_folder
from cutis.analysis.cascade import MAP_SIDE, Cascade, load_cascade, on_picture
from cutis.analysis.classifier import load_symmetry
from cutis.analysis.pipeline import analyze_image
from cutis.analysis.runtime import Segmenter
from cutis.data.synthetic import SyntheticLesion, draw_skin
from cutis.errors import CutisError
from cutis.imaging.cells import Cells, spread
from cutis.records import Analysis

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def placed() -> np.ndarray:
    """A lesion in the lower right of a square picture, which has no padding."""
    picture = np.full((300, 300, 3), 225, np.uint8)
    cv2.ellipse(picture, (187, 187), (45, 30), 0, 0, 360, (50, 40, 35), -1)
    return picture


def test_a_lesion_gets_both_answers(toy: Segmenter, cascade: Cascade, drawn: SyntheticLesion) -> None:
    found = analyze_image(drawn.image, toy, name="drawn", cascade=cascade)
    analysis = found.analysis
    assert analysis.symmetry and analysis.symmetry.label == "symmetric"
    assert analysis.symmetry.probability == pytest.approx(np.e / (1 + np.e), abs=1e-4)
    assert analysis.diagnosis and analysis.diagnosis.label == "nv" and analysis.diagnosis.reasons == []
    assert sum(analysis.diagnosis.probabilities.values()) == pytest.approx(1, abs=1e-3)
    assert analysis.symmetry_model == cascade.symmetry_info and analysis.class_model == cascade.class_info
    assert analysis.symmetry.activation_map is None  # nothing was written
    assert found.symmetry_map is not None and found.symmetry_map.shape == drawn.mask.shape


def test_steps_are_timed_in_their_order(toy: Segmenter, cascade: Cascade, drawn: SyntheticLesion) -> None:
    times = analyze_image(drawn.image, toy, name="drawn", cascade=cascade).analysis.times_ms
    assert list(times) == ["read", "prepare", "network", "mask", "measures", "symmetry", "class", "quality"]


def test_without_a_lesion_there_is_no_class(toy: Segmenter, cascade: Cascade) -> None:
    skin = draw_skin(np.random.default_rng(1), width=320, height=240, tone=0.0)
    found = analyze_image(skin, toy, name="skin", cascade=cascade)
    analysis = found.analysis
    assert analysis.status == "no_lesion" and analysis.symmetry is None and analysis.diagnosis is None
    assert found.symmetry_map is None and found.class_map is None
    assert analysis.class_model == cascade.class_info and "class" not in analysis.times_ms


def test_the_rest_of_the_record_does_not_depend_on_the_cascade(
    toy: Segmenter, cascade: Cascade, drawn: SyntheticLesion
) -> None:
    alone, both = (analyze_image(drawn.image, toy, name="x", cascade=c) for c in (Cascade(), cascade))
    np.testing.assert_array_equal(alone.mask, both.mask)
    assert alone.analysis.lesion == both.analysis.lesion and alone.analysis.quality == both.analysis.quality
    assert alone.analysis.symmetry is alone.analysis.diagnosis is alone.analysis.class_model is None


def test_the_symmetry_map_changes_the_class(
    toy: Segmenter, drawn: SyntheticLesion, write_symmetry: Write, write_lesion: Write, tmp_path: Path
) -> None:
    """The toy lesion network adds the map's mean to the first logit; the baseline has no map to add."""
    symmetry = write_symmetry(tmp_path / "s.onnx")
    p = {}
    for takes in (4, None):
        networks = load_cascade(symmetry, write_lesion(tmp_path / f"l{takes}.onnx", logits=(0.0,) * 7, takes=takes))
        found = analyze_image(drawn.image, toy, name="x", cascade=networks).analysis.diagnosis
        assert found
        p[takes] = found.probabilities["mel"]
    assert p[None] == pytest.approx(1 / 7, abs=1e-4) and p[4] > p[None] + 0.01


def test_either_network_may_be_alone(
    toy: Segmenter, drawn: SyntheticLesion, write_symmetry: Write, write_lesion: Write, tmp_path: Path
) -> None:
    both = load_cascade(write_symmetry(tmp_path / "s.onnx"), write_lesion(tmp_path / "l.onnx", takes=None))
    first = analyze_image(drawn.image, toy, name="x", cascade=Cascade(symmetry=both.symmetry))
    second = analyze_image(drawn.image, toy, name="x", cascade=Cascade(lesion=both.lesion))
    assert first.analysis.symmetry and not first.analysis.diagnosis and first.class_map is None
    assert second.analysis.diagnosis and not second.analysis.symmetry and second.symmetry_map is None


@pytest.mark.parametrize("which", ["symmetry_map", "class_map"])
def test_maps_lie_where_the_networks_looked(toy: Segmenter, cascade: Cascade, placed: np.ndarray, which: str) -> None:
    """Both toys look where it is dark."""
    outcome = analyze_image(placed, toy, name="placed", cascade=cascade)
    laid = getattr(outcome, which)
    assert laid.shape == placed.shape[:2] and laid.dtype == np.uint8
    top, left = np.unravel_index(laid.argmax(), laid.shape)
    assert outcome.mask[top, left]
    assert laid[outcome.mask].mean() > 2 * laid[:110, :110].mean()


def test_a_map_is_laid_without_its_padding() -> None:
    """A tall picture fills the middle columns of the square; a cell's centre stays where it was."""
    tall = np.zeros((200, 100, 3), np.uint8)
    activation = np.zeros((4, 4), np.float32)
    activation[0, 1] = 1  # over the rows 0 to 49 and, of the columns 0 to 99 seen, the left half
    square = spread(activation, 64, Cells(first=8, step=16))
    laid = on_picture(square, tall)
    assert laid.shape == (200, 100)
    row, column = np.unravel_index(laid.argmax(), laid.shape)
    assert row <= 28 and abs(column - 24.5) <= 4
    assert laid[:, 75:].max() < 10
    large = np.zeros((2000, 1000, 3), np.uint8)
    assert on_picture(square, large).shape == (MAP_SIDE, MAP_SIDE // 2)


@pytest.mark.parametrize(("masking", "pale"), [("none", {"far", "near"}), ("lae", {"near"}), ("segmentation", set())])
def test_networks_see_what_they_were_trained_to_see(
    toy: Segmenter, write_symmetry: Write, tmp_path: Path, placed: np.ndarray, masking: str, pale: set[str]
) -> None:
    """The toy's map is darkness, in 16 x 16 cells: what the masking blackens is dark, other skin is pale."""
    networks = Cascade(load_symmetry(write_symmetry(tmp_path / "s.onnx", masking=masking, map_side=16)))
    laid = analyze_image(placed, toy, name="x", cascade=Cascade(networks.symmetry)).symmetry_map
    assert laid is not None and laid[187, 187] > 200
    skin = {"far": laid[60, 60], "near": laid[218, 136]}  # near: in a corner of the lesion's box dilated by 1.4
    assert {where for where, value in skin.items() if value < 100} == pale


def test_a_large_photo_is_masked_at_the_size_it_was_decoded(
    toy: Segmenter, write_symmetry: Write, tmp_path: Path, placed: np.ndarray
) -> None:
    networks = Cascade(load_symmetry(write_symmetry(tmp_path / "s.onnx", masking="segmentation")))
    large = cv2.resize(placed, (3000, 3000), interpolation=cv2.INTER_CUBIC)
    content = cv2.imencode(".jpg", large[..., ::-1])[1].tobytes()
    outcome = analyze_image(content, toy, name="large", cascade=networks)
    assert outcome.mask.shape == (3000, 3000) and outcome.picture.shape[1] < 2000
    small = analyze_image(placed, toy, name="small", cascade=networks)
    assert outcome.symmetry_map is not None and small.symmetry_map is not None
    assert outcome.symmetry_map.shape == (MAP_SIDE, MAP_SIDE)
    shrunk = cv2.resize(outcome.symmetry_map, (300, 300), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - small.symmetry_map).mean() < 8


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (700, 1), (3, 5)])
@pytest.mark.parametrize("masking", ["none", "lae", "segmentation"])
def test_the_smallest_pictures_have_an_answer(
    toy: Segmenter, write_symmetry: Write, write_lesion: Write, tmp_path: Path, shape: tuple[int, int], masking: str
) -> None:
    networks = load_cascade(
        write_symmetry(tmp_path / "s.onnx", masking=masking), write_lesion(tmp_path / "l.onnx", masking=masking)
    )
    outcome = analyze_image(np.zeros((*shape, 3), np.uint8), toy, name="tiny", cascade=networks)
    assert outcome.analysis.diagnosis and outcome.class_map is not None and outcome.class_map.ndim == 2


def test_maps_are_written_and_named(photos: Path, toy: Segmenter, cascade: Cascade, tmp_path: Path) -> None:
    output = tmp_path / "out"
    found = run_folder(photos, output, toy, cascade)
    with_lesion = [record for record in found if record.status == "lesion"]
    assert len(with_lesion) == 3
    for record in with_lesion:
        assert record.lesion and record.lesion.mask and record.symmetry and record.diagnosis
        stem = record.lesion.mask.removeprefix("masks/").removesuffix(".png")
        assert record.symmetry.activation_map == f"maps/{stem}-symmetry.png"
        assert record.diagnosis.activation_map == f"maps/{stem}-class.png"
        for name in (record.symmetry.activation_map, record.diagnosis.activation_map):
            laid = cv2.imdecode(np.fromfile(output / name, np.uint8), cv2.IMREAD_UNCHANGED)
            assert laid.shape == (120, 160) and laid.dtype == np.uint8 and laid.max() > laid.min()
    assert len(list((output / "maps").rglob("*.png"))) == 6
    assert (output / "report.html").read_text("utf-8").count("<img ") == 4 + 6
    again = run_folder(output, tmp_path / "again", toy, cascade)
    assert len(again) == 4 + 4 + 6  # as photos of another run masks and maps are pictures like any other ...
    with pytest.raises(CutisError, match="every image named lies in the output folder"):
        run_folder(output, output, toy, cascade)  # ... but not in the run that they belong to


def test_resumed_equals_uninterrupted(
    photos: Path, toy: Segmenter, cascade: Cascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    whole = run_folder(photos, output, toy, cascade)
    page = (output / "report.html").read_text("utf-8")
    lines = (output / "results.jsonl").read_bytes().splitlines(keepends=True)
    (output / "results.jsonl").write_bytes(b"".join(lines[:4]))
    analysed: list[str] = []
    real = batch.analyze_image

    def noted(path: Path, *arguments: object, **keywords: object) -> object:
        analysed.append(path.name)
        return real(path, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(batch, "analyze_image", noted)
    resumed = run_folder(photos, output, toy, cascade, resume=True)
    assert sorted(analysed) == ["b.jpg", "broken.jpg"]
    assert [timeless(record) for record in resumed] == [timeless(record) for record in whole]
    assert (output / "report.html").read_text("utf-8").count("<img ") == page.count("<img ")
    (output / "maps" / "a-class.png").unlink()
    run_folder(photos, output, toy, cascade, resume=True)
    assert (output / "report.html").read_text("utf-8").count("<img ") == page.count("<img ") - 1


def test_a_run_is_not_resumed_with_another_cascade(
    photos: Path, toy: Segmenter, cascade: Cascade, tmp_path: Path
) -> None:
    run_folder(photos, tmp_path / "out", toy, cascade)
    with pytest.raises(CutisError, match="was begun with symmetry_model"):
        run_folder(photos, tmp_path / "out", toy, Cascade(), resume=True)
    run_folder(photos, tmp_path / "old", toy, Cascade())
    settings = json.loads((tmp_path / "old" / "run.json").read_text())
    earlier = {key: value for key, value in settings.items() if not key.endswith("_model")}
    (tmp_path / "old" / "run.json").write_text(json.dumps(earlier))  # as before there was a cascade
    assert len(run_folder(photos, tmp_path / "old", toy, Cascade(), resume=True)) == 5


def test_python_takes_the_models_or_none(
    toy: Segmenter, write_symmetry: Write, write_lesion: Write, drawn: SyntheticLesion, tmp_path: Path
) -> None:
    symmetry, lesion = write_symmetry(tmp_path / "s.onnx"), write_lesion(tmp_path / "l.onnx")
    found = analyze(drawn.image, model=toy, symmetry_model=symmetry, class_model=lesion)
    assert isinstance(found, Analysis) and found.symmetry and found.diagnosis
    plain = analyze(drawn.image, model=toy, cascade=False)
    assert isinstance(plain, Analysis) and plain.symmetry is None and plain.class_model is None
    with pytest.raises(CutisError, match="leave out one"):
        analyze(drawn.image, model=toy, class_model=lesion, cascade=False)


def test_the_command_line_takes_the_models_or_none(
    photos: Path, toy_path: Path, write_symmetry: Write, write_lesion: Write, tmp_path: Path
) -> None:
    symmetry, lesion = write_symmetry(tmp_path / "s.onnx"), write_lesion(tmp_path / "l.onnx", unlikeness=9.0)
    arguments = ["--symmetry-model", symmetry, "--class-model", lesion]
    done = cutis(photos / "a.png", toy_path, tmp_path / "both", *arguments)
    assert done.returncode == 0 and "Class: 0 named, 1 not sure." in done.stdout and done.stderr == ""
    (line,) = (tmp_path / "both" / "results.jsonl").read_text().splitlines()
    record = Analysis.model_validate_json(line)
    assert record.diagnosis and record.diagnosis.reasons == ["unlike the images it was trained on"]
    assert (tmp_path / "both" / "maps" / "a-class.png").exists()
    done = cutis(photos / "a.png", toy_path, tmp_path / "none", "--no-cascade")
    assert done.returncode == 0 and "Class:" not in done.stdout and "no model for" not in done.stdout
    assert cutis(photos / "a.png", toy_path, tmp_path / "x", "--no-cascade", *arguments).returncode == 2
    done = cutis(photos / "a.png", toy_path, tmp_path / "x", "--class-model", toy_path)
    assert done.returncode == 2 and "is a model for 'segmentation', not for 'lesion_class'" in done.stderr


def cutis(image: Path, model: Path, output: Path, *more: object) -> subprocess.CompletedProcess[str]:
    words = ["analyze", image, "--model", model, "--output", output, *more]
    return subprocess.run(
        [sys.executable, "-m", "cutis.cli", *map(str, words)], capture_output=True, text=True, check=False
    )


def run_folder(
    folder: Path, output: Path, model: Segmenter, cascade: Cascade, *, resume: bool = False
) -> list[Analysis]:
    return list(analyze_to_folder([folder], output, model, Options(cascade=cascade), resume=resume))


def timeless(record: Analysis) -> Analysis:
    return record.model_copy(update={"times_ms": {}})
