"""Hair removal on hair whose truth is known; inpainting against Telea and its own properties."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cutis.data.synthetic import add_hairs, draw_lesion
from cutis.imaging.hair import hair_mask, remove_hair
from cutis.imaging.inpaint import inpaint


def skin(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Skin with grain, a round lesion, and round dark dots in it."""
    random = np.random.default_rng(seed)
    rgb = np.full((height, width, 3), (205, 160, 140), np.uint8)
    unit = width / 1000
    centre = (width // 2, height // 2)
    cv2.circle(rgb, centre, round(180 * unit), (130, 85, 65), cv2.FILLED)
    for _ in range(20):
        dot = (np.array(centre) + random.uniform(-110, 110, 2) * unit).astype(int)
        cv2.circle(rgb, tuple(dot.tolist()), max(1, round(6 * unit)), (85, 55, 45), cv2.FILLED)
    rgb = cv2.GaussianBlur(rgb, (0, 0), max(0.5, 4 * unit))
    return np.clip(rgb + random.normal(0, 2, rgb.shape), 0, 255).astype(np.uint8)


def hairy(rgb: np.ndarray, count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Curved dark strands drawn over a picture, and the (H, W) bool truth of where they are."""
    random = np.random.default_rng(seed)
    height, width = rgb.shape[:2]
    finer = 4 if width <= 512 else 2  # drawn larger, so that widths are exact
    drawn = np.zeros((finer * height, finer * width), np.uint8)
    steps = np.linspace(-0.5, 0.5, 30)[:, None]
    for _ in range(count):
        angle, length = random.uniform(0, np.pi), random.uniform(0.3, 0.8) * width
        along = np.array([np.cos(angle), np.sin(angle)])
        bend = np.array([-along[1], along[0]]) * random.normal(0, 0.1) * length
        path = random.uniform((0, 0), (width, height)) + along * steps * length + bend * steps**2 * 4
        thickness = max(finer, round(finer * random.uniform(2.5, 7) * width / 1000))
        cv2.polylines(drawn, [(finer * path).round().astype(np.int32)], False, 255, thickness)
    opacity = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA)[..., None] / 255
    image = rgb * (1 - opacity) + np.array([45, 32, 26]) * opacity
    return image.round().astype(np.uint8), opacity[..., 0] > 0.5


def psnr(image: np.ndarray, truth: np.ndarray, where: np.ndarray | None = None) -> float:
    squares = (image.astype(float) - truth) ** 2
    return float(10 * np.log10(255**2 / (squares if where is None else squares[where]).mean()))


@pytest.mark.parametrize("width", [256, 512, 1024, 1600])
def test_hair_is_found_and_the_lesion_is_left_at_every_scale(width):
    clean = skin(width, width * 3 // 4)
    image, truth = hairy(clean, 25)
    mask = hair_mask(image)
    assert mask.dtype == bool and mask.shape == truth.shape
    assert mask[truth].mean() > 0.9
    assert hair_mask(clean).mean() < 0.01
    near = cv2.dilate(truth.view(np.uint8), np.ones((2 * round(14 * width / 1000) + 1,) * 2, np.uint8)).view(bool)
    assert mask[~near].mean() < 0.01


@pytest.mark.parametrize("end", [(0, 60), (511, 200), (250, 0), (100, 383)])
def test_a_short_piece_is_hair_where_it_leaves_the_picture(end):
    skin = np.full((384, 512, 3), (205, 160, 140), np.uint8)
    inward = np.sign(np.array([256, 192]) - end) * 20
    across = (np.array(end) + inward * ((end[0] in (0, 511)), (end[1] in (0, 383)))).tolist()
    leaving = cv2.line(skin.copy(), end, across, (40, 30, 25), 2)
    assert hair_mask(leaving)[min(end[1], 382), min(end[0], 510)]
    within = cv2.line(skin.copy(), (200, 200), (200, 220), (40, 30, 25), 2)
    assert not hair_mask(within).any()


@pytest.mark.parametrize("width", [256, 512, 1024])
def test_what_was_under_the_hair_comes_back(width):
    clean = skin(width, width * 3 // 4)
    image, truth = hairy(clean, 25)
    free = remove_hair(image)
    assert psnr(free.image, clean, truth) > psnr(image, clean, truth) + 10
    assert psnr(free.image, clean) > 30
    np.testing.assert_array_equal(free.mask, hair_mask(image))
    np.testing.assert_array_equal(free.image[~free.mask], image[~free.mask])


def test_a_turned_image_has_its_hair_in_the_same_places():
    image, _ = hairy(skin(512, 384), 25)
    turned = np.rot90(hair_mask(np.ascontiguousarray(np.rot90(image))), -1)
    different = (turned != hair_mask(image)).sum()
    assert different < 0.03 * turned.sum()


def test_pictures_without_hair_are_returned_as_they_are():
    clean = skin(512, 384)
    free = remove_hair(cv2.GaussianBlur(clean, (0, 0), 3))
    assert not free.mask.any()
    np.testing.assert_array_equal(free.image, cv2.GaussianBlur(clean, (0, 0), 3))


def test_the_pyramid_is_at_least_as_good_as_telea():
    clean = skin(768, 576)
    image, truth = hairy(clean, 40)
    pyramid, telea = remove_hair(image), remove_hair(image, inpainting="telea")
    np.testing.assert_array_equal(pyramid.mask, telea.mask)
    assert psnr(pyramid.image, clean, truth) >= psnr(telea.image, clean, truth)


@pytest.mark.data
def test_the_pyramid_is_at_least_as_good_as_telea_on_photos(data_root):
    photos = sorted(data_root.glob("isic2018_task1/*_Input/*.jpg"))[:200:40]
    assert len(photos) == 5
    gains = []
    for seed, path in enumerate(photos):
        clean = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        image, truth = hairy(clean, 30, seed)
        pyramid, telea = remove_hair(image), remove_hair(image, inpainting="telea")
        gains.append(psnr(pyramid.image, clean, truth) - psnr(telea.image, clean, truth))
    assert np.mean(gains) > 0


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
def test_any_size_is_taken(height, width, seed):
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    free = remove_hair(rgb)
    assert free.image.shape == rgb.shape and free.image.dtype == np.uint8
    np.testing.assert_array_equal(free.image[~free.mask], rgb[~free.mask])


@settings(max_examples=100, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))), st.integers(1, 4), st.integers(0, 255))
def test_a_flat_colour_is_restored_under_any_mask(mask, shrink, grey):
    flat = np.full((*mask.shape, 3), grey, np.uint8)
    spoiled = flat.copy()
    spoiled[mask] = 255 - grey
    if mask.all():
        np.testing.assert_array_equal(inpaint(spoiled, mask, shrink=shrink), spoiled)
    else:  # shrinking rounds to 8 bits a mean that a quarter of known pixels scales up by four
        error = np.abs(inpaint(spoiled, mask, shrink=shrink).astype(int) - flat).max()
        assert error <= (1 if shrink == 1 else 5)


def test_a_ramp_is_continued_through_a_gap():
    ramp = np.repeat(np.repeat(np.arange(0, 256, 2, dtype=np.uint8)[None, :, None], 64, 0), 3, 2)
    mask = np.zeros((64, 128), bool)
    mask[:, 60:66] = True
    holed = np.where(mask[..., None], 0, ramp).astype(np.uint8)
    assert np.abs(inpaint(holed, mask).astype(int) - ramp).max() <= 8


def test_a_large_picture_is_filled_from_its_reduced_one():
    """44.6 dB from what lay beneath; 42.7 where the fill is made eight times as coarse."""
    drawn = draw_lesion(np.random.default_rng(0), width=1024, height=768, symmetry=1, hairs=0).image
    hairy = add_hairs(np.random.default_rng(0), drawn, 40)[0]
    error = remove_hair(hairy).image.astype(float) - drawn
    assert 10 * np.log10(255**2 / (error**2).mean()) > 44
