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
    drawn = [key.index for batch in sampler((3.0, 1.0, 0.5, 0.5), steps=25, batch=4) for key in batch]
    assert np.bincount(drawn).tolist() == pytest.approx([60, 20, 10, 10], abs=1)
    assert len({key.seed for batch in sampler() for key in batch}) == 20


def test_two_processes_see_together_what_one_sees(monkeypatch):
    whole = list(sampler())
    halves = []
    for rank in (0, 1):
        monkeypatch.setattr("cutis.data.batches._place", lambda rank=rank: (rank, 2))
        halves.append(list(sampler()))
        assert [k.index for b in EachOnce(7, 32, 2) for k in b] == list(range(rank, 7, 2))
    for batch, left, right in zip(whole, *halves, strict=True):
        assert sorted(batch) == sorted(left + right)


def test_signed_distance_is_scipys():
    mask = np.zeros((40, 40), np.uint8)
    mask[10:25, 5:30] = 1
    expected = ndimage.distance_transform_edt(mask == 0) - ndimage.distance_transform_edt(mask)
    assert (
        np.abs(signed_distance(mask) * 40 - expected).max() < 0.08 * np.abs(expected).max()
    )  # OpenCV's 3x3 approximation
    assert (signed_distance(mask * 0) == 1).all()
    assert (signed_distance(mask * 0 + 1) == -1).all()
