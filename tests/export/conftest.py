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


CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


@pytest.fixture(scope="session")
def drawn_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """84 drawn lesions with masks, symmetries and seven classes; two images a lesion."""
    from cutis.data.synthetic import write_folder

    folder = tmp_path_factory.mktemp("classes")
    write_folder(folder, count=84, seed=4, width=64, height=48)
    lines = ["id,symmetry,label,group"]
    lines += [f"lesion_{n:03},{n // 2 % 3},{CLASSES[n // 2 % 7]},group_{n // 2}" for n in range(84)]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def classifier_config(task: str, masking: str, **network: object) -> dict[str, object]:
    """A run's configuration as YAML holds it; the split gives every part some of each class."""
    return {
        "task": task, "name": f"toy-{task.partition('_')[0]}",
        "network": {"name": {"symmetry": "symmetry_net"}.get(task, "lesion_net"), "options": network},
        "preprocessing": {"size": 64, "mean": [0.7, 0.55, 0.5], "std": [0.2, 0.2, 0.2]},
        "masking": masking, "datasets": {"folder": 1.0},
        "split": {"fractions": {"train": 0.4, "validation": 0.35, "test": 0.25}, "seed": 17},
        "epochs": 1, "batch_size": 4, "accumulate": 1, "optimiser": "adam", "learning_rate": 0.001, "momentum": 0.9,
        "weight_decay": 0.0, "schedule": "constant", "warmup_epochs": 0, "class_weights": 1, "even": 0,
        "augmentation": None, "precision": "32-true", "patience": 1, "select": "balanced_accuracy", "seed": 1,
        "workers": 0,
    }  # fmt: skip


def write_classifier_run(folder: Path, config: dict[str, object]) -> Path:
    """A run as `cutis train` leaves one, with seeded weights and batch statistics that are not trivial."""
    import json

    import yaml

    from cutis.recipes.classification_config import ClassificationConfig
    from cutis.recipes.folder import build

    made = ClassificationConfig.model_validate(config)
    network = build(made.network, made.seed)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(made.model_dump(mode="json")), encoding="utf-8")
    (folder / "run.json").write_text(json.dumps({}), encoding="utf-8")
    state = {f"networks.network.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state}, folder / "checkpoints" / "best.ckpt")
    return folder


@pytest.fixture(scope="session")
def symmetry_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = classifier_config("symmetry", "lae", backbone="squeezenet1_1", classes=2)
    return write_classifier_run(tmp_path_factory.mktemp("runs") / "symmetry", config)


@pytest.fixture(scope="session")
def lesion_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = classifier_config("lesion_class", "none", backbone="squeezenet1_1", classes=7, activation=True)
    return write_classifier_run(tmp_path_factory.mktemp("runs") / "lesion", config)


@pytest.fixture(scope="session")
def exported_cascade(
    tmp_path_factory: pytest.TempPathFactory, symmetry_run: Path, lesion_run: Path, drawn_classes: Path
) -> Path:
    """Both networks by `cutis export`: toy-symmetry-*.onnx and toy-lesion-*.onnx; said.txt is what was printed."""
    import contextlib
    import io

    from cutis import cli

    folder, said = tmp_path_factory.mktemp("cascade"), io.StringIO()
    common = ["--output", str(folder), "--data", str(drawn_classes), "--calibration", "12"]
    files = [str(folder / f"toy-symmetry-{precision}.onnx") for precision in ("fp32", "int8")]
    with contextlib.redirect_stdout(said):
        for words in (["export", str(symmetry_run), *common], ["export", str(lesion_run), *common]):
            more = ["--symmetry-model", *files] if str(lesion_run) in words else []
            assert cli.app([*words, *more], result_action="return_value") == 0
    (folder / "said.txt").write_text(said.getvalue(), encoding="utf-8")
    return folder
