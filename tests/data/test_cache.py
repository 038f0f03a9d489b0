"""The decoded cache: content decides, a cut-off build is never used, workers get no pixels."""

from __future__ import annotations

import os
import pickle
import time

import cv2
import numpy as np
import pytest

from cutis.data.cache import open_cache, uniform
from cutis.data.samples import Sample
from cutis.errors import CutisError


@pytest.fixture
def samples(tmp_path):
    rng = np.random.default_rng(0)
    made = []
    for index, (height, width) in enumerate([(40, 60), (60, 40), (50, 50)]):
        image, mask = tmp_path / f"{index}.png", tmp_path / f"{index}_mask.png"
        cv2.imwrite(str(image), rng.integers(0, 255, (height, width, 3), np.uint8))
        truth = np.zeros((height, width), np.uint8)
        truth[10:30, 10:30] = 255
        cv2.imwrite(str(mask), truth)
        made.append(Sample(str(index), image, "toy", mask))
    return made


def test_holds_what_letterbox_gives_and_is_reused(samples, tmp_path):
    calls = []
    cache = open_cache(samples, 32, tmp_path / "cache", lambda done, total: calls.append(done))
    assert calls == [1, 2, 3]
    assert cache.images.shape == (3, 32, 32, 3)
    assert cache.masks.max() == 1
    frame = cache.frames[0]
    assert (frame.inner_width, frame.inner_height) == (32, 21)
    assert not cache.images[0][: frame.top].any()
    assert frame.crop(cache.masks[0]).mean() == pytest.approx(400 / 2400, rel=0.15)
    open_cache(samples, 32, tmp_path / "cache", lambda done, total: pytest.fail("built twice"))


def test_changed_pixels_make_another_cache(samples, tmp_path):
    before = open_cache(samples, 32, tmp_path / "cache").key
    cv2.imwrite(str(samples[1].image), np.zeros((60, 40, 3), np.uint8))
    after = open_cache(samples, 32, tmp_path / "cache")
    assert after.key != before
    assert not after.images[1].any()
    assert open_cache(samples, 48, tmp_path / "cache").key not in (before, after.key)


def test_a_build_that_fails_leaves_nothing(samples, tmp_path):
    cv2.imwrite(str(samples[2].mask), np.zeros((9, 9), np.uint8))
    with pytest.raises(CutisError, match=r"2_mask\.png is 9x9 but its image is 50x50"):
        open_cache(samples, 32, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_missing_mask_or_file_is_named(samples, tmp_path):
    with pytest.raises(CutisError, match="toy x has no mask"):
        open_cache([Sample("x", samples[0].image, "toy")], 32, tmp_path / "cache")
    samples[0].image.unlink()
    with pytest.raises(CutisError, match=r"0\.png cannot be read"):
        open_cache(samples, 32, tmp_path / "cache")


def test_sending_it_to_a_worker_sends_no_pixels(samples, tmp_path):
    cache = open_cache(samples, 64, tmp_path / "cache")
    _ = cache.images
    sent = pickle.dumps(cache)
    assert len(sent) < 3 * 64 * 64
    np.testing.assert_array_equal(pickle.loads(sent).images, cache.images)


def test_masks_of_everything_and_of_nothing_are_found(samples, tmp_path):
    cv2.imwrite(str(samples[0].mask), np.full((40, 60), 255, np.uint8))
    cv2.imwrite(str(samples[2].mask), np.zeros((50, 50), np.uint8))
    full, empty = uniform(open_cache(samples, 32, tmp_path / "cache"))
    assert ([s.id for s in full], [s.id for s in empty]) == (["0"], ["2"])


def test_what_a_killed_build_left_is_removed_a_day_later(samples, tmp_path):
    home = open_cache(samples, 32, tmp_path / "cache").home
    home.rename(home.with_name("away"))
    old, new = (home.with_name(f".{home.name}.building-{name}") for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (time.time() - 90_000,) * 2)
    open_cache(samples, 32, tmp_path / "cache")
    assert new.exists() and not old.exists()


def test_two_builds_of_the_same_content_at_once(samples, tmp_path):
    inner = []

    def meanwhile(done, total):
        if done == total and not inner:
            inner.append(1)
            inner.append(open_cache(samples, 32, tmp_path / "cache"))

    cache = open_cache(samples, 32, tmp_path / "cache", meanwhile)
    np.testing.assert_array_equal(cache.images, inner[1].images)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [cache.home.name]
