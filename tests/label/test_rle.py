"""Run lengths: the examples of COCO's own documentation, a decoder written pixel by pixel, another implementation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cutis.label.rle import run_lengths

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.booleans())


def decoded(counts: list[int], height: int, width: int) -> np.ndarray:
    """By the words of COCO's documentation: column by column, runs of zeros and ones in turns."""
    mask, place, inside = np.zeros((height, width), bool), 0, False
    for count in counts:
        for pixel in range(place, place + count):
            mask[pixel % height, pixel // height] = inside
        place, inside = place + count, not inside
    assert place == height * width
    return mask


@pytest.mark.parametrize(("column", "counts"), [([0, 0, 1, 1, 1, 0, 1], [2, 3, 1, 1]), ([1] * 6 + [0], [0, 6, 1])])
def test_the_examples_of_cocos_documentation(column, counts):
    assert run_lengths(np.array(column, bool)[:, None]) == counts


@given(MASKS)
def test_what_is_decoded_is_the_mask(mask):
    counts = run_lengths(mask)
    assert (decoded(counts, *mask.shape) == mask).all()
    assert all(isinstance(count, int) for count in counts)
    assert 0 not in counts[1:]


def test_another_implementation_says_the_same():
    sam = pytest.importorskip("transformers.models.sam.image_processing_pil_sam")
    import torch

    mask = np.random.default_rng(0).random((13, 7)) > 0.6
    (theirs,) = sam._mask_to_rle(torch.from_numpy(mask)[None])
    assert theirs["counts"] == run_lengths(mask)
