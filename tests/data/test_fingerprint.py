"""Fingerprints: a copy is found under any size or compression, another picture is not taken for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cutis.data.fingerprint import MAX_BITS, Fingerprint, _proposals, duplicates, fingerprint
from cutis.data.synthetic import draw_lesion

Pixels = NDArray[np.uint8]


@cache
def lesion(seed: int) -> Pixels:
    return draw_lesion(np.random.default_rng(seed), width=240, height=180, symmetry=0, hairs=seed % 2 * 8).image


def saved_as_jpeg(pixels: Pixels) -> Pixels:
    return cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR)  # type: ignore[return-value]


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "smaller": lambda pixels: cv2.resize(pixels, (100, 75), interpolation=cv2.INTER_AREA),
    "larger": lambda pixels: cv2.resize(pixels, (600, 450), interpolation=cv2.INTER_CUBIC),
    "squashed": lambda pixels: cv2.resize(pixels, (128, 128), interpolation=cv2.INTER_AREA),
    "jpeg": saved_as_jpeg,
    "brighter": lambda pixels: np.clip(pixels * 1.1, 0, 255).astype(np.uint8),
}  # type: ignore[dict-item]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_among_others(change: str) -> None:
    others = [fingerprint(lesion(seed)) for seed in range(30)]
    copies = [fingerprint(CHANGES[change](lesion(seed))) for seed in (3, 4)]
    assert duplicates([*others, *copies]) == [(3, 30), (4, 31)]


def test_crops_and_mirror_images_are_other_pictures() -> None:
    pixels = lesion(1)
    assert duplicates([fingerprint(view) for view in (pixels, pixels[:, ::-1], pixels[40:140, 60:200])]) == []


def test_flat_pictures_resemble_nothing() -> None:
    flat = [fingerprint(np.full((40, 60, 3), value, np.uint8)) for value in (0, 0, 128, 255)]
    assert duplicates(flat) == [] == duplicates([])


def test_many_copies_make_one_group_quickly() -> None:
    one, other = fingerprint(lesion(1)), fingerprint(lesion(2))
    assert duplicates([other] + [one] * 5000) == [tuple(range(1, 5001))]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 2**63 - 1), max_size=12), st.lists(st.integers(0, 62), max_size=MAX_BITS), st.data())
def test_buckets_miss_no_pair(hashes: list[int], flips: list[int], data: st.DataObject) -> None:
    """Against the plain comparison of all with all."""
    for value in data.draw(st.lists(st.sampled_from(hashes), max_size=6)) if hashes else []:
        hashes = [*hashes, value ^ sum({1 << flip for flip in flips})]
    bits = np.array(hashes, np.uint64)
    proposed = {frozenset(map(int, pair)) for one, other in _proposals(bits) for pair in zip(one, other, strict=True)}
    first = {value: index for index, value in reversed(list(enumerate(hashes)))}
    for value, index in first.items():
        for apart, other in first.items():
            if index < other and bin(value ^ apart).count("1") <= MAX_BITS:
                assert frozenset((index, other)) in proposed
    assert all(frozenset((index, first[value])) in proposed for index, value in enumerate(hashes))


def test_correlation_decides() -> None:
    """Equal hashes alone do not make two pictures one."""
    print_ = fingerprint(lesion(1))
    other = Fingerprint(print_.bits, fingerprint(lesion(2)).thumbnail)
    assert duplicates([print_, other]) == []
