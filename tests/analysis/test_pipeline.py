"""One inference path: what is found, at which size, how long each step took, and what is refused."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from cutis.analysis.pipeline import analyze_image, predict_mask
from cutis.analysis.runtime import Segmenter
from cutis.data.synthetic import SyntheticLesion, draw_skin
from cutis.errors import CutisError
from cutis.imaging.read import read_image


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    return 2 * float((found & truth).sum()) / float(found.sum() + truth.sum())


def test_a_drawn_lesion_is_found_where_it_is(toy: Segmenter, drawn: SyntheticLesion) -> None:
    analysis, mask, picture = analyze_image(drawn.image, toy, name="drawn")[:3]
    assert analysis.status == "lesion" and analysis.lesion is not None
    assert mask.shape == drawn.mask.shape and mask.dtype == np.bool_
    assert overlap(mask, drawn.mask) > 0.9
    assert picture is drawn.image
    lesion = analysis.lesion
    rows, columns = np.nonzero(mask)
    assert lesion.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert lesion.area == mask.sum() and lesion.area_share == pytest.approx(mask.mean(), abs=1e-6)
    assert not lesion.touches_frame and lesion.confidence > 0.9
    assert lesion.asymmetry.asymmetric_axes == 0
    corners = np.argwhere(mask)[cv2.convexHull(np.argwhere(mask).astype(np.int32), returnPoints=False)[:, 0]]
    extent = max(np.hypot(*(a - b)) for a in corners for b in corners)
    assert lesion.diameter == pytest.approx(extent + 1, rel=0.02)


def test_the_mask_is_the_one_evaluation_gets(toy: Segmenter, drawn: SyntheticLesion) -> None:
    np.testing.assert_array_equal(predict_mask(drawn.image, toy), analyze_image(drawn.image, toy, name="x").mask)


def test_skin_alone_is_an_answer(toy: Segmenter) -> None:
    skin = draw_skin(np.random.default_rng(1), width=320, height=240, tone=0.0)
    analysis, mask, _ = analyze_image(skin, toy, name="skin")[:3]
    assert analysis.status == "no_lesion" and analysis.lesion is None and analysis.error is None
    assert analysis.quality is not None and not mask.any() and mask.shape == (240, 320)


def test_a_speck_is_no_lesion(toy: Segmenter) -> None:
    picture = np.full((512, 512, 3), 220, np.uint8)
    picture[200:212, 200:212] = 40
    assert analyze_image(picture, toy, name="speck").analysis.status == "no_lesion"


def test_padding_is_never_lesion(toy: Segmenter) -> None:
    """The letterbox's black bars are dark, and dark is lesion to the toy model."""
    picture = np.full((60, 400, 3), 220, np.uint8)
    assert analyze_image(picture, toy, name="wide").analysis.status == "no_lesion"


def test_the_largest_part_without_holes(toy: Segmenter) -> None:
    picture = np.full((256, 256, 3), 220, np.uint8)
    cv2.circle(picture, (100, 128), 70, (60, 40, 30), -1)
    cv2.circle(picture, (100, 128), 12, (220, 220, 220), -1)
    cv2.circle(picture, (230, 30), 16, (60, 40, 30), -1)
    mask = analyze_image(picture, toy, name="two").mask
    assert mask[128, 100] and not mask[30, 230]
    assert cv2.connectedComponents(mask.view(np.uint8))[0] == 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_mask_lies_as_a_person_sees_the_picture(
    toy: Segmenter, drawn: SyntheticLesion, tmp_path: Path, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    Image.fromarray(drawn.image).save(path, quality=95, exif=exif)
    seen = read_image(path)
    analysis, mask, _ = analyze_image(path, toy, name="turned")[:3]
    assert mask.shape == (seen.height, seen.width) == (analysis.height, analysis.width)
    assert overlap(mask, seen.pixels.mean(axis=2) < 140) > 0.85


def test_a_large_photo_is_decoded_smaller_and_its_mask_is_full_size(toy: Segmenter, drawn: SyntheticLesion) -> None:
    large = cv2.resize(drawn.image, (4000, 3000), interpolation=cv2.INTER_CUBIC)
    content = cv2.imencode(".jpg", large[..., ::-1])[1].tobytes()
    analysis, mask, picture = analyze_image(content, toy, name="large", mm_per_pixel=0.002)[:3]
    small = analyze_image(drawn.image, toy, name="small", mm_per_pixel=0.02).analysis.lesion
    assert mask.shape == (3000, 4000) and max(picture.shape) < 2048
    assert overlap(mask[5::10, 5::10], drawn.mask) > 0.9
    lesion = analysis.lesion
    assert lesion and small and lesion.diameter_mm and lesion.area_mm2 and small.diameter_mm and small.area_mm2
    assert lesion.diameter == pytest.approx(10 * small.diameter, rel=0.03)
    assert lesion.diameter_mm == pytest.approx(small.diameter_mm, rel=0.03)
    assert lesion.area_mm2 == pytest.approx(small.area_mm2, rel=0.03)
    assert lesion.border.irregularity == pytest.approx(small.border.irregularity, rel=0.05)
    assert lesion.border.perimeter == pytest.approx(10 * small.border.perimeter, rel=0.05)


def test_a_scale_in_the_file_gives_millimetres(toy: Segmenter, drawn: SyntheticLesion, tmp_path: Path) -> None:
    path = tmp_path / "scaled.png"
    Image.fromarray(drawn.image).save(path, dpi=(1270, 1270))  # 0.02 mm a pixel
    lesion = analyze_image(path, toy, name="scaled").analysis.lesion
    assert lesion and lesion.diameter_mm == pytest.approx(lesion.diameter * 0.02, rel=0.01)
    told = analyze_image(path, toy, name="scaled", mm_per_pixel=0.5).analysis.lesion
    assert told and told.diameter_mm == pytest.approx(lesion.diameter * 0.5, rel=0.01)
    unknown = analyze_image(drawn.image, toy, name="unknown").analysis.lesion
    assert unknown and unknown.diameter_mm is None and unknown.area_mm2 is None


def test_steps_add_up_to_the_time_it_took(toy: Segmenter, drawn: SyntheticLesion) -> None:
    analyze_image(drawn.image, toy, name="warm", hair_removal=True)
    start = time.perf_counter()
    times = analyze_image(drawn.image, toy, name="x", hair_removal=True).analysis.times_ms
    wall = (time.perf_counter() - start) * 1000
    assert list(times) == ["read", "hair", "prepare", "network", "mask", "measures", "quality"]
    assert sum(times.values()) <= wall
    assert "hair" not in analyze_image(drawn.image, toy, name="x").analysis.times_ms


def test_hair_removal_shortens_no_lesion(toy: Segmenter, drawn: SyntheticLesion) -> None:
    hairy = drawn.image.copy()
    for x in range(20, 400, 45):
        cv2.line(hairy, (x, 0), (x - 60, 299), (30, 20, 20), 2, cv2.LINE_AA)
    analysis, mask, _ = analyze_image(hairy, toy, name="hairy", hair_removal=True)[:3]
    assert analysis.quality and analysis.quality.hair_cover > 0.03
    assert overlap(mask, drawn.mask) > 0.9


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_an_array_that_is_no_picture_is_refused(toy: Segmenter, array: np.ndarray) -> None:
    with pytest.raises(CutisError, match="uint8"):
        analyze_image(array, toy, name="array")


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (700, 1), (3, 5)])
def test_the_smallest_pictures_have_an_answer(toy: Segmenter, shape: tuple[int, int]) -> None:
    analysis, mask, _ = analyze_image(np.zeros((*shape, 3), np.uint8), toy, name="tiny")[:3]
    assert analysis.status == "lesion" and mask.shape == shape and mask.all()
