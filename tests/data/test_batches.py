"""Batches: keys decide everything, the shares are kept, processes divide a batch, distances are right."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from scipy import ndimage  # noqa: E402

from cutis.data.batches import EachOnce, KeySampler, signed_distance  # noqa: E402


def sampler(shares=(1.0,) * 10, steps=5, batch=4, seed=1):
    return KeySampler(np.array(shares), steps, batch, seed, lambda epoch: 64 if epoch < 2 else 96)


def test_an_epoch_is_decided_by_seed_and_epoch():
    one, two = sampler(), sampler()
    assert list(one) == list(two)
    two.epoch = lambda: 1
    assert list(one) != list(two)
    assert list(sampler(seed=2)) != list(one)
    two.epoch = lambda: 2
    assert {key.size for batch in two for key in batch} == {96}


def test_each_comes_as_often_as_its_share():
    drawn = [key.where for batch in sampler((3.0, 1.0, 0.5, 0.5), steps=25, batch=4) for key in batch]
    assert np.bincount(drawn).tolist() == pytest.approx([60, 20, 10, 10], abs=1)
    assert len({key.seed for batch in sampler() for key in batch}) == 20


def test_two_processes_see_together_what_one_sees(monkeypatch):
    whole = list(sampler())
    halves = []
    for rank in (0, 1):
        monkeypatch.setattr("cutis.data.batches._place", lambda rank=rank: (rank, 2))
        halves.append(list(sampler()))
    for batch, left, right in zip(whole, *halves, strict=True):
        assert sorted(batch) == sorted(left + right)


@pytest.mark.parametrize(("count", "world"), [(9, 2), (7, 3), (1, 3), (8, 2), (5, 1)])
def test_every_process_has_as_many_batches_and_together_they_have_every_image(monkeypatch, count, world):
    seen, lengths = [], set()
    for rank in range(world):
        monkeypatch.setattr("cutis.data.batches._place", lambda rank=rank: (rank, world))
        batches = list(EachOnce(count, 32, 4))
        assert len(batches) == len(EachOnce(count, 32, 4))
        lengths.add(tuple(len(batch) for batch in batches))
        seen += [key.where for batch in batches for key in batch]
    assert len(lengths) == 1
    assert sorted(set(seen)) == list(range(count))
    assert len(seen) < count + world


def test_signed_distance_is_scipys():
    mask = np.zeros((40, 40), np.uint8)
    mask[10:25, 5:30] = 1
    expected = ndimage.distance_transform_edt(mask == 0) - ndimage.distance_transform_edt(mask)
    assert (
        np.abs(signed_distance(mask) * 40 - expected).max() < 0.08 * np.abs(expected).max()
    )  # OpenCV's 3x3 approximation
    assert (signed_distance(mask * 0) == 1).all()
    assert (signed_distance(mask * 0 + 1) == -1).all()
