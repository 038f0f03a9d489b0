"""Prompts: the most probable points, the outer box, separate objects, nothing where nothing is found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

torch = pytest.importorskip("torch")

from skimage.measure import label, regionprops  # noqa: E402

from cutis.mining.prompts import NOTHING, objects_in, points_in, prompts_from  # noqa: E402
from cutis.mining.settings import PromptSettings  # noqa: E402
from cutis.teachers.promptable import checked_prompts  # noqa: E402

ALL = PromptSettings(points=5, box=True, mask=True, objects="one")


def rngs(count, seed=0):
    return [np.random.default_rng((seed, index)) for index in range(count)]


def with_pixels(*pixels, side=16, value=2.0):
    logits = torch.full((1, 1, side, side), -2.0)
    for row, column in pixels:
        logits[0, 0, row, column] = value
    return logits


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.sampled_from([8, 16, 24, 64]))
def test_points_are_the_most_probable_pixels_and_the_box_holds_all_that_is_found(seed, points, side):
    logits = torch.from_numpy(np.random.default_rng(seed).normal(-0.5, 1, (2, 1, 16, 12)).astype(np.float32))
    how = ALL.model_copy(update={"points": points})
    asked = prompts_from(logits, side, how, rngs(2))
    checked_prompts(asked.prompts, side)  # inside the square, whatever its side
    scale = torch.tensor([side / 12, side / 16])
    for row, image in enumerate(asked.image.tolist()):
        found = logits[image, 0]
        best = found.flatten().sort(descending=True).values[:points]
        own = asked.prompts.points[row][asked.prompts.labels[row] == 1]
        x, y = ((own + 0.5) / scale - 0.5).round().long().unbind(1)
        torch.testing.assert_close(found[y, x].sort(descending=True).values, best[best > 0])
        whole = regionprops((found > 0).numpy().astype(int))[0].bbox  # rows and columns, ends excluded
        if side >= 16:  # pixels of the square at least as fine: exactly the outer edges of the pixels
            low, high = asked.prompts.boxes[row].view(2, 2)
            torch.testing.assert_close(low, torch.tensor([whole[1], whole[0]]) * scale)
            torch.testing.assert_close(high, torch.tensor([whole[3], whole[2]]) * scale - 1)
    torch.testing.assert_close(asked.prompts.masks, logits[asked.image])


def test_ties_are_drawn_at_random_from_the_seed_and_from_all_that_tie():
    probability = torch.zeros(6, 6)
    probability[1, 1], probability[2:4, 2:5] = 0.99, 0.8
    tied = {(r, c) for r in (2, 3) for c in (2, 3, 4)}
    seen = set()
    for seed in range(40):
        points = [tuple(p) for p in points_in(probability, 3, np.random.default_rng(seed)).tolist()]
        assert points == [tuple(p) for p in points_in(probability, 3, np.random.default_rng(seed)).tolist()]
        assert points[0] == (1, 1) and len(set(points)) == 3 and set(points[1:]) <= tied
        seen |= set(points[1:])
    assert seen == tied


def test_no_point_lies_below_a_half_and_missing_ones_are_padding():
    asked = prompts_from(with_pixels((3, 4), (3, 5)), 16, ALL, rngs(1))
    assert asked.prompts.labels.tolist() == [[1, 1, -1, -1, -1]]
    assert {tuple(p) for p in asked.prompts.points[0, :2].tolist()} == {(4.0, 3.0), (5.0, 3.0)}


def test_an_empty_prediction_gives_no_prompt():
    both = torch.cat([with_pixels(), with_pixels((1, 1))])
    assert prompts_from(both, 16, ALL, rngs(2)).image.tolist() == [1]
    assert prompts_from(with_pixels(), 16, ALL, rngs(1)) is None
    each = ALL.model_copy(update={"objects": "each"})
    assert prompts_from(with_pixels(), 16, each, rngs(1)) is None


def test_each_of_several_objects_is_asked_about_alone_and_specks_are_not():
    rng = np.random.default_rng(5)
    logits = torch.full((2, 1, 64, 64), -2.0)
    logits[0, 0, 5:15, 5:20] = torch.from_numpy(rng.uniform(1, 3, (10, 15)).astype(np.float32))
    logits[0, 0, 40:60, 30:60] = 1.0
    logits[0, 0, 63, 0] = 5.0  # one pixel of 4096
    logits[1, 0, 0, 0] = 5.0  # a speck, but all there is
    rows, image = objects_in(logits, "each")
    assert image.tolist() == [0, 0, 1]
    regions = sorted(regionprops(label((logits[0, 0] > 0).numpy(), connectivity=2)), key=lambda r: -r.area)[:2]
    asked = prompts_from(logits, 64, ALL.model_copy(update={"objects": "each"}), rngs(2))
    for row, region in enumerate(regions):
        inside = rows[row, 0] > 0
        assert inside.sum() == region.area
        assert (rows[row, 0][~inside & (logits[0, 0] > 0)] == NOTHING).all()
        top, left, bottom, right = region.bbox
        assert asked.prompts.boxes[row].tolist() == [left, top, right - 1, bottom - 1]
        x, y = asked.prompts.points[row].long().unbind(1)
        assert inside[y, x].all()


@pytest.mark.parametrize("which", ["points", "box", "mask"])
def test_each_prompt_can_be_asked_alone(which):
    how = PromptSettings(points=2 * (which == "points"), box=which == "box", mask=which == "mask", objects="one")
    prompts = prompts_from(with_pixels((3, 4), (3, 5)), 16, how, rngs(1)).prompts
    assert (prompts.points.shape[1] > 0, prompts.boxes is not None, prompts.masks is not None) == (
        which == "points", which == "box", which == "mask",
    )  # fmt: skip


def test_asking_nothing_is_refused():
    with pytest.raises(ValidationError, match="at least one is needed"):
        PromptSettings(points=0, box=False, mask=False, objects="one")
