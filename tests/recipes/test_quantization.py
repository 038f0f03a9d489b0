"""Quantisation-aware fine-tuning: it mends what static INT8 breaks, leaves a run like any other, and resumes."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
from torch import nn  # noqa: E402

from cutis.data.batches import Batch  # noqa: E402
from cutis.data.synthetic import write_folder  # noqa: E402
from cutis.errors import CutisError  # noqa: E402
from cutis.layers.simulated_quantization import SimulatedQuantization  # noqa: E402
from cutis.losses.overlap import dice_loss  # noqa: E402
from cutis.models.sparsesegnet import SparseSegNet  # noqa: E402
from cutis.recipes.config import SupervisedConfig, load_config  # noqa: E402
from cutis.recipes.fine_tuning import fine_tuned  # noqa: E402
from cutis.recipes.folder import begin, read_folder  # noqa: E402
from cutis.recipes.quantization import QuantizationAware  # noqa: E402
from cutis.recipes.quantization_config import QuantizationConfig, QuantizationFineTuning  # noqa: E402
from cutis.recipes.quantization_run import train_quantization  # noqa: E402
from cutis.recipes.run import build_network, load_run  # noqa: E402
from cutis.recipes.supervised import Supervised  # noqa: E402

FILE = Path(__file__).parents[2] / "configs" / "sparsesegnet" / "quantization.yaml"
SMOKE = FILE.with_name("smoke.yaml")
SMALL = {"preprocessing.size": "32", "phases": "[{start: 0, size: 32}]"}
ROUNDING = {"calibration": 6, "seed": 1, "ranges": "extreme", "float_head": False}


def asked(**fine_tune):
    return QuantizationFineTuning.model_validate({"quantization": ROUNDING, "fine_tune": fine_tune})


def test_the_configuration_fits_the_bundled_run():
    found = load_config(FILE, {"fine_tune.epochs": "2"}, QuantizationFineTuning)
    bundled = load_config(FILE.with_name("bundled-third.yaml"), {}, SupervisedConfig)
    rounding = {"recipe": "quantization", "quantization": found.quantization.model_dump()}
    made = fine_tuned(bundled, found.fine_tune, QuantizationConfig, rounding)
    assert made.network == bundled.network and made.loss == bundled.loss
    assert (made.epochs, made.learning_rate, bundled.learning_rate) == (2, 1e-5, 1e-3)
    assert made.epoch_images // made.batch_size == 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "bf16-mixed"}, "give 32-true"),
        ({"phases": [{"start": 0, "size": 48}]}, "give one, at preprocessing.size"),
        ({"epoch": 3}, "'fine_tune' does not fit the run.*epoch"),
    ],
)
def test_mistakes_are_named(changes, message):
    rounding = {"recipe": "quantization", "quantization": ROUNDING}
    with pytest.raises(CutisError, match=message):
        fine_tuned(load_config(SMOKE, SMALL), changes, QuantizationConfig, rounding)


def discs():
    """Eight dark discs of other sizes on a pale ground with some noise."""
    rng = torch.Generator().manual_seed(4)
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    radius = torch.arange(8).reshape(-1, 1, 1) + 5
    mask = (((rows - 15) ** 2 + (columns - 17) ** 2) < radius**2).float().unsqueeze(1)
    image = 1 - 1.2 * mask + 0.5 * torch.randn(8, 3, 32, 32, generator=rng)
    return Batch(image, mask, torch.where(mask > 0, -0.1, 0.1), torch.arange(8))


def steps(recipe, batch, count):
    ((optimiser, schedule),) = recipe.optimisers(count).values()
    for _ in range(count):
        for _, loss, _ in recipe.losses(batch):
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


def plant_outliers(network: nn.Module, factor: float) -> None:
    """One channel before each way up becomes `factor` times as large, and what reads it so much smaller."""
    with torch.no_grad():
        for step in network.decoder.steps:
            step.refine[1].weight[0] *= factor
            step.refine[1].bias[0] *= factor
            step.up[0].weight[:, 0] /= factor


def test_a_network_that_static_quantisation_hurts_is_mended():
    """The planted channel changes nothing in float and takes the bytes of all channels beside it."""
    torch.manual_seed(0)
    batch, network = discs(), SparseSegNet((8, 8, 8, 8), (1, 1, 1, 1))
    settings = load_config(SMOKE, SMALL)
    steps(Supervised(network, settings.loss, 1e-2, 0, warmup=0.1, threshold=0.5), batch, 60)
    network.eval()
    hurt = copy.deepcopy(network)
    plant_outliers(hurt, 200)
    with torch.no_grad():
        torch.testing.assert_close(hurt(batch.image), network(batch.image), rtol=1e-3, atol=1e-3)

    def simulated(net):
        found = SimulatedQuantization(net, batch.image, float_head=False)
        found.observe(net, [batch.image], "extreme")
        return found

    @torch.no_grad()
    def loss(net):
        """In INT8, and how much of it INT8 adds."""
        in_bytes = dice_loss(simulated(net)(net, batch.image), batch.mask).mean()
        return in_bytes, in_bytes - dice_loss(net(batch.image), batch.mask).mean()

    statistics = {name: value.clone() for name, value in hurt.named_buffers()}
    rounding = {"recipe": "quantization", "quantization": ROUNDING}
    config = fine_tuned(settings, {"learning_rate": 2e-3}, QuantizationConfig, rounding)
    mended = copy.deepcopy(hurt)
    steps(QuantizationAware(mended, simulated(mended), config), batch, 40)
    found = {"plain": loss(network), "hurt": loss(hurt), "mended": loss(mended)}
    print({name: [round(value.item(), 4) for value in values] for name, values in found.items()})
    assert abs(found["plain"][1]) < 0.01 and found["hurt"][1] > 0.05
    assert found["mended"][1] < 0.5 * found["hurt"][1] and found["mended"][0] < found["plain"][0]
    for name, value in mended.named_buffers():
        assert torch.equal(value, statistics[name]), name  # batch norm is frozen


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    write_folder(folder, 16, seed=5, width=64, height=48)
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A run whose weights are those that training would begin with."""
    folder = tmp_path_factory.mktemp("runs") / "start"
    config = load_config(SMOKE, SMALL)
    begin(folder, config, {"data": {}})
    state = {f"networks.network.{name}": value for name, value in build_network(config).state_dict().items()}
    (folder / "checkpoints").mkdir()
    torch.save({"state_dict": state}, folder / "checkpoints" / "best.ckpt")
    return folder


def train(drawn, start, folder, *, stop_after=None, resume=False, say=lambda text: None):
    def after(epoch, value):
        if epoch == stop_after:
            raise KeyboardInterrupt

    changes = {"epochs": 3, "epoch_images": 16, "learning_rate": 1e-3, "patience": 3}
    return train_quantization(
        asked(**changes), drawn, folder, start=start, cache=drawn.with_name("cache"), resume=resume, accelerator="cpu",
        say=say, after_epoch=after,
    )  # fmt: skip


@pytest.mark.slow
def test_it_leaves_a_run_like_any_other_and_goes_on_where_it_was_cut_off(drawn, start, tmp_path):
    said = []
    whole = train(drawn, start, tmp_path / "whole", say=said.append)
    assert "23 of 24 convolutions and" in " ".join(said) and "extreme ranges of 6 training images" in said
    before, after = load_run(start).network.state_dict(), whole.network.state_dict()
    assert list(before) == list(after)  # nothing that rounds
    assert not torch.equal(before["encoder.stem.0.weight"], after["encoder.stem.0.weight"])
    assert torch.equal(before["encoder.stem.1.running_mean"], after["encoder.stem.1.running_mean"])
    config, facts = read_folder(whole.folder, QuantizationConfig)
    assert config.quantization.calibration == 6 and config.phases[0].size == 32 and len(facts["start"]) == 64
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(drawn, start, tmp_path / "cut", stop_after=1)
    with pytest.raises(CutisError, match="holds a run already"):
        train(drawn, start, tmp_path / "cut")
    with pytest.raises(CutisError, match="was begun from another run"):
        train(drawn, whole.folder, tmp_path / "cut", resume=True)
    train(drawn, start, tmp_path / "cut", resume=True)
    ours, theirs = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (tmp_path / "cut", tmp_path / "whole")
    )
    assert (theirs["networks.simulated.scale"] > 0).all()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-6, atol=1e-7, msg=name)


def test_what_is_no_segmenter_is_refused(drawn, start, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.yaml").write_text("recipe: prompting\n", encoding="utf-8")
    with pytest.raises(CutisError, match="finds what it is pointed to"):
        train(drawn, other, tmp_path / "out")
