"""The adversarial recipe under the engine: equal to a hand-written loop, resumable, stopped by collapse or NaN."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from cutis.data.batches import Batch  # noqa: E402
from cutis.data.synthetic import write_folder  # noqa: E402
from cutis.errors import CutisError  # noqa: E402
from cutis.models.slsnet_discriminator import SLSNetDiscriminator  # noqa: E402
from cutis.recipes.adversarial import Adversarial, Seen, Watch  # noqa: E402
from cutis.recipes.adversarial_config import AdversarialConfig, CollapseSettings  # noqa: E402
from cutis.recipes.adversarial_run import train_adversarial  # noqa: E402
from cutis.recipes.config import load_config  # noqa: E402
from cutis.recipes.engine import Diverged, EngineOptions, fit  # noqa: E402
from cutis.recipes.run import load_run  # noqa: E402

CONFIGS = Path(__file__).parents[2] / "configs" / "slsnet"
OPTIONS = EngineOptions(2, 1, None, None, "64-true", 9, ("toy",) * 4, 1, 1, "cpu", "dice")


def config(**changes):
    smoke = load_config(CONFIGS / "smoke.yaml", {}, AdversarialConfig)
    return AdversarialConfig.model_validate(smoke.model_dump() | changes)


def generator():
    torch.manual_seed(11)
    first, last = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.Conv2d(6, 1, 3, padding=1)
    return nn.Sequential(first, nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.3), last).double()


def critic():
    torch.manual_seed(12)
    return SLSNetDiscriminator((4, 4, 8), position=True, channel=True).double()


def batches(count):
    rng = torch.Generator().manual_seed(4)
    for _ in range(count):
        mask = (torch.rand(4, 1, 32, 32, generator=rng) > 0.5).double()
        image = torch.randn(4, 3, 32, 32, generator=rng, dtype=torch.float64)
        yield Batch(image, mask, mask, torch.arange(4))


def fit_toy(recipe, folder, options=OPTIONS, items=None, resume=False):
    items = items or list(batches(4))
    train, checks = (
        torch.utils.data.DataLoader(each, batch_size=None, collate_fn=lambda item: item) for each in (items, items[:1])
    )
    fit(recipe, train, checks, options, folder, resume=resume)


def test_equals_a_hand_written_loop_in_float64(tmp_path):
    ours = Adversarial(generator(), critic(), config(schedule="constant"))
    fit_toy(ours, tmp_path)

    g, d = generator(), critic()
    steps = ours.config.preprocessing
    mean, std = (torch.tensor(value, dtype=torch.float64).view(3, 1, 1) for value in (steps.mean, steps.std))
    step_g = torch.optim.Adam(g.parameters(), lr=0.001, betas=(0.5, 0.999))
    step_d = torch.optim.Adam(d.parameters(), lr=0.0002, betas=(0.5, 0.999))
    updates = 0
    for _ in range(2):
        for image, y, _, _ in batches(4):
            torch.manual_seed((3 << 32) + updates)
            updates += 1
            fake = torch.sigmoid(g(image))
            colours = image * std + mean
            real, made = d(colours[:2], y[:2]), d(colours[2:], fake[2:].detach())
            loss_d = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
            loss_d = loss_d + F.binary_cross_entropy_with_logits(made, torch.zeros_like(made))
            step_d.zero_grad()
            loss_d.backward()
            step_d.step()
            judged = d(colours, fake)
            product = (fake * y).sum((1, 2, 3))
            jaccard = 1 - product / ((y * y).sum((1, 2, 3)) + (fake * fake).sum((1, 2, 3)) - product)
            loss_g = F.binary_cross_entropy_with_logits(judged, torch.ones_like(judged))
            loss_g = loss_g + 0.1 * (fake - y).abs().mean() + 0.5 * jaccard.mean()
            step_g.zero_grad()
            loss_g.backward()
            step_g.step()
    for mine, name in ((g, "network"), (d, "discriminator")):
        for key, value in mine.state_dict().items():
            torch.testing.assert_close(ours.networks[name].state_dict()[key], value, atol=1e-12, rtol=0, msg=key)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    whole = Adversarial(generator(), critic(), config())
    fit_toy(whole, tmp_path / "whole")
    fit_toy(Adversarial(generator(), critic(), config()), tmp_path / "cut", OPTIONS._replace(epochs=1))
    resumed = Adversarial(generator(), critic(), config())
    torch.rand(7)  # another state of the global generator
    fit_toy(resumed, tmp_path / "cut", resume=True)
    for key, value in whole.networks.state_dict().items():
        assert torch.equal(resumed.networks.state_dict()[key], value), key


def test_logs_losses_accuracies_and_masks(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit_toy(Adversarial(generator(), critic(), config()), tmp_path, OPTIONS._replace(epochs=1), list(batches(20)))
    log = EventAccumulator(str(tmp_path / "logs" / "start_0"))
    log.Reload()
    wanted = {"discriminator_loss", "generator_loss", "real_accuracy", "generated_accuracy", "l1", "jaccard"}
    assert {f"train/{name}" for name in wanted} <= set(log.Tags()["scalars"])
    picture = log.Images("validation/masks")[0]
    assert (picture.width, picture.height) == (4 * 32, 3 * 32)


def test_the_generator_alone_has_no_discriminator():
    loss = {"adversarial": 0, "l1": 0.1, "jaccard": 0.5}
    recipe = Adversarial(generator(), None, config(loss=loss))
    assert "discriminator" not in recipe.networks
    assert list(recipe.optimisers(10)) == ["generator"]
    ((name, value, terms),) = recipe.losses(next(batches(1)))
    assert name == "generator" and sorted(terms) == ["jaccard", "l1"]
    assert value.item() == pytest.approx(0.1 * terms["l1"].item() + 0.5 * terms["jaccard"].item())


def test_the_generators_update_leaves_no_gradient_in_the_discriminator():
    recipe = Adversarial(generator(), critic(), config())
    for name, loss, _ in recipe.losses(next(batches(1))):
        recipe.networks.zero_grad()
        loss.backward()
        touched = {key.partition(".")[0] for key, p in recipe.networks.named_parameters() if p.grad is not None}
        assert touched == {"discriminator": {"discriminator"}, "generator": {"network"}}[name]


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (Seen(3.0, 1.0, 0.0), "called everything real"),
        (Seen(3.0, 0.0, 1.0), "called everything generated"),
        (Seen(1e-6, 1.0, 1.0), "knew every patch"),
        (Seen(1.4, 0.5, 0.5), None),
        (Seen(0.2, 1.0, 1.0), None),
    ],
)
def test_a_collapse_is_known_by_its_window(seen, said):
    watch = Watch(CollapseSettings(steps=3, share=0.99, loss=1e-4))
    watch.saw(Seen(1.4, 0.5, 0.5))
    watch.saw(seen)
    watch.saw(seen)
    if said is None:
        watch.saw(seen)
    else:
        with pytest.raises(Diverged, match=said):
            watch.saw(seen)


class Same(nn.Module):
    """Calls everything real."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.full((), 50.0))

    def forward(self, image, mask):
        return self.bias + 0 * mask


def test_stops_with_what_was_seen_and_keeps_the_last_good_checkpoint(tmp_path):
    collapse = {"steps": 6, "share": 0.99, "loss": 1e-4}
    recipe = Adversarial(generator(), Same().double(), config(collapse=collapse))
    with pytest.raises(Diverged, match=r"everything real over the last 6 updates .* right on 100.0% of real and 0.0%"):
        fit_toy(recipe, tmp_path)
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()  # of the first epoch, four updates long


def test_stops_at_a_loss_that_is_not_a_number(tmp_path):
    items = list(batches(2))
    items[1].image[0, 0, 0, 0] = float("nan")
    with pytest.raises(Diverged, match="'discriminator' is not a number at epoch 0"):
        fit_toy(Adversarial(generator(), critic(), config()), tmp_path, items=items)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_configurations_are_valid(path):
    if path.read_text(encoding="utf-8").startswith("# cutis train adversarial "):
        settings = load_config(path, {}, AdversarialConfig)
        assert sum(settings.split.fractions.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accumulate": 2}, "accumulate must be 1"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"loss": {"adversarial": 0, "l1": 0, "jaccard": 0}}, "all weights are 0"),
    ],
)
def test_mistakes_in_a_configuration_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        config(**changes)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    write_folder(folder, 12, 0, width=96, height=72)
    return folder


def small(**changes):
    tiny = {"name": "sparsesegnet", "options": {"widths": [4, 8, 8, 8], "depths": [1, 1, 1, 1]}}
    few = {"network": tiny, "epochs": 1, "epoch_images": 8, "preprocessing": config().preprocessing.model_dump()}
    few["preprocessing"]["size"] = 32
    return config(**few | changes)


@pytest.mark.parametrize("when", ["offline", "online"])
def test_a_run_opens_like_any_segmenters(tmp_path, drawn, when):
    settings = small(augmentation={"when": when, "clahe": 0.5})
    made = train_adversarial(
        settings, drawn, tmp_path / "run", cache=tmp_path / "cache", resume=False, accelerator="cpu", say=lambda _: None
    )
    opened = load_run(tmp_path / "run")
    assert opened.config == settings
    assert opened.facts["discriminator_parameters"] > 0
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(opened.network(image), made.network(image))
    assert bool(list((tmp_path / "cache").glob("eightfold-*"))) == (when == "offline")


def test_a_broken_run_says_where_its_last_good_checkpoint_is(tmp_path, drawn):
    settings = small(learning_rate=1e30, discriminator=config().discriminator.model_dump() | {"learning_rate": 1e30})
    with pytest.raises(CutisError, match=r"not a number .*there is no checkpoint"):
        train_adversarial(
            settings, drawn, tmp_path / "run", cache=tmp_path / "cache", resume=False, accelerator="cpu",
            say=lambda _: None,
        )  # fmt: skip
    shutil.rmtree(tmp_path / "run")
