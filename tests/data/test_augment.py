"""Augmentation moves image and mask together, whatever it draws; and it is decided by its seed alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutis.data.augment import Augmentation, augment

GEOMETRY = Augmentation(
    plain=0.2, rotation_degrees=180, zoom=(0.7, 1.5), aspect=0.3, shift=0.1, brightness=0, contrast=0, gamma=0, tint=0,
    saturation=0, blur=0, hair=0,
)  # fmt: skip
ALL = GEOMETRY.model_copy(
    update={"brightness": 0.2, "contrast": 0.2, "gamma": 0.3, "tint": 0.1, "saturation": 0.4, "blur": 1.0, "hair": 1.0}
)


def drawn() -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((96, 96), np.uint8)
    mask[30:60, 20:70] = 1
    mask[60:75, 20:35] = 1
    return np.where(mask[..., None], 40, 200).astype(np.uint8).repeat(3, 2), mask


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**40), size=st.sampled_from([48, 96, 128]))
def test_image_and_mask_move_together(seed, size):
    image, mask = drawn()
    out = augment(image, mask, size, GEOMETRY, np.random.default_rng(seed))
    assert out.image.shape == (size, size, 3)
    assert set(np.unique(out.mask)) <= {0, 1}
    dark = (out.image[..., 0] > 20) & (out.image[..., 0] < 60)  # lesion pixels; padding is black, skin bright
    light = out.image[..., 0] > 180
    assert not (dark & (out.mask == 0)).sum() > 0.02 * size**2
    assert not (light & (out.mask == 1)).any()


def test_same_seed_same_picture_other_seed_other_picture():
    image, mask = drawn()
    one, two, three = (augment(image, mask, 64, ALL, np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.image, two.image)
    assert (one.image != three.image).any()


def test_nothing_switched_on_only_mirrors():
    image, mask = drawn()
    how = GEOMETRY.model_copy(update={"plain": 1.0})
    mirrored = [mask, mask[::-1], mask[:, ::-1], mask[::-1, ::-1]]
    seen = set()
    for seed in range(30):
        out = augment(image, mask, 96, how, np.random.default_rng(seed)).mask
        matches = [i for i, m in enumerate(mirrored) if np.array_equal(m, out)]
        assert matches
        seen.update(matches)
    assert seen == {0, 1, 2, 3}


def test_colour_leaves_the_mask_alone():
    image, mask = drawn()
    still = ALL.model_copy(update={"rotation_degrees": 0, "zoom": (1.0, 1.0), "aspect": 0, "shift": 0, "plain": 0})
    out = augment(image, mask, 96, still, np.random.default_rng(1))
    assert out.mask.sum() == mask.sum()
    assert np.abs(out.image.astype(int).mean() - image.mean()) > 0.5
    with pytest.raises(ValueError, match="less than or equal to 1"):
        Augmentation.model_validate({**ALL.model_dump(), "hair": 1.5})
