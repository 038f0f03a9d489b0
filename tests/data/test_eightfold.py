"""SLSNet's augmentation: eight versions of each picture, masks that follow, black padding that stays."""

from __future__ import annotations

import numpy as np
import pytest

from cutis.data.cache import SegmentationCache, open_cache
from cutis.data.eightfold import VERSIONS, Eightfold, eightfold, equalised, gamma, versions_of
from cutis.data.folder import read_folder
from cutis.data.synthetic import write_folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> SegmentationCache:
    home = tmp_path_factory.mktemp("eightfold")
    write_folder(home / "drawn", 3, 0, width=64, height=48)
    samples = [sample for sample in read_folder(home / "drawn") if sample.mask]
    return open_cache(samples, 32, home / "cache")


def test_makes_eight_versions_in_a_row(cache):
    made = eightfold(cache, lambda done, total: None)
    assert len(made) == VERSIONS * len(cache)
    assert [made.samples[n].id for n in (0, 7, 8)] == [cache.samples[n].id for n in (0, 0, 1)]
    assert np.array_equal(made.images[8], cache.images[1]) and np.array_equal(made.masks[8], cache.masks[1])
    assert len({made.images[n].tobytes() for n in range(VERSIONS)}) == VERSIONS
    again = eightfold(cache, lambda done, total: pytest.fail("it was made already"))
    assert again.key == made.key


def test_the_versions_are_the_papers(cache):
    image, mask = np.asarray(cache.images[0]), np.asarray(cache.masks[0])
    versions = [versions_of(image, mask, n) for n in range(VERSIONS)]
    assert np.array_equal(versions[1][0], image[:, ::-1]) and np.array_equal(versions[1][1], mask[:, ::-1])
    assert np.array_equal(versions[2][0], image[::-1]) and np.array_equal(versions[2][1], mask[::-1])
    expected = np.rint(255 * (image / 255.0) ** 1.5).astype(np.uint8)
    assert np.array_equal(versions[4][0], expected)
    assert np.array_equal(versions[3][0], gamma(image, 0.5))
    for n, clip in ((5, 1.0), (6, 1.5), (7, 2.0)):
        assert np.array_equal(versions[n][0], equalised(image, clip))
    assert all(np.array_equal(version[1], mask) for version in versions[3:])


def test_padding_stays_black(cache):
    image = np.asarray(cache.images[0])
    black = ~image.any(axis=-1)
    assert black.sum() >= 32 * 8  # the letterbox of a 4:3 picture
    assert not equalised(image, 2.0)[black].any()


def test_online_moves_mask_and_image_together_and_says_how():
    rng = np.random.default_rng(0)
    mask = (rng.random((24, 24)) < 0.4).astype(np.uint8)
    image = np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)  # 0 and 255 stay under any gamma
    how, seen = Eightfold(when="online", clahe=0.0), set()
    for seed in range(40):
        new, moved, matrix = how.apply(image, mask, 24, np.random.default_rng(seed))
        assert np.array_equal(new[..., 0] > 127, moved > 0)
        y, x = np.argwhere(mask)[5]
        u, v = np.rint(matrix @ (x, y, 1)).astype(int)
        assert moved[v, u] == 1
        seen.add(tuple(np.sign(np.diag(matrix[:, :2]))))
    assert len(seen) == 4


def test_online_is_decided_by_its_seed_and_shrinks_to_the_size(cache):
    image, mask = np.asarray(cache.images[0]), np.asarray(cache.masks[0])
    how = Eightfold(when="online", clahe=1.0)
    one, two = (how.apply(image, mask, 16, np.random.default_rng(5)) for _ in range(2))
    assert one.image.shape == (16, 16, 3) and one.mask.shape == (16, 16)
    assert np.array_equal(one.image, two.image) and np.array_equal(one.mask, two.mask)
    other = how.apply(image, mask, 16, np.random.default_rng(6))
    assert not np.array_equal(one.image, other.image)
