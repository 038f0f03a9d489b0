"""Outline distances: by hand, by brute force, against MONAI on random blobs, and as laws."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from numpy.testing import assert_allclose

from cutis.imaging.frame import Frame
from cutis.metrics.segmentation import FRAME, MEASURES, in_frame, measure
from cutis.metrics.surface import hd95, outline, surface_dice, surface_distances


@st.composite
def pairs(draw):
    """Two bool masks of one small shape, each with at least one lesion pixel."""
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    mask = nps.arrays(np.bool_, shape).filter(np.any)
    return draw(mask), draw(mask)


def blobs(rng, shape, roughness):
    """A random smooth mask: noise, blurred, cut."""
    noise = cv2.GaussianBlur(rng.standard_normal(shape), (0, 0), roughness)
    return noise > rng.uniform(0, 1.2) * noise.std()


def brute_force(pred, truth):
    """(P,), (T,) distances between outlines found by their definition, all pairs."""
    lines = []
    for mask in (pred, truth):
        padded = np.pad(mask, 1)
        enclosed = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        lines.append(np.argwhere(mask & ~enclosed))
    every = np.linalg.norm(lines[0][:, None] - lines[1][None], axis=2)
    return every.min(1), every.min(0)


@settings(max_examples=200)
@given(pairs(), st.floats(0, 5))
def test_against_brute_force(pair, tolerance):
    there, back = brute_force(*pair)
    distances = surface_distances(*pair)
    assert_allclose(np.sort(distances.pred_to_truth), np.sort(there), rtol=1e-12)
    assert_allclose(np.sort(distances.truth_to_pred), np.sort(back), rtol=1e-12)
    assert_allclose(hd95(*pair, spacing=1), max(np.percentile(there, 95), np.percentile(back, 95)))
    near = (there <= tolerance).sum() + (back <= tolerance).sum()
    assert surface_dice(*pair, tolerance=tolerance) == near / (len(there) + len(back))


def test_against_monai_on_random_blobs():
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    rng = np.random.default_rng(11)
    compared = 0
    for _ in range(60):
        shape, roughness = tuple(rng.integers(8, 120, 2)), rng.uniform(1, 9)
        pred, truth = blobs(rng, shape, roughness), blobs(rng, shape, roughness)
        if not pred.any() or not truth.any():
            continue
        tensors = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (pred, truth)]
        options = {"include_background": True}
        theirs = compute_hausdorff_distance(*tensors, percentile=95, spacing=0.5, **options).item()
        assert_allclose(hd95(pred, truth, spacing=0.5), theirs, rtol=1e-6)
        for tolerance in (0.0, 1.0, 2.0, 5.0):
            theirs = compute_surface_dice(*tensors, class_thresholds=[tolerance], **options).item()
            assert_allclose(surface_dice(pred, truth, tolerance=tolerance), theirs, rtol=1e-6)
        compared += 1
    assert compared >= 50


def test_maximum_distance_against_scikit_image():
    from skimage.metrics import hausdorff_distance

    rng = np.random.default_rng(5)
    for _ in range(20):
        pred, truth = blobs(rng, (60, 90), 6), blobs(rng, (60, 90), 6)
        distances = surface_distances(pred, truth)
        largest = max(distances.pred_to_truth.max(), distances.truth_to_pred.max())
        assert_allclose(largest, hausdorff_distance(outline(pred), outline(truth)))


def test_two_squares_by_hand():
    # 11x11 squares moved by 4 columns: outlines of 40 pixels. Each way 22 pixels of the rows: 14 lie on the other's
    # rows (distance 0), 8 stick out by 1..4; the far column sticks out by 4, the near one lies inside.
    pred, truth = np.zeros((30, 30), bool), np.zeros((30, 30), bool)
    pred[5:16, 5:16], truth[5:16, 9:20] = True, True
    distances = surface_distances(pred, truth)
    assert len(distances.pred_to_truth) == len(distances.truth_to_pred) == 40
    assert distances.pred_to_truth.max() == 4
    assert hd95(pred, truth, spacing=1) == 4
    assert hd95(pred, truth, spacing=0.25) == 1


def test_the_larger_direction_counts():
    # A single pixel against a long line that starts there: 0 one way, the line's length the other.
    pred, truth = np.zeros((3, 101), bool), np.zeros((3, 101), bool)
    pred[1, 0], truth[1] = True, True
    assert hd95(pred, truth, spacing=1) == hd95(truth, pred, spacing=1) == 95
    assert surface_dice(pred, truth, tolerance=2) == (1 + 3) / 102


def test_empty_masks_follow_the_written_rule():
    empty, some = np.zeros((30, 40), bool), np.zeros((30, 40), bool)
    some[3:9, 4:11] = True
    assert hd95(empty, empty, spacing=1) == 0
    assert hd95(some, empty, spacing=1) == hd95(empty, some, spacing=1) == 50
    assert hd95(some, empty, spacing=0.1) == pytest.approx(5)
    assert surface_dice(empty, empty, tolerance=2) == 1
    assert surface_dice(some, empty, tolerance=100) == surface_dice(empty, some, tolerance=100) == 0


@given(pairs(), st.floats(0.1, 10), st.floats(0, 5), st.integers(0, 3), st.integers(0, 3))
def test_laws(pair, spacing, tolerance, above, left):
    pred, truth = pair
    assert hd95(pred, pred, spacing=spacing) == 0
    assert surface_dice(pred, pred, tolerance=0) == 1
    assert hd95(pred, truth, spacing=spacing) == hd95(truth, pred, spacing=spacing)
    assert hd95(pred, truth, spacing=spacing) <= np.hypot(*pred.shape) * spacing
    assert_allclose(hd95(pred, truth, spacing=spacing), spacing * hd95(pred, truth, spacing=1))
    share = surface_dice(pred, truth, tolerance=tolerance)
    assert 0 <= share <= surface_dice(pred, truth, tolerance=tolerance + 1) <= 1
    moved = [np.pad(mask, ((above, 1), (left, 2))) for mask in pair]  # more background changes nothing
    assert_allclose(hd95(*moved, spacing=1), hd95(pred, truth, spacing=1))
    turned = [np.rot90(mask) for mask in pair]
    assert_allclose(hd95(*turned, spacing=1), hd95(pred, truth, spacing=1))


def test_refuses():
    with pytest.raises(ValueError, match="bool arrays of one shape"):
        hd95(np.zeros((3, 3), bool), np.zeros((3, 4), bool), spacing=1)
    with pytest.raises(ValueError, match="bool arrays of one shape"):
        hd95(np.zeros((3, 3), np.uint8), np.zeros((3, 3), np.uint8), spacing=1)


@pytest.mark.parametrize("shape", [(150, 200), (256, 256), (560, 768), (1, 900)])
def test_measure_uses_the_frame_of_256_pixels(shape):
    rng = np.random.default_rng(2)
    pred, truth = rng.random((2, *shape)) < 0.5
    pred[: shape[0] // 2], truth[: shape[0] // 2] = True, True
    values = measure(pred, truth)
    assert tuple(values) == MEASURES
    assert values["hd95_256"] == hd95(in_frame(pred), in_frame(truth), spacing=1)
    assert values["surface_dice_256"] == surface_dice(in_frame(pred), in_frame(truth), tolerance=2)
    frame = Frame.fit(width=shape[1], height=shape[0], size=FRAME)
    assert in_frame(np.ones(shape, bool)).sum() == frame.inner_width * frame.inner_height


def test_hd95_does_not_depend_on_the_resolution():
    small = np.zeros((256, 256), bool)
    small[64:128, 64:192] = True
    moved = np.roll(small, 8, axis=0)
    large, large_moved = (np.kron(mask, np.ones((4, 4), bool)).astype(bool) for mask in (small, moved))
    assert measure(moved, small) == pytest.approx(measure(large_moved, large))
    assert measure(moved, small)["hd95_256"] == 8


def test_measure_of_one_empty_mask_is_the_frame_diagonal():
    lesion, empty = np.zeros((60, 80), bool), np.zeros((60, 80), bool)
    lesion[20:40, 20:50] = True
    missed = measure(empty, lesion)
    assert missed["hd95_256"] == pytest.approx(256 * 2**0.5)
    assert missed["dice"] == missed["surface_dice_256"] == missed["sensitivity"] == 0
    assert measure(empty, empty)["hd95_256"] == 0
    assert measure(empty, empty)["dice"] == 1
