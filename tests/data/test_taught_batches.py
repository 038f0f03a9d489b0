"""Teachers' maps move with the picture: what is over a pixel before the augmentation is over it after."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import cv2  # noqa: E402

from cutis.data.augment import Augmentation  # noqa: E402
from cutis.data.batches import EachOnce, Key, SegmentationSet, loader  # noqa: E402
from cutis.data.cache import open_cache  # noqa: E402
from cutis.data.samples import Sample  # noqa: E402
from cutis.data.taught_batches import TaughtSet, grid_of, moved  # noqa: E402
from cutis.errors import CutisError  # noqa: E402
from cutis.imaging.frame import Frame  # noqa: E402
from cutis.imaging.preprocessing import Preprocessing  # noqa: E402

SIDE = 64
STEPS = Preprocessing(size=SIDE, mean=(0, 0, 0), std=(1, 1, 1))
GEOMETRY = Augmentation(
    plain=0.0, rotation_degrees=180, zoom=(0.7, 1.5), aspect=0.3, shift=0.1, brightness=0, contrast=0, gamma=0, tint=0,
    saturation=0, blur=0, hair=0,
)  # fmt: skip


@pytest.fixture
def cache(tmp_path):
    """Smooth pictures of 4:3, letterboxed: black bars above and below."""
    samples = []
    for index in range(4):
        ramp = np.mgrid[0:48, 0:64].astype(np.float32) / 64
        red = 120 + 100 * np.sin(4 * ramp[0] + index)
        green = 120 + 100 * np.cos(5 * ramp[1] - index)
        image, mask = tmp_path / f"{index}.png", tmp_path / f"{index}_mask.png"
        cv2.imwrite(str(image), np.stack([0 * red + 128, green, red], -1).astype(np.uint8))
        cv2.imwrite(str(mask), np.pad(np.full((20, 30), 255, np.uint8), ((14, 14), (17, 17))))
        samples.append(Sample(str(index), image, "toy", mask))
    return open_cache(samples, SIDE, tmp_path / "cache")


def seer(cache, cells=SIDE):
    """A teacher whose embedding is the picture itself, and who is sure of the mask."""
    pixels = torch.from_numpy(np.array(cache.images)).permute(0, 3, 1, 2).float() / 255
    sure = torch.from_numpy(np.array(cache.masks))[:, None].float() * 20 - 10
    small = [torch.nn.functional.interpolate(x, (cells, cells), mode="area") for x in (sure, pixels)]
    return SimpleNamespace(logits=small[0].numpy().astype(np.float16), embedding=small[1].numpy().astype(np.float16))


@pytest.mark.parametrize(("size", "seed"), [(48, -1), (64, -1), (96, -1), (48, 3), (64, 11), (96, 12)])
def test_maps_move_with_their_picture(cache, size, seed):
    both = TaughtSet(SegmentationSet(cache, STEPS, GEOMETRY), seer(cache), seer(cache, 32), stride=1)
    keys = [Key(where, size, seed if seed < 0 else seed + where) for where in (2, 0)]
    batch = both.collate([both[key] for key in keys])
    plain = SegmentationSet(cache, STEPS, GEOMETRY)
    expected = plain.collate([plain[key] for key in keys])
    for ours, theirs in zip(batch[:4], expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    picture = (batch.image[:, 2] > 0.4).unsqueeze(1)  # blue is 128 in the picture, 0 outside
    around = torch.nn.functional.pad((~picture).float(), (4, 4, 4, 4), value=1.0)
    inner = torch.nn.functional.max_pool2d(around, 9, stride=1) == 0
    for teacher, tolerance in ((batch.first, 0.03), (batch.second, 0.06)):
        assert teacher.embedding.shape == batch.image.shape
        error = ((teacher.embedding - batch.image).abs() * inner).amax()
        assert error < tolerance
        deep = torch.nn.functional.max_pool2d(batch.mask, 9, stride=1, padding=4)
        assert (teacher.logits[(deep == 0) & inner] < 0).all()
        core = -torch.nn.functional.max_pool2d(-batch.mask, 9, stride=1, padding=4)
        assert (teacher.logits[core == 1] > 0).all()
        outside = torch.nn.functional.max_pool2d(picture.float(), 7, stride=1, padding=3) == 0
        assert not (teacher.embedding * outside).any()
        assert (teacher.logits[outside] == -20).all()


def test_a_coarse_grid_sees_the_middle_of_its_cells():
    ramp = torch.arange(32.0).expand(32, 32)
    maps = torch.stack([ramp * 0, ramp, ramp.T])[None]
    whole = Frame.fit(32, 32, 32)
    seen = moved(maps, [whole], grid_of(np.eye(2, 3)[None], 32, 32, 4))
    expected = torch.arange(4.0) * 8 + 3.5
    torch.testing.assert_close(seen.embedding[0, 0], expected.expand(4, 4))
    torch.testing.assert_close(seen.embedding[0, 1], expected.expand(4, 4).T)


def test_one_teacher_is_enough_and_workers_get_no_maps(cache):
    alone = TaughtSet(SegmentationSet(cache, STEPS, None), None, seer(cache, 16), stride=16)
    (batch,) = loader(alone, EachOnce(4, SIDE, 4), 0)
    assert batch.first is None
    assert batch.second.embedding.shape == (4, 3, 4, 4)
    assert batch.to("cpu", dtype=torch.float64).second.logits.dtype == torch.float64
    assert pickle.loads(pickle.dumps(alone)).stride == 16


def test_a_cache_of_other_images_is_refused(cache):
    few = seer(cache)
    few.logits = few.logits[:3]
    with pytest.raises(CutisError, match="a teacher's cache of 3 images was given for 4"):
        TaughtSet(SegmentationSet(cache, STEPS, None), few, None, stride=16)
