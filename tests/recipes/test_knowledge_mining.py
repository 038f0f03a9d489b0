"""Knowledge mining: the loss of both kinds of images, who has a label, both phases, resuming, the teacher untouched."""

from __future__ import annotations

import csv
import json
import shutil
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
from cutis.errors import CutisError  # noqa: E402
from cutis.imaging.read import read_mask, write_mask  # noqa: E402
from cutis.losses.overlap import dice_loss  # noqa: E402
from cutis.mining.settings import Gates  # noqa: E402
from cutis.recipes.config import load_config  # noqa: E402
from cutis.recipes.knowledge_mining import KnowledgeMining  # noqa: E402
from cutis.recipes.knowledge_mining_config import KnowledgeMiningConfig  # noqa: E402
from cutis.recipes.knowledge_mining_run import train_knowledge_mining  # noqa: E402
from cutis.recipes.mining_division import divide  # noqa: E402
from cutis.recipes.promptables import load_promptable  # noqa: E402
from cutis.recipes.prompting_config import PromptingConfig  # noqa: E402
from cutis.recipes.prompting_run import train_prompting  # noqa: E402
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


def test_the_supervised_schedule_takes_as_many_steps_and_asks_nobody(data, tmp_path):
    steps = {}
    for schedule, teacher in [("supervised", None), ("continuous", Dark())]:
        settings = config(mining__schedule=schedule, epochs=1, mining__epoch_images=20)
        train(data, tmp_path / schedule, settings, teacher=teacher)
        steps[schedule] = torch.load(
            tmp_path / schedule / "checkpoints" / "last.ckpt", weights_only=True
        )["global_step"]  # fmt: skip
    assert steps == {"supervised": 10, "continuous": 10}


def test_no_hidden_label_is_trained_on(data, tmp_path):
    """With every mask but the labelled ones replaced by its opposite, training ends the same."""
    settings = config(epochs=1, mining__epochs=1)
    first = train(data, tmp_path / "first", settings)
    division = divide(settings, data, print)
    train_part = division.parts["train"]
    kept = {train_part[where].id for where in division.labelled} | {s.id for s in division.parts["validation"]}
    other = tmp_path / "other"
    write_folder(other, 24, 3, width=48, height=36)
    hidden = [path for path in (other / "masks").iterdir() if path.stem not in kept]
    for path in hidden:
        write_mask(path, ~read_mask(path))
    second = train(other, tmp_path / "second", settings)
    assert len(hidden) == len(division.unlabelled) > 5
    assert torch.equal(weights(first), weights(second))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labelled__fraction": 1}, "there would be no unlabelled images"),
        ({"labelled__fraction": 0.001}, "no labelled images"),
        ({"unlabelled": "[folder]"}, "folder is in both"),
        ({"mining__unlabelled_batch": 4}, "must be smaller than batch_size"),
        ({"mining__prompts__points": 0, "mining__prompts__box": "false"}, "nothing is asked"),
    ],
)
def test_what_cannot_be_mined_is_said(data, tmp_path, changes, message):
    with pytest.raises(CutisError, match=message):
        train(data, tmp_path / "run", config(**changes))
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_other_runs_folders_teachers_and_labels_are_refused(data, tmp_path):
    settings = config(epochs=1, mining__epochs=1)
    with pytest.raises(CutisError, match="there is no promptable"):
        train(data, tmp_path / "none", settings, teacher=None)
    with pytest.raises(CutisError, match="nothing to resume"):
        train(data, tmp_path / "none", settings, resume=True)
    first = settings.model_copy(update={"mining": None})
    train(data, tmp_path / "first", first, teacher=None)
    with pytest.raises(CutisError, match="holds a run already"):
        train(data, tmp_path / "first", first, teacher=None)
    hidden = config(epochs=1, mining__epochs=1, labelled__fraction=0.2)
    with pytest.raises(CutisError, match="another 'labelled' than this run"):
        train(data, tmp_path / "hidden", hidden, start=tmp_path / "first")
    wide = config(mining__epochs=1, network__options="{widths: [4, 8, 8, 16], depths: [1, 1, 1, 1]}")
    with pytest.raises(CutisError, match="holds another network"):
        train(data, tmp_path / "wide", wide, start=tmp_path / "first")


def test_the_same_image_in_both_sets_is_said(data, tmp_path):
    both = tmp_path / "both"
    shutil.copytree(data, both, ignore=shutil.ignore_patterns("cache"))
    kvasir = both / "Kvasir-SEG" / "images"
    (both / "Kvasir-SEG" / "masks").mkdir(parents=True)
    shutil.copytree(data / "images", kvasir)
    with pytest.raises(CutisError, match=r"kvasir_seg lesion_\d+ is unlabelled and folder lesion_\d+ is labelled"):
        divide(config(unlabelled="[kvasir_seg]"), both, print)
    for path in kvasir.iterdir():
        path.write_bytes(path.read_bytes() + b"\0")  # no longer the same file
        path.rename(path.with_stem("polyp" + path.stem))
    said = []
    division = divide(config(unlabelled="[kvasir_seg]"), both, said.append)
    names = {division.parts["train"][where].dataset for where in division.unlabelled}
    assert names == {"folder", "kvasir_seg"} and not any("copies" in text for text in said)


@pytest.mark.parametrize("weights", ["sam", "stand-in"])
def test_sam_and_the_stand_in_are_mined_from_their_folders_and_are_bit_identical_afterwards(
    data, tmp_path, weights, tiny_sam
):
    teacher = tmp_path / weights
    if weights == "sam":
        tiny_sam().save_pretrained(teacher)
    else:
        smoke = {"epochs": "1", "epoch_images": "8", "workers": "0", "preprocessing.size": "32"}
        path = CONFIGS.parent / "promptable" / "smoke.yaml"
        smoke |= {"phases": "[{start: 0, size: 32}]"}
        prompting = load_config(path, smoke, PromptingConfig)
        train_prompting(prompting, data, teacher, cache=data / "cache", resume=False, accelerator="cpu", say=print)
    before = {path: path.read_bytes() for path in teacher.rglob("*") if path.is_file()}
    promptable = load_promptable(str(teacher), "cpu")
    settings = config(epochs=1, mining__epochs=1, mining__prompts__mask="true")
    run = train(data, tmp_path / "run", settings, teacher=str(teacher))
    assert run.facts["data"]["promptable"] == promptable.fingerprint == load_promptable(str(teacher), "cpu").fingerprint
    assert {path: path.read_bytes() for path in teacher.rglob("*") if path.is_file()} == before
    assert logged(tmp_path / "run")["validation/mined/score"]


def test_the_papers_configurations_have_its_numbers():
    found = sorted(CONFIGS.glob("kvasir-*.yaml"))
    assert len(found) == 2
    for path in found:
        settings = load_config(path, {}, KnowledgeMiningConfig)
        assert settings.mining is not None
        rates = (settings.learning_rate, settings.mining.learning_rate, settings.plateau.least)
        assert rates == (5e-5, 5e-5, 1e-7)
        assert (settings.batch_size, settings.epochs, settings.patience) == (8, 100, 10)
        assert (settings.plateau.factor, settings.plateau.patience, settings.monitor) == (0.5, 3, "loss")
        assert (settings.loss.dice, settings.loss.cross_entropy, settings.mining.pseudo_weight) == (1, 0.2, 0.25)
        assert settings.network.name == "unetplusplus" and settings.network.options == {"encoder": "resnet34"}
        assert settings.mining.gates == Gates(score=None, agreement=None)
        prompts = settings.mining.prompts
        assert prompts.points and prompts.box and not prompts.mask
        turns = settings.augmentation
        assert {turns.horizontal, turns.vertical, turns.transpose, turns.rotation} == {0.5}


def test_the_learning_rate_falls_on_a_plateau_and_nowhere_else(data, tmp_path):
    """Nothing can be learned at 1e-30: the loss stands still, and after 1 validation too many the rate is halved."""
    settings = config(
        epochs=5, learning_rate="1e-30", plateau="{factor: 0.5, patience: 1, least: 1.0e-31}", monitor="loss",
        patience=9, mining="null",
    )  # fmt: skip
    train(data, tmp_path / "run", settings, teacher=None)
    kept = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["lr_schedulers"][0]["_last_lr"] == [pytest.approx(2.5e-31)]  # validations 3 and 5 of 5
