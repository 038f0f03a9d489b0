"""A small decoded data set, and a teacher that costs nothing to ask."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import cv2  # noqa: E402

from cutis.data.cache import open_cache  # noqa: E402
from cutis.data.samples import Sample  # noqa: E402
from cutis.imaging.preprocessing import Preprocessing  # noqa: E402
from cutis.teachers.base import Taught  # noqa: E402

STEPS = Preprocessing(size=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


@pytest.fixture
def samples(tmp_path):
    rng = np.random.default_rng(0)
    made = []
    for index in range(5):
        image, mask = tmp_path / f"{index}.png", tmp_path / f"{index}_mask.png"
        truth = np.zeros((48, 64), np.uint8)
        truth[8 + index : 30, 10 : 40 + index] = 255
        pixels = np.where(truth[..., None] > 0, 60, 200) + rng.integers(-20, 20, (48, 64, 3))
        cv2.imwrite(str(image), pixels.astype(np.uint8))
        cv2.imwrite(str(mask), truth)
        made.append(Sample(str(index), image, "toy", mask))
    return made


@pytest.fixture
def cache(samples, tmp_path):
    return open_cache(samples, 32, tmp_path / "decoded")


class Painter:
    """Dark is lesion; the embedding is six fixed mixtures of the colours at half the size, counted by `asked`."""

    def __init__(self, seed=0, channels=6, size=32):
        generator = torch.Generator().manual_seed(seed)
        self.mix = torch.randn(channels, 3, generator=generator)
        self.name, self.fingerprint = "painter", f"seed {seed}"
        self.preprocessing = STEPS.model_copy(update={"size": size})
        self.asked = 0

    def answer(self, image):
        self.asked += len(image)
        small = torch.nn.functional.avg_pool2d(image, 2)
        return Taught((0.5 - image.mean(1, keepdim=True)) * 20, torch.einsum("kc,bchw->bkhw", self.mix, small))


@pytest.fixture
def painter():
    return Painter
