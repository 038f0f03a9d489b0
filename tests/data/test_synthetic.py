"""Drawn lesions: the truth they claim is the truth in the pixels."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cutis.data.synthetic import SyntheticLesion, draw_lesion, draw_skin, write_folder

SEEDS = range(8)


def drawn(seed: int, symmetry: int, **options) -> SyntheticLesion:
    return draw_lesion(np.random.default_rng(seed), width=160, height=120, symmetry=symmetry, **options)  # type: ignore[arg-type]


def mirrored(lesion: SyntheticLesion, axis: int) -> NDArray[np.bool_]:
    """The mask folded over its first (0) or second (1) axis, by moving pixels, not by the drawing's own formula."""
    angle = 2 * np.deg2rad(lesion.axis_degrees + 90 * axis)
    flip = np.array([[np.cos(angle), np.sin(angle)], [np.sin(angle), -np.cos(angle)]])
    move = np.column_stack([flip, np.array(lesion.centre) - flip @ np.array(lesion.centre)])
    folded = cv2.warpAffine(lesion.mask.astype(np.float32), move, lesion.mask.shape[::-1], flags=cv2.INTER_LINEAR)
    return folded >= 0.5


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("seed", SEEDS)
def test_symmetry_is_what_the_mask_shows(seed: int) -> None:
    for symmetry in (0, 1, 2):
        lesion = drawn(seed, symmetry)
        folds = [overlap(lesion.mask, mirrored(lesion, axis)) for axis in (0, 1)]
        assert [fold > 0.97 for fold in folds] == [symmetry >= 1, symmetry == 2]
        assert all(fold < 0.92 for fold in folds[symmetry:])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_mask_is_the_dark_spot(seed: int) -> None:
    lesion = drawn(seed, symmetry=seed % 3, tone=0.2)
    grey = cv2.GaussianBlur(cv2.cvtColor(lesion.image, cv2.COLOR_RGB2GRAY), (0, 0), 1.5)
    _, dark = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)
    assert overlap(dark.astype(bool), lesion.mask) > 0.8
    parts, _ = cv2.connectedComponents(lesion.mask.astype(np.uint8))
    assert parts == 2 and 0.03 < lesion.mask.mean() < 0.45


@pytest.mark.parametrize("seed", SEEDS)
def test_the_lesion_is_whole_in_the_frame(seed: int) -> None:
    for width, height in ((160, 120), (90, 160), (64, 64)):
        lesion = draw_lesion(np.random.default_rng(seed), width=width, height=height, symmetry=0)
        edge = lesion.mask.copy()
        edge[1:-1, 1:-1] = False
        assert lesion.image.shape == (height, width, 3) and lesion.mask.any() and not edge.any()


def test_hair_changes_the_picture_where_its_mask_says() -> None:
    bald, hairy = drawn(3, symmetry=1), drawn(3, symmetry=1, hairs=10)
    assert not bald.hair_mask.any() and 0.005 < hairy.hair_mask.mean() < 0.3
    assert np.array_equal(bald.mask, hairy.mask)
    skin = hairy.hair_mask & ~hairy.mask
    assert hairy.image[skin].mean() < bald.image[skin].mean() - 40
    far = ~cv2.dilate(hairy.hair_mask.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    assert abs(hairy.image[far].mean() - bald.image[far].mean()) < 1


def test_vignette_and_ruler() -> None:
    plain, round_view, scaled = drawn(5, 2), drawn(5, 2, vignette=True), drawn(5, 2, ruler=True)
    assert round_view.image[0, 0].max() < 30 < plain.image[0, 0].min()
    assert abs(round_view.image[40:80, 60:100].mean() - plain.image[40:80, 60:100].mean()) < 1
    assert (scaled.image[-1].max(axis=1) < 115).sum() == 39 and (plain.image[-1].max(axis=1) < 115).sum() == 0


def test_dark_skin_is_darker_and_bare_skin_is_bare() -> None:
    light, dark = (draw_skin(np.random.default_rng(1), width=64, height=48, tone=tone) for tone in (0.0, 1.0))
    assert light.shape == (48, 64, 3) and light.dtype == np.uint8
    assert light.mean() > dark.mean() + 60
    assert light.std(axis=(0, 1)).max() < 15


def test_one_seed_one_picture() -> None:
    assert np.array_equal(drawn(1, 0, hairs=2).image, drawn(1, 0, hairs=2).image)
    assert not np.array_equal(drawn(1, 0).image, drawn(2, 0).image)


def test_a_folder_of_them(tmp_path: Path) -> None:
    paths = write_folder(tmp_path / "one", 4, seed=0, width=96, height=72)
    again = write_folder(tmp_path / "two", 2, seed=0, width=96, height=72)
    assert [path.read_bytes() for path in paths[:2]] == [path.read_bytes() for path in again]
    mask = cv2.imread(str(tmp_path / "one" / "masks" / "lesion_003.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (72, 96) and set(np.unique(mask)) == {0, 255}
    with (tmp_path / "one" / "labels.csv").open() as stream:
        assert [row["symmetry"] for row in csv.DictReader(stream)] == ["2", "1", "0", "2"]
