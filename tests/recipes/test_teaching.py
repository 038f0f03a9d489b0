"""`cutis teach` from a run folder to a cache that a distillation reads; what bad input gets."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from cutis.data.batches import EachOnce, SegmentationSet, loader  # noqa: E402
from cutis.data.synthetic import write_folder  # noqa: E402
from cutis.data.taught_batches import TaughtSet  # noqa: E402
from cutis.errors import CutisError  # noqa: E402
from cutis.losses.ag_op import ag_op  # noqa: E402
from cutis.recipes.config import load_config  # noqa: E402
from cutis.recipes.distillation_config import TeacherChoice  # noqa: E402
from cutis.recipes.folder import begin  # noqa: E402
from cutis.recipes.run import build_network  # noqa: E402
from cutis.recipes.teaching import Kept, teach, training_images  # noqa: E402
from cutis.teachers.cache import open_teacher_cache  # noqa: E402

SMOKE = Path(__file__).parents[2] / "configs" / "sparsesegnet" / "smoke.yaml"
KEPT = Kept(side=8, channels=6, fitted_on=4)


@pytest.fixture(scope="module")
def config():
    return load_config(SMOKE, {})


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    write_folder(folder, 12, seed=5, width=80, height=60)
    return folder


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    """A run folder as training would leave it, its network untrained."""
    folder = tmp_path_factory.mktemp("run")
    begin(folder, config, {})
    state = {f"networks.network.{name}": value for name, value in build_network(config).state_dict().items()}
    (folder / "checkpoints").mkdir()
    torch.save({"state_dict": state}, folder / "checkpoints" / "best.ckpt")
    return folder


def ask(choice, config, drawn, output, kept=KEPT, **options):
    settings = {"cache": drawn.with_name("decoded"), "batch": 4, "device": "cpu", "say": lambda text: None, **options}
    return teach(choice, config, drawn, kept, output=output, **settings)


def test_two_layers_of_a_run_become_two_teachers(config, drawn, run, tmp_path):
    said = []
    plan = ask(
        TeacherChoice(kind=str(run), layer="encoder.stage3"), config, drawn, tmp_path / "p", plan=True, say=said.append
    )
    assert plan is None
    assert "(1 + 6) x 8 x 8 numbers of 2 bytes: 0 MB in" in said[-1]
    assert not (tmp_path / "p").exists()
    first = ask(
        TeacherChoice(kind=str(run), layer="encoder.stage3"), config, drawn, tmp_path / "first", say=said.append
    )
    assert "the teacher's Dice on these images is 0." in said[-1]
    choice = TeacherChoice(kind=str(run), layer="encoder.stage4", recalibrate="folder")
    second = ask(choice, config, drawn, None, Kept(8, 6, 4, tmp_path / "first"), say=said.append)
    assert second.manifest.teacher == "smoke recalibrated on folder"
    assert second.home.parent == drawn.with_name("decoded")
    assert second.home.name.startswith("teacher-smoke-recalibrated-on-folder-")
    assert any(text.startswith("channel means moved by") for text in said)

    images = training_images(config, drawn, drawn.with_name("decoded"), print)
    pictures = SegmentationSet(images, config.preprocessing, config.augmentation)
    both = TaughtSet(pictures, open_teacher_cache(first.home, images), second, stride=16)
    (batch,) = loader(both, EachOnce(len(images), 64, 16), 0)
    student = torch.zeros(len(images), 6, 4, 4, requires_grad=True)
    found = ag_op(student, batch.first, batch.second, probability=0.05, cosine=0.4)
    found.loss.backward()
    assert torch.isfinite(student.grad).all()
    assert 0 <= found.share <= 1


def test_bad_input_is_said_in_one_line(config, drawn, run, tmp_path):
    with pytest.raises(CutisError, match=r"smoke has no layer '' that gives a map: name one of encoder 24x4x4"):
        ask(TeacherChoice(kind=str(run)), config, drawn, tmp_path / "a")
    with pytest.raises(CutisError, match="sam has no batch norms"):
        ask(TeacherChoice(kind="sam", recalibrate="folder"), config, drawn, tmp_path / "a")
    with pytest.raises(CutisError, match="SAM has no weights here"):
        ask(TeacherChoice(kind="sam"), config, drawn, tmp_path / "a")
    with pytest.raises(CutisError, match="no answers of SEEM"):
        ask(TeacherChoice(kind="seem"), config, drawn, tmp_path / "a")
    with pytest.raises(CutisError, match="is not a run folder"):
        ask(TeacherChoice(kind="nosuch"), config, drawn, tmp_path / "a")
    with pytest.raises(CutisError, match=r"an embedding of \(4, 16, 8, 8\).* the 20 channels"):
        ask(TeacherChoice(kind=str(run), layer="encoder.stage2"), config, drawn, tmp_path / "a", Kept(8, 20, 4))
