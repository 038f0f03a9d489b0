"""A teacher's cache: what it holds, completed after a cut, one writer, refused by name where anything differs."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from filelock import FileLock  # noqa: E402

from cutis.data.cache import open_cache  # noqa: E402
from cutis.data.taught_batches import inside  # noqa: E402
from cutis.errors import CutisError  # noqa: E402
from cutis.imaging.read import read_image  # noqa: E402
from cutis.teachers.base import Live, Taught  # noqa: E402
from cutis.teachers.cache import describe, fill, open_teacher_cache  # noqa: E402

SHAPE = {"side": 8, "channels": 3, "fitted_on": 4}


def make(teacher, cache, home, *, align=None, progress=lambda what, done, total: None, **shape):
    source = Live(teacher, cache, "cpu")
    manifest = describe(source, cache, align=align, **(SHAPE | shape))
    return fill(source, cache, home, manifest, align=align, batch=2, progress=progress)


def test_holds_what_the_teacher_says(cache, painter, tmp_path):
    teacher, told = painter(), []
    made = make(teacher, cache, tmp_path / "t", progress=lambda *what: told.append(what))
    assert teacher.asked == 4 + 5
    assert told[-1] == ("asking the teacher", 5, 5)
    assert ("fitting its projection", 4, 4) in told
    assert (made.logits.shape, made.embedding.shape) == ((5, 1, 8, 8), (5, 3, 8, 8))
    assert made.logits.dtype == made.embedding.dtype == np.float16
    whole = teacher.answer(torch.from_numpy(np.array(cache.images)).permute(0, 3, 1, 2).float() / 255)
    small = torch.nn.functional.interpolate(whole.embedding, (8, 8), mode="bilinear", antialias=True)
    basis = torch.from_numpy(made.projection.basis)
    torch.testing.assert_close(basis.T @ basis, torch.eye(3))
    expected = made.projection.apply(small).numpy()
    np.testing.assert_allclose(made.embedding, expected, atol=2e-3)
    seen = torch.stack([inside(frame, 8) for frame in cache.frames]).numpy()[:, None]
    square = (np.asarray(made.embedding, np.float32) ** 2 * seen).sum() / seen.sum()
    assert square == pytest.approx(1, rel=0.1)  # fitted on four of the five
    found, truth = (whole.logits[:, 0] > 0).numpy(), np.asarray(cache.masks) > 0
    found[:, :4] = found[:, 28:] = False  # the letterbox's bars, dark as a lesion, are no part of the picture
    np.testing.assert_allclose(made.dice, 2 * (found & truth).sum((1, 2)) / (found.sum((1, 2)) + truth.sum((1, 2))))
    assert made.projection.explained == pytest.approx(1, abs=1e-4)  # mixtures of three colours
    again = open_teacher_cache(tmp_path / "t", cache, teacher.fingerprint)
    sent = pickle.dumps(again)
    assert len(sent) < 2000
    np.testing.assert_array_equal(pickle.loads(sent).embedding, made.embedding)


def test_a_cut_off_cache_is_completed_and_ends_the_same(cache, painter, tmp_path):
    whole = make(painter(), cache, tmp_path / "whole")

    def cut(what, done, total):
        if what == "asking the teacher" and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(painter(), cache, tmp_path / "cut", progress=cut)
    with pytest.raises(CutisError, match=r"cut off: 1 of 5 answers are missing; give the same 'cutis teach' again"):
        open_teacher_cache(tmp_path / "cut", cache)
    teacher = painter()
    completed = make(teacher, cache, tmp_path / "cut")
    assert teacher.asked == 1
    for name in ("logits", "embedding", "dice"):
        np.testing.assert_array_equal(getattr(completed, name), getattr(whole, name))
    assert make(teacher, cache, tmp_path / "cut").dice.min() > 0.9
    assert teacher.asked == 1  # what is whole is not asked for again


def test_only_one_process_writes(cache, painter, tmp_path):
    (tmp_path / "t").mkdir()
    with FileLock(tmp_path / "t" / ".writer.lock"), pytest.raises(CutisError, match="another process is writing"):
        make(painter(), cache, tmp_path / "t")
    make(painter(), cache, tmp_path / "t")

    def meanwhile(what, done, total):
        with pytest.raises(CutisError, match="another process is writing"):
            make(painter(), cache, tmp_path / "u")

    make(painter(), cache, tmp_path / "u", progress=meanwhile)


def test_another_content_is_refused_by_name(cache, samples, painter, tmp_path):
    home = tmp_path / "t"
    make(painter(), cache, home)
    with pytest.raises(
        CutisError, match=r"another teacher \(other weights, layer or prompts\): fingerprint seed 0 there"
    ):
        make(painter(seed=1), cache, home)
    with pytest.raises(CutisError, match=r'another preprocessing: preprocessing .*"size":32.* there, .*"size":64'):
        make(painter(size=64), cache, home)
    with pytest.raises(CutisError, match="another shape: side 8 there, 4 here"):
        make(painter(), cache, home, side=4)
    with pytest.raises(CutisError, match="another shape: channels 3 there, 2 here"):
        make(painter(), cache, home, channels=2)
    with pytest.raises(CutisError, match="answers of another teacher: painter seed 0, not seed 1"):
        open_teacher_cache(home, cache, "seed 1")
    cv2.imwrite(str(samples[0].image), np.zeros((48, 64, 3), np.uint8))
    other = open_cache(samples, 32, tmp_path / "decoded")
    with pytest.raises(CutisError, match="another image set: images"):
        make(painter(), other, home)
    with pytest.raises(CutisError, match=r"is of another image set \(5 images"):
        open_teacher_cache(home, other)
    with pytest.raises(CutisError, match="is not a teacher's cache"):
        open_teacher_cache(tmp_path, cache)
    np.save(home / "logits.npy", np.zeros((5, 1, 4, 4), np.float16))
    with pytest.raises(CutisError, match=r"logits\.npy is \(5, 1, 4, 4\) of float16, its manifest says \(5, 1, 8, 8\)"):
        open_teacher_cache(home, cache)


def test_an_embedding_that_does_not_fit_is_told_its_shape_and_the_expected_one(cache, painter, tmp_path):
    with pytest.raises(CutisError, match=r"an embedding of \(2, 6, 16, 16\): \(2, K, h, w\) is expected .* 7 channels"):
        make(painter(), cache, tmp_path / "a", channels=7)
    teacher = painter()
    teacher.answer = lambda image: Taught(torch.zeros(len(image), 2, 4, 4), torch.zeros(len(image), 6, 4, 4))
    with pytest.raises(CutisError, match=r"logits of \(2, 2, 4, 4\): \(2, 1, h, w\) is expected"):
        make(teacher, cache, tmp_path / "b")
    teacher.answer = lambda image: Taught(
        torch.zeros(len(image), 1, 4, 4), torch.full((len(image), 6, 4, 4), torch.nan)
    )
    with pytest.raises(CutisError, match="no numbers for an answer to toy 0"):
        make(teacher, cache, tmp_path / "c")
    teacher.answer = lambda image: Taught(torch.zeros(len(image), 1, 4, 4), torch.ones(len(image), 6, 4, 4))
    with pytest.raises(CutisError, match="the same everywhere"):
        make(teacher, cache, tmp_path / "d")


def test_a_teacher_of_another_size_sees_the_picture_decoded_at_its_own(cache, samples, painter, tmp_path):
    seen = []
    teacher = painter(size=64)
    answer = teacher.answer
    teacher.answer = lambda image: seen.append(image) or answer(image)
    made = make(teacher, cache, tmp_path / "t")
    first = torch.from_numpy(read_image(samples[0].image).pixels.copy()).permute(2, 0, 1).float() / 255
    torch.testing.assert_close(seen[0][0, :, 8:56], first)
    assert made.dice.min() > 0.9


def test_alignment_turns_one_teacher_towards_the_other(cache, painter, tmp_path):
    """Two mixtures of the same three colours: turned towards each other they look much more alike."""
    first = make(painter(seed=1), cache, tmp_path / "first")
    cosines = []
    for name, align in (("alone", None), ("turned", first)):
        second = make(painter(seed=2), cache, tmp_path / name, align=align)
        a, b = (np.asarray(c.embedding, np.float32) for c in (first, second))
        cosines.append(((a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1)))[:, 1:7].mean())
        basis = second.projection.basis
        np.testing.assert_allclose(basis.T @ basis, np.eye(3), atol=1e-5)
    assert cosines[1] > 0.8
    assert cosines[1] > cosines[0] - 1e-3
    with pytest.raises(CutisError, match="to be aligned both must be alike"):
        make(painter(seed=2), cache, tmp_path / "x", align=first, side=4)
    with pytest.raises(CutisError, match=r"projection \(aligned to another teacher\)"):
        make(painter(seed=2), cache, tmp_path / "alone", align=first)


def test_a_full_disk_is_said_before_anything_is_asked(cache, painter, tmp_path, monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setattr("cutis.teachers.cache.shutil.disk_usage", lambda path: SimpleNamespace(free=100))
    teacher = painter()
    with pytest.raises(CutisError, match=r"needs 0\.0 GB, 0\.0 GB are free"):
        make(teacher, cache, tmp_path / "t")
    assert teacher.asked == 0
