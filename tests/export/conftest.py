"""A network small enough to export in seconds that holds what segmentation networks hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from cutis.imaging.preprocessing import Preprocessing

SIZE = 32
PREPROCESSING = Preprocessing(size=SIZE, mean=(0.7, 0.55, 0.5), std=(0.15, 0.16, 0.18))


def _conv(inputs: int, outputs: int, **keywords: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, bias=False, **keywords), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Toy(nn.Module):
    """Strided and dilated convolutions, a sum, a concatenation, a global mean, both ways of going up, bilinear."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, 8, stride=2, padding=1)
        self.down = _conv(8, 12, stride=2, padding=1)
        self.wide = _conv(12, 12, padding=2, dilation=2)
        self.context = nn.Conv2d(12, 12, 1)
        self.shuffle = nn.Sequential(nn.Conv2d(24, 4 * 8, 1), nn.ReLU(), nn.PixelShuffle(2))
        self.transposed = nn.Sequential(nn.ConvTranspose2d(24, 8, 2, stride=2, bias=False), nn.BatchNorm2d(8))
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        fine = self.stem(image)
        coarse = self.down(fine)
        coarse = coarse + self.wide(coarse)
        context = self.context(coarse.mean((2, 3), keepdim=True))
        both = torch.cat([coarse, coarse + context], 1)
        logits = self.head(F.relu(self.shuffle(both) + self.transposed(both) + fine))
        return F.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)


def make_toy() -> Toy:
    """Seeded weights, batch statistics that are not trivial, logits on both sides of zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Toy()
        for _ in range(5):
            network(2 * torch.randn(4, 3, SIZE, SIZE) - 1)
        network.head.weight.data *= 16
    return network.eval()


@pytest.fixture(scope="session")
def toy() -> Toy:
    return make_toy()


@pytest.fixture(scope="session")
def preprocessing() -> Preprocessing:
    return PREPROCESSING


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, toy: Toy) -> Path:
    """The toy as fp32 ONNX."""
    from cutis.export.onnx import export_onnx

    path = tmp_path_factory.mktemp("exported") / "toy.onnx"
    export_onnx(toy, PREPROCESSING, path, name="toy", version="1.2", threshold=0.45)
    return path


@pytest.fixture(scope="session")
def images() -> NDArray[np.uint8]:
    """(40, SIZE, SIZE, 3) uint8: dark blobs on light ground."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    pictures = []
    for _ in range(40):
        y, x, radius = rng.uniform(8, 24), rng.uniform(8, 24), rng.uniform(4, 12)
        inside = ((rows - y) ** 2 + (columns - x) ** 2 < radius**2)[..., None]
        skin, lesion = rng.uniform(150, 220, 3), rng.uniform(30, 120, 3)
        pictures.append(np.where(inside, lesion, skin) + rng.normal(0, 8, (SIZE, SIZE, 3)))
    return np.clip(pictures, 0, 255).astype(np.uint8)
