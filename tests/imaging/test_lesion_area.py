"""Masking strategies: what stays, to the pixel; the same for a photo and for the square that a classifier sees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutis.errors import CutisError
from cutis.imaging.frame import letterbox
from cutis.imaging.lesion_area import lesion_box, mask_area, prepare_classifier_image
from cutis.imaging.preprocessing import Preprocessing

STEPS = Preprocessing(size=64, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(1, 256, (height, width, 3), np.uint8)


def block(height, width, rows, columns):
    mask = np.zeros((height, width), bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def test_segmentation_keeps_the_masks_pixels_alone():
    image, mask = noise(20, 30), np.random.default_rng(1).random((20, 30)) > 0.6
    kept = mask_area(image, mask, "segmentation")
    assert (kept[mask] == image[mask]).all() and (kept[~mask] == 0).all()


def test_lae_keeps_the_box_dilated_by_1_4():
    image = noise(100, 200)
    kept = mask_area(image, block(100, 200, (40, 60), (50, 150)), "lae")  # 20 x 100 becomes 28 x 140
    expected = np.zeros_like(image)
    expected[36:64, 30:170] = image[36:64, 30:170]
    assert np.array_equal(kept, expected)


def test_lae_is_clipped_at_the_border():
    assert lesion_box(block(50, 50, (0, 20), (40, 50)), 1.4) == (0, 24, 38, 50)


def test_none_changes_nothing_even_without_a_lesion():
    image = noise(5, 6)
    assert np.array_equal(mask_area(image, np.zeros((5, 6), bool), "none"), image)


@pytest.mark.parametrize("strategy", ["segmentation", "lae"])
def test_no_lesion_is_said_and_a_wrong_size_refused(strategy):
    with pytest.raises(CutisError, match="the mask is empty"):
        mask_area(noise(5, 6), np.zeros((5, 6), bool), strategy)
    with pytest.raises(ValueError, match=r"the image is \(5, 6\), its mask \(6, 5\)"):
        mask_area(noise(5, 6), np.ones((6, 5), bool), strategy)


@settings(max_examples=50)
@given(data=st.data())
def test_the_box_holds_the_mask_and_lies_in_the_image(data):
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    points = data.draw(st.lists(st.tuples(st.integers(0, height - 1), st.integers(0, width - 1)), min_size=1))
    mask = np.zeros((height, width), bool)
    mask[tuple(np.transpose(points))] = True
    top, bottom, left, right = lesion_box(mask, 1.4)
    assert 0 <= top < bottom <= height and 0 <= left < right <= width
    assert mask[top:bottom, left:right].sum() == mask.sum()


def test_a_classifiers_image_is_the_letterboxed_picture_masked():
    picture, mask = noise(60, 90, seed=2), block(60, 90, (15, 45), (30, 60))
    square, _ = letterbox(picture, 64)
    small = letterbox(mask.astype(np.uint8) * 255, 64)[0] >= 128
    for masking in ("none", "segmentation", "lae"):
        found = prepare_classifier_image(picture, mask, STEPS, masking)
        assert found.dtype == np.uint8 and np.array_equal(found, mask_area(square, small, masking))
    assert np.array_equal(prepare_classifier_image(picture, None, STEPS, "none"), square)


def test_colour_steps_see_the_whole_picture_and_what_is_outside_stays_black():
    picture, mask = noise(64, 64, seed=3), block(64, 64, (20, 40), (20, 40))
    steps = STEPS.model_copy(update={"clahe": True, "log_fusion": True})
    found = prepare_classifier_image(picture, mask, steps, "segmentation")
    assert (found[~mask] == 0).all()
    assert np.array_equal(found[mask], steps.apply(picture).square[mask])


def test_a_mask_is_asked_for_at_its_pictures_size():
    with pytest.raises(ValueError, match="its mask None"):
        prepare_classifier_image(noise(8, 8), None, STEPS, "lae")
    with pytest.raises(ValueError, match=r"its mask \(64, 64\)"):
        prepare_classifier_image(noise(8, 8), np.ones((64, 64), bool), STEPS, "lae")
