"""Labels, balancing and the batches of classifiers: what is refused, and that a map goes where its image goes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from cutis.data.augment import Augmentation, augment
from cutis.data.batches import Key
from cutis.data.cache import open_cache, recoloured
from cutis.data.class_batches import ClassificationSet, Entries, balanced, each_once, follow, turned
from cutis.data.labels import LESION_CLASSES, SYMMETRY_CLASSES, label_indices, refuse_absent
from cutis.data.samples import Sample
from cutis.errors import CutisError
from cutis.imaging.lesion_area import prepare_classifier_image
from cutis.imaging.preprocessing import Preprocessing

GEOMETRY = Augmentation(
    plain=0, rotation_degrees=180, zoom=(0.8, 1.3), aspect=0.2, shift=0.1, brightness=0, contrast=0, gamma=0, tint=0,
    saturation=0, blur=0, hair=0,
)  # fmt: skip
STEPS = Preprocessing(size=64, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def labelled(label, name="a", **rest):
    return Sample(name, Path("a.png"), "toy", label=label, **rest)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ([labelled("melanoma")], "toy a has the class 'melanoma'; the network knows akiec, .*'leave_out'"),
        ([labelled(None)], "toy a has no class: add it"),
        ([labelled("mel"), labelled("nv")], "a is in the classes mel and nv: correct its labels to one"),
    ],
)
def test_a_wrong_class_is_named(samples, said):
    with pytest.raises(CutisError, match=said):
        label_indices(samples, "lesion_class", LESION_CLASSES)


def test_symmetry_codes_become_two_or_three_classes():
    samples = [labelled(None, str(code), symmetry=code) for code in (0, 1, 2)]
    assert label_indices(samples, "symmetry", SYMMETRY_CLASSES[2]).tolist() == [0, 1, 1]
    assert label_indices(samples, "symmetry", SYMMETRY_CLASSES[3]).tolist() == [0, 1, 2]
    with pytest.raises(CutisError, match="toy a has no symmetry"):
        label_indices([labelled("mel")], "symmetry", SYMMETRY_CLASSES[2])


def test_an_absent_class_is_named():
    refuse_absent(np.array([0, 1]), SYMMETRY_CLASSES[2], "training")
    with pytest.raises(CutisError, match="the validation part has no image of asymmetric: take fewer folds"):
        refuse_absent(np.array([1, 1]), SYMMETRY_CLASSES[2], "validation")


def test_balancing_draws_down_and_fills_up_as_far_as_four_views_reach():
    labels = np.repeat([0, 1, 2], [3, 30, 500])
    entries = balanced(labels, 100, seed=4)
    assert np.bincount(labels[entries.where]).tolist() == [12, 100, 100]
    pairs = set(zip(entries.where.tolist(), entries.turn.tolist(), strict=True))
    assert len(pairs) == 212  # no view of an image comes twice
    assert not entries.turn[labels[entries.where] == 2].any()
    again, other = balanced(labels, 100, seed=4), balanced(labels, 100, seed=5)
    assert (again.where == entries.where).all()
    assert (other.where != entries.where).any()


def test_a_turn_is_a_flip_or_a_quarter():
    square = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert (turned(square, 1) == square[::-1]).all()
    assert (turned(square, 2) == square[:, ::-1]).all()
    assert (turned(turned(turned(turned(square, 3), 3), 3), 3) == square).all()
    assert (turned(square, 3) != square).any()


@pytest.mark.parametrize("seed", range(6))
def test_the_map_moves_with_its_image(seed):
    """Enlarged, the moved map must be what augmentation makes of the enlarged map."""
    rng = np.random.default_rng(2)
    activation = cv2.GaussianBlur(rng.random((14, 14)).astype(np.float32), (0, 0), 2.5)
    activation /= activation.max()
    picture = cv2.resize(activation, (224, 224), interpolation=cv2.INTER_LINEAR)
    rgb = np.repeat((picture[..., None] * 255).astype(np.uint8), 3, 2)
    moved = augment(rgb, np.ones((224, 224), np.uint8), 160, GEOMETRY, np.random.default_rng(seed))
    followed = cv2.resize(follow(activation, moved.matrix, 224, 160), (160, 160), interpolation=cv2.INTER_LINEAR)
    inside = cv2.erode(moved.mask, np.ones((41, 41), np.uint8)) > 0  # away from the picture's edge
    assert inside.mean() > 0.1
    assert np.abs(followed - moved.image[..., 0] / 255.0)[inside].max() < 0.06


def write_pictures(folder, count=4):
    rng = np.random.default_rng(0)
    samples = []
    for index in range(count):
        image, mask = rng.integers(0, 256, (40, 60, 3), np.uint8), np.zeros((40, 60), np.uint8)
        mask[10:30, 15 : 30 + index] = 255
        cv2.imwrite(str(folder / f"{index}.png"), image)
        cv2.imwrite(str(folder / f"{index}_mask.png"), mask)
        samples.append(
            Sample(str(index), folder / f"{index}.png", "toy", folder / f"{index}_mask.png", label="mel", symmetry=1)
        )
    return samples


@pytest.mark.parametrize("masking", ["none", "segmentation", "lae"])
@pytest.mark.parametrize("hair", [False, True])
def test_the_cached_square_is_what_the_analysis_prepares(tmp_path, masking, hair):
    from cutis.imaging.read import read_image, read_mask

    samples, steps = write_pictures(tmp_path), STEPS.model_copy(update={"hair_removal": hair})
    squares = recoloured(open_cache(samples, 64, tmp_path / "cache"), steps)
    assert (squares.home.name.startswith("recoloured-")) is hair
    pictures = ClassificationSet(
        squares, np.arange(4), steps, masking, entries=each_once(4), augmentation=None, maps=None
    )
    for index, sample in enumerate(samples):
        wanted = prepare_classifier_image(read_image(sample.image).pixels, read_mask(sample.mask), steps, masking)
        assert (pictures[Key(index, 64, -1)][0] == wanted).all()


def test_recolouring_is_kept_and_known_by_its_steps(tmp_path):
    cache = open_cache(write_pictures(tmp_path), 64, tmp_path / "cache")
    assert recoloured(cache, STEPS) is cache
    hair, clahe = (recoloured(cache, STEPS.model_copy(update={name: True})) for name in ("hair_removal", "clahe"))
    assert len({cache.key, hair.key, clahe.key}) == 3
    again = STEPS.model_copy(update={"clahe": True, "mean": (0.1, 0.1, 0.1)})
    assert recoloured(cache, again, lambda done, total: pytest.fail("built twice")).key == clahe.key


def test_masks_may_be_missing_where_none_are_needed(tmp_path):
    samples = [Sample(s.id, s.image, "toy") for s in write_pictures(tmp_path)]
    with pytest.raises(CutisError, match="toy 0 has no mask"):
        open_cache(samples, 64, tmp_path / "cache")
    assert not open_cache(samples, 64, tmp_path / "cache", masks=False).masks.any()


def test_a_batch_holds_each_entry_with_its_class_and_turned_map(tmp_path):
    cache = open_cache(write_pictures(tmp_path), 64, tmp_path / "cache")
    maps = np.random.default_rng(1).random((4, 5, 5)).astype(np.float32)
    entries = Entries(np.array([2, 0]), np.array([3, 0]))
    pictures = ClassificationSet(
        cache, np.array([6, 1, 4, 0]), STEPS, "none", entries=entries, augmentation=None, maps=maps
    )
    batch = pictures.collate([pictures[Key(i, 64, -1)] for i in range(2)])
    assert batch.label.tolist() == [4, 6]
    assert batch.where.tolist() == [0, 1]
    assert batch.image.shape == (2, 3, 64, 64)
    assert (batch.activation[0, 0].numpy() == np.rot90(maps[2])).all()
    assert (batch.activation[1, 0].numpy() == maps[0]).all()
    moved = batch.to("meta")
    assert moved.image.device.type == moved.activation.device.type == "meta"
    assert batch._replace(activation=None).to("cpu").activation is None
