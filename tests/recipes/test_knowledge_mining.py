"""Knowledge mining: the loss of both kinds of images, who has a label, both phases, resuming, the teacher untouched."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

sys.path.insert(0, str(Path(__file__).parents[1] / "mining"))
from mining_toy import Dark  # noqa: E402

from cutis.data.batches import Batch  # noqa: E402
from cutis.data.mining_batches import MiningBatch  # noqa: E402
from cutis.data.synthetic import write_folder  # noqa: E402
from cutis.losses.overlap import dice_loss  # noqa: E402
from cutis.recipes.config import load_config  # noqa: E402
from cutis.recipes.knowledge_mining import KnowledgeMining  # noqa: E402
from cutis.recipes.knowledge_mining_config import KnowledgeMiningConfig  # noqa: E402
from cutis.recipes.knowledge_mining_run import train_knowledge_mining  # noqa: E402
from cutis.recipes.run import load_run  # noqa: E402

CONFIGS = Path(__file__).parents[2] / "configs" / "knowledge-mining"


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    write_folder(folder, 24, 3, width=48, height=36)
    return folder


def config(**changes: object) -> KnowledgeMiningConfig:
    """Tiny: 32 pixels, two epochs of two steps a phase."""
    small = {
        "preprocessing.size": "32", "network.options": "{widths: [4, 8, 8, 8], depths: [1, 1, 1, 1]}", "epochs": "2",
        "epoch_images": "8", "batch_size": "4", "mining.epoch_images": "8", "mining.unlabelled_batch": "2",
    }  # fmt: skip
    named = {name.replace("__", "."): str(value) for name, value in changes.items()}
    return load_config(CONFIGS / "smoke.yaml", small | named, KnowledgeMiningConfig)


def train(data, folder, settings, **rest):
    rest = {
        "cache": data / "cache",
        "resume": False,
        "teacher": Dark(),
        "accelerator": "cpu",
        "say": lambda text: None,
    } | rest
    return train_knowledge_mining(settings, data, folder, **rest)


def weights(run):
    return torch.cat([value.flatten().float() for value in run.network.state_dict().values()])


def test_the_loss_is_the_papers():
    """Sec. 2.5 by hand: means over the labelled and over the used pseudo-labels, the second times lambda."""
    rng = torch.Generator().manual_seed(1)
    logits = torch.randn(5, 1, 32, 32, generator=rng)
    mask = (torch.rand(5, 1, 32, 32, generator=rng) > 0.5).float()
    used = torch.tensor([True, False, True])
    batch = MiningBatch(
        logits.expand(5, 3, 32, 32), mask, mask, torch.arange(5), used, mask[2:], used, torch.zeros(3, 2, 3),
        torch.arange(3), None,
    )  # fmt: skip
    recipe = KnowledgeMining(_First(), config(mining__schedule="one-time"), learning_rate=1e-3)
    ((name, loss, _),) = recipe.losses(batch)

    def by_hand(some):
        p = logits[some].sigmoid().double()
        dice = 1 - (2 * (p * mask[some]).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + mask[some].sum((1, 2, 3)) + 1)
        bce = -(mask[some] * p.log() + (1 - mask[some]) * (1 - p).log()).mean((1, 2, 3))
        return float((dice + 0.2 * bce).mean())

    assert name == "network"
    assert float(loss) == pytest.approx(by_hand([0, 1]) + 0.25 * by_hand([2, 4]), rel=1e-5)
    alone = Batch(batch.image[:2], mask[:2], mask[:2], torch.arange(2))
    ((_, first, _),) = recipe.losses(alone)
    assert float(first) == pytest.approx(by_hand([0, 1]), rel=1e-5)
    told = recipe.summarise({})
    assert float(told["mined/used"]) == pytest.approx(2 / 3)
    assert float(told["mined/pseudo_dice"]) == 1.0  # these pseudo-labels are the truth
    assert 0.3 < float(told["mined/student_dice"]) < 0.7 and recipe.summarise({}) == {}
    seen = recipe.validate(alone)
    assert [float(x) for x in seen["loss"]] == pytest.approx([by_hand([0]), by_hand([1])], rel=1e-5)
    assert dice_loss(logits, mask).shape == (5,)


class _First(torch.nn.Module):
    def forward(self, image):
        return image[:, :1]


def logged(folder):
    """Every value that was logged, by name, in order."""
    values: dict[str, list[float]] = {}
    for path in sorted(folder.glob("logs/start_*/metrics.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                for name, text in row.items():
                    if text:
                        values.setdefault(name, []).append(float(text))
    return values


@pytest.mark.parametrize("schedule", ["continuous", "one-time"])
def test_both_schedules_train_after_a_supervised_phase_and_resume_as_if_never_cut_off(data, tmp_path, schedule):
    settings = config(mining__schedule=schedule)
    teacher = Dark()
    before = {name: value.clone() for name, value in teacher.network.state_dict().items()}
    whole = train(data, tmp_path / "whole", settings, teacher=teacher)
    assert all(torch.equal(value, before[name]) for name, value in teacher.network.state_dict().items())
    assert (tmp_path / "whole" / "supervised" / "done.json").exists()
    quality = logged(tmp_path / "whole")
    assert len(quality["validation/mined/pseudo_dice"]) == len(quality["validation/mined/student_dice"]) == 2
    facts = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert facts["data"]["labelled"] + facts["data"]["unlabelled"] == sum(facts["data"]["counts"]["train"].values())

    class CutError(Exception):
        pass

    for last in (0, 1):  # before there is a checkpoint, and after

        def cut(epoch, value, last=last):
            if epoch == last:
                raise CutError

        with pytest.raises(CutError):
            train(data, tmp_path / "cut", settings, resume=last > 0, after_epoch=cut)
    assert (tmp_path / "cut" / "checkpoints" / "last.ckpt").exists()
    again = train(data, tmp_path / "cut", settings, resume=True)
    torch.testing.assert_close(weights(again), weights(whole), rtol=0, atol=0)
    assert not torch.equal(weights(load_run(tmp_path / "whole" / "supervised")), weights(whole))
