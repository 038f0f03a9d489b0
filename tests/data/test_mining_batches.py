"""Batches of labelled and unlabelled images: who is drawn, and that no hidden label reaches a mask."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

sys.path.insert(0, str(Path(__file__).parents[1] / "mining"))
from mining_toy import STEPS, drawn  # noqa: E402

from cutis.data.augment import warped  # noqa: E402
from cutis.data.batches import Key, SegmentationSet  # noqa: E402
from cutis.data.mining_batches import MiningSet, Part, PartSampler  # noqa: E402
from cutis.data.turns import Turns  # noqa: E402

TURNS = Turns(horizontal=0.5, vertical=0.5, transpose=0.5, rotation=0.5, rotation_degrees=90)
LABELLED = np.array([True, False, True, False, False])


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("drawn"), 5)


class Everything:
    """Pseudo-labels that cover all of the square; embeddings that hold their place."""

    embedding = np.arange(5, dtype=np.float16).reshape(5, 1, 1, 1)

    def square(self, where):
        return np.ones((32, 32), np.uint8)


def batch_of(cache, **kinds):
    data = MiningSet(SegmentationSet(cache, STEPS, TURNS), LABELLED, **kinds)
    return data.collate([data[Key(where, 32, 10 + where)] for where in (0, 2, 1, 3)])


def test_no_hidden_label_reaches_a_mask(cache):
    batch = batch_of(cache, embeddings=Everything())
    assert batch.labelled == 2 and batch.where.tolist() == [0, 2, 1, 3]
    assert batch.mask[:2].flatten(1).any(1).all() and not batch.mask[2:].any()
    assert batch.truth.flatten(1).any(1).all() and batch.known.tolist() == [True, True]
    assert batch.used.tolist() == [False, False] and batch.embedding.flatten().tolist() == [1, 3]
    truth = [warped(np.asarray(cache.masks[w]), m.numpy(), 32) for w, m in zip((1, 3), batch.matrix, strict=True)]
    assert np.array_equal(batch.truth[:, 0].numpy(), np.stack(truth))


def test_one_time_labels_are_moved_with_their_picture_and_may_be_refused(cache):
    batch = batch_of(cache, masks=Everything(), used=np.array([True, True, True, False, True]))
    assert batch.embedding is None and batch.used.tolist() == [True, False]
    moved = [warped(np.ones((32, 32), np.uint8), matrix.numpy(), 32) for matrix in batch.matrix]
    assert np.array_equal(batch.mask[2:, 0].numpy(), np.stack(moved))
    plain = SegmentationSet(cache, STEPS, TURNS)
    assert np.array_equal(batch.mask[0, 0].numpy(), plain[Key(0, 32, 10)][1])  # a labelled one as ever


def test_each_part_is_drawn_by_its_share_and_nothing_else():
    parts = [Part(np.array([8, 3]), np.array([3.0, 1.0]), 2), Part(np.array([1, 5, 9]), np.ones(3), 3)]
    sampler = PartSampler(parts, steps=40, seed=3, size=32)
    batches = [[key.where for key in keys] for keys in sampler]
    assert len(sampler) == len(batches) == 40 and sampler.batch_size == 5
    first = [where for keys in batches for where in keys[:2]]
    rest = [where for keys in batches for where in keys[2:]]
    assert (first.count(8), first.count(3)) == (60, 20) and all(rest.count(where) == 40 for where in (1, 5, 9))
    again = [[key.where for key in keys] for keys in PartSampler(parts, steps=40, seed=3, size=32)]
    sampler.epoch = lambda: 1
    other = [[key.where for key in keys] for keys in sampler]
    assert again == batches != other
