"""Folders: input order, one file a failure, kills, resumes, full disks; nothing lost, doubled or overwritten."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest
from PIL import Image

from cutis import analyze, cli
from cutis.analysis import batch, pipeline
from cutis.analysis.batch import Options, StoppedError, analyze_to_folder
from cutis.analysis.names import targets
from cutis.analysis.runtime import Segmenter
from cutis.errors import CutisError
from cutis.imaging.read import read_mask
from cutis.records import Analysis


def run(*arguments: str | Path) -> int:
    """`cutis analyze` in this process; the exit code."""
    words = ["analyze", *map(str, arguments)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["cutis", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return ended.value.code  # type: ignore[return-value]


def records(output: Path) -> list[Analysis]:
    lines = (output / "results.jsonl").read_bytes().splitlines()
    return [Analysis.model_validate_json(line) for line in lines]


def in_folder(
    folder: Path, output: Path, model: Segmenter, *, resume: bool = False, **options: object
) -> list[Analysis]:
    return list(analyze_to_folder([folder], output, model, Options(**options), resume=resume))  # type: ignore[arg-type]


def test_everything_is_written_in_input_order(
    photos: Path, toy_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = tmp_path / "out"
    assert run(photos, "--output", output, "--model", toy_path, "--workers", 3) == 1
    found = records(output)
    assert [Path(record.file).name for record in found] == ["a.png", "broken.jpg", "skin.png", "病变 ü.png", "b.jpg"]
    assert [record.status for record in found] == ["lesion", "failed", "no_lesion", "lesion", "lesion"]
    for relative in ("a.png", "skin.png", "病变 ü.png", "sub/b.png"):
        mask = read_mask(output / "masks" / relative)
        assert mask.shape == (120, 160) and mask.any() == (relative != "skin.png")
        values = cv2.imdecode(np.fromfile(output / "masks" / relative, np.uint8), cv2.IMREAD_UNCHANGED)
        assert values.ndim == 2 and set(np.unique(values)) <= {0, 255}
        assert (output / "overlays" / relative).stat().st_size > 1000
    assert (
        found[4].lesion
        and found[4].lesion.mask == "masks/sub/b.png"
        and found[4].lesion.overlay == "overlays/sub/b.png"
    )
    assert not (output / "results.journal.jsonl").exists()
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("cutis: ") and "broken.jpg" in line
    assert "5 images: 3 with a lesion, 1 without, 1 failed" in said.out and "not a diagnosis" in said.out


def test_good_images_alone_end_with_zero(photos: Path, toy_path: Path, tmp_path: Path) -> None:
    assert run(photos / "a.png", photos / "sub", "--output", tmp_path / "out", "--model", toy_path) == 0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "none.jpg", "does not exist"),
        (lambda folder: (folder / "empty").mkdir() or folder / "empty", "no image in it"),
    ],
)
def test_a_wrong_call_is_one_line_and_two(
    tmp_path: Path, toy_path: Path, capsys: pytest.CaptureFixture, make: object, said: str
) -> None:
    assert run(make(tmp_path), "--output", tmp_path / "out", "--model", toy_path) == 2  # type: ignore[operator]
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_other_wrong_calls(photos: Path, toy_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "file").write_text("x")
    assert run(photos, "--output", tmp_path / "file", "--model", toy_path) == 2
    assert "file cannot be written" in capsys.readouterr().err
    assert run(photos, "--output", tmp_path / "o", "--model", "nothing") == 2
    assert run(photos, "--output", tmp_path / "o", "--model", toy_path, "--mm-per-pixel", "-1") == 2
    assert run(photos, "--output", tmp_path / "o", "--model", toy_path, "--workers", "0") == 2
    assert not (tmp_path / "o").exists()


def test_each_bad_file_is_named_and_the_others_are_analysed(photos: Path, toy: Segmenter, tmp_path: Path) -> None:
    good = (photos / "sub" / "b.jpg").read_bytes()
    bad = {
        "empty.jpg": b"",
        "text.png": b"hello",
        "cut.jpg": good[: len(good) // 2],
        "animated.gif": b"GIF89a" + bytes(50),
        "线 truncated.png": (photos / "a.png").read_bytes()[:200],
    }
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name, content in {**bad, "good.jpg": good}.items():
        (folder / name).write_bytes(content)
    found = {Path(record.file).name: record for record in in_folder(folder, tmp_path / "out", toy)}
    assert found.pop("good.jpg").status == "lesion"
    assert set(found) == set(bad)
    for name, record in found.items():
        assert record.status == "failed" and record.error and name in record.error and "\n" not in record.error


def test_a_damaged_tiff_is_one_line_without_the_decoders_warnings(toy_path: Path, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((40, 60, 3), 120, np.uint8)).save(buffer, "TIFF")
    path = tmp_path / "cut.tif"
    path.write_bytes(buffer.getvalue()[:50])  # Pillow warns of a truncated read
    words = ["analyze", path, "--output", tmp_path / "out", "--model", toy_path]
    done = subprocess.run(
        [sys.executable, "-m", "cutis.cli", *map(str, words)], capture_output=True, text=True, check=False
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and line.startswith("cutis: ") and "cut.tif" in line


def test_a_failure_nobody_foresaw_takes_no_other_image_with_it(
    photos: Path, toy: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pipeline.analyze_image

    def sometimes(source: Path, *arguments: object, **keywords: object) -> object:
        if source.name == "skin.png":
            raise RuntimeError("a bug\nof two lines")
        return real(source, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(batch, "analyze_image", sometimes)
    found = in_folder(photos, tmp_path / "out", toy)
    assert [record.status for record in found] == ["lesion", "failed", "failed", "lesion", "lesion"]
    assert found[2].error and "RuntimeError: a bug of two lines" in found[2].error


@pytest.mark.parametrize(
    ("relatives", "expected"),
    [
        (["a.jpg", "b/a.jpg"], ["a.png", "b/a.png"]),
        (["a.jpg", "a.png"], ["a.jpg.png", "a.png.png"]),
        (["A.jpg", "a.png"], ["A.jpg.png", "a.png.png"]),
        (["a.jpg", "a.png", "a.jpg.bmp"], ["a.jpg.png", "a.png.png", "a.jpg.bmp.png"]),
        (["é.jpg", "e\u0301.png"], ["é.jpg.png", "e\u0301.png.png"]),
        (["bad\udcff.jpg", "line\nbreak.jpg"], ["bad_.png", "line_break.png"]),
        (["../up.jpg"], ["_/up.png"]),
    ],
)
def test_no_output_overwrites_another(relatives: list[str], expected: list[str]) -> None:
    assert targets([Path(relative) for relative in relatives]) == [PurePosixPath(name) for name in expected]


def test_two_folders_with_the_same_names(photos: Path, toy: Segmenter, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.png").write_bytes((photos / "skin.png").read_bytes())
    output = tmp_path / "out"
    found = list(analyze_to_folder([photos / "a.png", other], output, toy, Options(), resume=False))
    assert [record.status for record in found] == ["lesion", "no_lesion"]
    assert sorted(path.relative_to(output / "masks").as_posix() for path in (output / "masks").rglob("*.png")) == [
        "a.png",
        "other/a.png",
    ]


def test_resumed_equals_uninterrupted(
    photos: Path, toy: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = in_folder(photos, tmp_path / "whole", toy)
    output = tmp_path / "out"
    in_folder(photos, output, toy)
    lines = (output / "results.jsonl").read_bytes().splitlines(keepends=True)
    (output / "results.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:40])  # killed while it wrote the fourth
    analysed: list[str] = []
    real = pipeline.analyze_image

    def noted(source: Path, *arguments: object, **keywords: object) -> object:
        analysed.append(source.name)
        return real(source, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(batch, "analyze_image", noted)
    in_folder(photos, output, toy, resume=True)
    assert sorted(analysed) == ["b.jpg", "broken.jpg", "病变 ü.png"]  # the failed one is tried again
    assert [_timeless(record) for record in records(output)] == [_timeless(record) for record in whole]
    (photos / "broken.jpg").write_bytes((photos / "sub" / "b.jpg").read_bytes())
    analysed.clear()
    in_folder(photos, output, toy, resume=True)
    assert analysed == ["broken.jpg"]
    assert [record.status for record in records(output)] == ["lesion", "lesion", "no_lesion", "lesion", "lesion"]
    assert (output / "report.html").read_text().count("<article") == 5


def test_resume_with_other_settings_is_refused(photos: Path, toy: Segmenter, tmp_path: Path) -> None:
    in_folder(photos, tmp_path / "out", toy)
    before = (tmp_path / "out" / "results.jsonl").read_bytes()
    with pytest.raises(CutisError, match="hair_removal false, not true"):
        in_folder(photos, tmp_path / "out", toy, resume=True, hair_removal=True)
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == before


def test_resume_with_nothing_there_begins(photos: Path, toy: Segmenter, tmp_path: Path) -> None:
    assert len(in_folder(photos, tmp_path / "out", toy, resume=True)) == 5


def test_stopped_in_the_middle_keeps_what_is_done(photos: Path, toy: Segmenter, tmp_path: Path) -> None:
    output = tmp_path / "out"
    going = analyze_to_folder([photos], output, toy, Options(workers=1), resume=False)
    first = next(going)
    with pytest.raises(KeyboardInterrupt):
        going.throw(KeyboardInterrupt)
    kept = records(output)
    assert kept[0].file == first.file and [r.file for r in kept] == [r.file for r in kept if r.status != ""]
    page = (output / "report.html").read_text()
    assert "Interrupted: 1 of 5" in page and page.rstrip().endswith("</html>")
    in_folder(photos, output, toy, resume=True)
    assert len(records(output)) == 5 and len({record.file for record in records(output)}) == 5


def test_a_full_disk_keeps_what_is_done(
    photos: Path, toy_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    real, written = batch.write_mask, []

    def until_full(path: Path, mask: np.ndarray) -> None:
        written.append(path)
        if len(written) > 2:
            raise CutisError(f"{path} cannot be written") from OSError(errno.ENOSPC, "No space left on device")
        real(path, mask)

    monkeypatch.setattr(batch, "write_mask", until_full)
    output = tmp_path / "out"
    assert run(photos, "--output", output, "--model", toy_path, "--workers", 1) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert "No space left on device" in line and "--resume" in line
    assert [record.status for record in records(output)] == ["lesion", "failed", "no_lesion"]
    monkeypatch.setattr(batch, "write_mask", real)
    assert run(photos, "--output", output, "--model", toy_path, "--resume") == 1
    assert len(records(output)) == 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_results_file_that_cannot_grow_ends_the_run(photos: Path, toy: Segmenter, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "results.jsonl").symlink_to("/dev/full")
    with pytest.raises(StoppedError, match="--resume"):
        in_folder(photos, output, toy)


def test_a_killed_run_loses_no_finished_image(photos: Path, toy_path: Path, tmp_path: Path) -> None:
    for number in range(60):
        (photos / f"more{number:02}.png").write_bytes((photos / "a.png").read_bytes())
    output = tmp_path / "out"
    words = [
        sys.executable,
        "-m",
        "cutis.cli",
        "analyze",
        str(photos),
        "--output",
        str(output),
        "--model",
        str(toy_path),
    ]
    process = subprocess.Popen([*words, "--workers", "2"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    journal = output / "results.journal.jsonl"
    while time.monotonic() < deadline and not (journal.exists() and journal.read_bytes().count(b"\n") >= 5):
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
    process.wait()
    noted = {
        json.loads(line)["file"] for line in journal.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")
    }
    assert 5 <= len(noted) < 65
    ended = subprocess.run([*words, "--resume"], capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stderr
    done = sum(1 for file in noted if not file.endswith("broken.jpg"))
    assert f"({done} from an earlier run)" in ended.stdout
    names = [record.file for record in records(output)]
    assert names == sorted(set(names), key=names.index) and len(names) == 65
    assert not journal.exists()


def test_python_gives_what_the_command_line_writes(photos: Path, toy: Segmenter, tmp_path: Path) -> None:
    listed = analyze(photos, model=toy)
    assert isinstance(listed, list)
    written = analyze(photos, model=toy, output=tmp_path / "out")
    assert isinstance(written, list)
    assert (
        [record.status for record in listed]
        == [record.status for record in written]
        == [record.status for record in records(tmp_path / "out")]
    )
    one = analyze(photos / "a.png", model=toy)
    assert isinstance(one, Analysis) and one.lesion and listed[0].lesion and one.lesion.box == listed[0].lesion.box
    pair = analyze([photos / "a.png", photos / "skin.png"], model=toy)
    assert [record.status for record in pair] == ["lesion", "no_lesion"]
    with pytest.raises(CutisError, match=r"broken\.jpg"):
        analyze(photos / "broken.jpg", model=toy)
    with pytest.raises(TypeError, match="output="):
        analyze(b"", model=toy, output=tmp_path)


def test_masks_of_an_earlier_run_are_not_photos(photos: Path, toy: Segmenter) -> None:
    first = in_folder(photos, photos / "out", toy)
    again = in_folder(photos, photos / "out", toy)
    assert [record.file for record in again] == [record.file for record in first]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_folder(photos: Path, toy_path: Path, tmp_path: Path) -> None:
    large = cv2.resize(cv2.imread(str(photos / "sub" / "b.jpg")), (1024, 768), interpolation=cv2.INTER_CUBIC)
    content = cv2.imencode(".jpg", large)[1].tobytes()
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(1000):
        (folder / f"{number:04}.jpg").write_bytes(content)
    script = (
        "import resource, sys; from cutis import cli\n"
        "try: cli.main()\n"
        "except SystemExit as e: print(e.code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    words = ["analyze", str(folder), "--output", str(tmp_path / "out"), "--model", str(toy_path)]
    ended = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
    code, kilobytes = ended.stdout.split()[-2:]
    assert code == "0" and int(kilobytes) < 600_000
    assert len(records(tmp_path / "out")) == 1000


def _timeless(record: Analysis) -> dict[str, object]:
    return {**record.model_dump(), "times_ms": None}
