"""The supervised recipe under the engine: equal to a hand-written loop, resumable, stopped by a NaN."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from pathlib import Path  # noqa: E402

from cutis.data.batches import Batch  # noqa: E402
from cutis.data.synthetic import write_folder  # noqa: E402
from cutis.errors import CutisError  # noqa: E402
from cutis.losses.boundary import boundary_loss  # noqa: E402
from cutis.losses.overlap import dice_loss  # noqa: E402
from cutis.models.sparsesegnet import SparseSegNet  # noqa: E402
from cutis.recipes import run as runs  # noqa: E402
from cutis.recipes.config import LossSettings, load_config  # noqa: E402
from cutis.recipes.engine import EngineOptions, fit  # noqa: E402
from cutis.recipes.supervised import Supervised  # noqa: E402

SMOKE = Path(__file__).parents[2] / "configs" / "sparsesegnet" / "smoke.yaml"
LOSS = LossSettings(dice=1, boundary=0.2, cross_entropy=0.5, boundary_band=0.125)
OPTIONS = EngineOptions(2, 2, 1.0, None, "64-true", 9, ("toy",) * 4, 1, 1, "cpu", "dice")


def network():
    torch.manual_seed(11)
    return SparseSegNet((4, 8, 8, 8), (1, 1, 1, 1)).double()


def supervised(learning_rate=1e-3):
    return Supervised(network(), LOSS, learning_rate, 0, warmup=0, threshold=0.5)


def batches(count):
    generator = torch.Generator().manual_seed(4)
    for step in range(count):
        mask = (torch.rand(2, 1, 32, 32, generator=generator) > 0.5).double()
        image = torch.randn(2, 3, 32, 32, generator=generator, dtype=torch.float64)
        yield Batch(image, mask, mask * -0.1 + 0.05, torch.arange(2) + 2 * (step % 2))


def fixed(items):
    return torch.utils.data.DataLoader(items, batch_size=None, collate_fn=lambda item: item)


def fit_toy(recipe, folder, options=OPTIONS, items=None, resume=False):
    items = items or list(batches(5))
    fit(recipe, fixed(items), fixed(items[:2]), options, folder, resume=resume)


def test_equals_a_hand_written_loop_in_float64(tmp_path):
    ours = Supervised(network(), LOSS, 1e-2, 1e-2, warmup=0.3, threshold=0.5)
    fit_toy(ours, tmp_path)

    net = network()
    decayed = [p for p in net.parameters() if p.ndim > 1]
    rest = [p for p in net.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed}, {"params": rest, "weight_decay": 0}], lr=1e-2, weight_decay=1e-2
    )
    updates, warmup, done = 6, 2, 0  # 5 batches, 2 at a time, the last alone; 2 epochs
    for _ in range(2):
        net.train()
        for step, batch in enumerate(batches(5)):
            logits = net(batch.image)
            loss = dice_loss(logits, batch.mask).mean()
            loss = loss + 0.2 * boundary_loss(logits, batch.mask, batch.distance, band=0.125).mean()
            loss = loss + 0.5 * torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), batch.mask)
            (loss / 2).backward()
            if step % 2 == 1 or step == 4:
                rate = (done + 1) / warmup
                if done >= warmup:
                    rate = 0.5 * (1 + math.cos(math.pi * (done - warmup) / (updates - warmup)))
                for group in optimiser.param_groups:
                    group["lr"] = 1e-2 * rate
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimiser.step()
                optimiser.zero_grad()
                done += 1
    assert done == updates
    for ours_p, theirs in zip(ours.networks["network"].parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(ours_p, theirs, rtol=1e-6, atol=1e-9)


def test_gradients_are_clipped_without_the_scale_of_16_bit_precision(tmp_path, monkeypatch):
    """A scale of 65536 must not make gradients 65536 times too long for `clip_norm`."""
    from lightning import Trainer
    from lightning.pytorch.plugins import MixedPrecision

    ends = []
    for scale in (1.0, 65536.0):
        plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=scale))

        def scaled(plugins, precision, plugin=plugin, **rest):
            return Trainer(plugins=[*plugins, plugin], **rest)

        monkeypatch.setattr("cutis.recipes.engine.lightning.Trainer", scaled)
        recipe = Supervised(torch.nn.Conv2d(3, 1, 1), LOSS, 1e-2, 0, warmup=0, threshold=0.5)
        for parameter in recipe.networks.parameters():
            torch.nn.init.constant_(parameter, 0.1)
        monkeypatch.setattr(recipe, "optimisers", lambda steps, recipe=recipe: plain_descent(recipe))
        items = [batch._replace(**{k: getattr(batch, k).float() for k in batch._fields[:3]}) for batch in batches(2)]
        fit_toy(recipe, tmp_path / str(scale), OPTIONS._replace(epochs=1, accumulate=1, clip_norm=1e-2), items)
        ends.append(torch.cat([p.detach().flatten() for p in recipe.networks.parameters()]))
    assert (ends[0] - 0.1).norm() > 1e-3
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-3, atol=1e-6)


def plain_descent(recipe):
    optimiser = torch.optim.SGD(recipe.networks.parameters(), lr=1.0)
    return {"network": (optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1.0))}


def test_nan_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    good, bad = list(batches(2)), list(batches(2))
    bad[1] = bad[1]._replace(image=bad[1].image * float("nan"))
    options = OPTIONS._replace(epochs=1, accumulate=1)
    fit_toy(supervised(), tmp_path, options, good)
    before = (tmp_path / "checkpoints" / "last.ckpt").read_bytes()
    with pytest.raises(CutisError, match="not a number at epoch 1, step 3"):
        fit_toy(supervised(), tmp_path, options._replace(epochs=2), bad, resume=True)
    assert (tmp_path / "checkpoints" / "last.ckpt").read_bytes() == before


def test_a_moved_run_knows_its_best_checkpoint(tmp_path, monkeypatch):
    """Validation is made to give a fixed Dice: 0.9 in the first epoch, then 0.4, which must not become the best."""
    given = {"dice": 0.9}
    monkeypatch.setattr(Supervised, "validate", lambda self, batch: {"dice": torch.full((2,), given["dice"])})
    options, items = OPTIONS._replace(epochs=1, accumulate=1), list(batches(2))
    fit_toy(supervised(), tmp_path / "there", options, items)
    shutil.move(tmp_path / "there", tmp_path / "here")
    before = (tmp_path / "here" / "checkpoints" / "best.ckpt").read_bytes()
    given["dice"] = 0.4
    fit_toy(supervised(), tmp_path / "here", options._replace(epochs=2), items, resume=True)
    assert (tmp_path / "here" / "checkpoints" / "best.ckpt").read_bytes() == before
    assert not (tmp_path / "there").exists()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    write_folder(folder, 24, seed=5, width=160, height=120)
    return folder


def train(config, data, folder, **keywords):
    """Decoded images are kept beside the data: every run of this module shares them."""
    settings = {"resume": False, "accelerator": "cpu", "say": lambda text: None, **keywords}
    return runs.train_supervised(config, data, folder, cache=data.with_name("cache"), **settings)


@pytest.fixture(scope="module")
def whole(drawn, tmp_path_factory):
    """The smoke configuration trained to its end, and what was said."""
    said = []
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run = train(load_config(SMOKE, {}), drawn, folder, say=said.append)
    return run, said


def final_weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_learns_drawn_lesions(whole):
    run, said = whole
    log = (run.folder / "logs" / "start_0" / "metrics.csv").read_text(encoding="utf-8").splitlines()
    column = log[0].split(",").index("validation/dice")
    dice = [float(line.split(",")[column]) for line in log[1:] if line.split(",")[column]]
    assert len(dice) == 4
    assert max(dice) > 0.6
    assert run.preprocessing.size == 64
    assert not run.network.training
    assert said[-1].startswith(f"done: {run.folder}; next: cutis evaluate")


def test_an_interrupted_run_ends_the_same(whole, drawn, tmp_path, monkeypatch):
    """Resumed with a worker: it asks for the first batches before the loop has begun their epoch."""
    config = load_config(SMOKE, {})
    real, calls = Supervised.losses, []

    def cut_off(self, batch):
        calls.append(1)
        if len(calls) == 8 * 2 + 3:  # in the middle of the third epoch
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(Supervised, "losses", cut_off)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(config, drawn, tmp_path / "cut")
    monkeypatch.setattr(Supervised, "losses", real)
    train(config.model_copy(update={"workers": 1}), drawn, tmp_path / "cut", resume=True)
    ours, theirs = final_weights(tmp_path / "cut"), final_weights(whole[0].folder)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_run_folder_says_what_was_asked_and_with_what(whole, drawn):
    run, _ = whole
    assert yaml.safe_load((run.folder / "config.yaml").read_text(encoding="utf-8"))["epochs"] == 4
    facts = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
    assert facts["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert sum(n for part in facts["data"]["counts"].values() for n in part.values()) == 24
    with pytest.raises(CutisError, match="holds a run already"):
        train(run.config, drawn, run.folder)
    smaller = run.config.model_copy(update={"split": run.config.split.model_copy(update={"seed": 1})})
    with pytest.raises(CutisError, match="trained on other images"):
        train(smaller, drawn, run.folder, resume=True)
    with pytest.raises(CutisError, match="holds no run: nothing to resume"):
        train(run.config, drawn, run.folder.with_name("nothing"), resume=True)


def test_a_folder_that_is_no_run_or_holds_another_network_is_named(whole, tmp_path):
    with pytest.raises(CutisError, match="not a run folder"):
        runs.load_run(tmp_path)
    other = tmp_path / "other"
    shutil.copytree(whole[0].folder, other)
    text = (other / "config.yaml").read_text(encoding="utf-8")
    (other / "config.yaml").write_text(text.replace("- 24\n", "- 32\n"), encoding="utf-8")
    with pytest.raises(CutisError, match=r"does not hold the network that config\.yaml beside it describes"):
        runs.load_run(other)
    (other / "config.yaml").write_text(text.replace("name: sparsesegnet", "name: nosuch"), encoding="utf-8")
    with pytest.raises(CutisError, match="no model named 'nosuch'"):
        runs.load_run(other)
    (other / "config.yaml").write_text(text, encoding="utf-8")
    (other / "checkpoints" / "best.ckpt").write_bytes(b"half a file")
    with pytest.raises(CutisError, match="does not hold the network"):
        runs.load_run(other)


def test_opening_a_run_leaves_the_random_state_alone(whole):
    before = torch.random.get_rng_state()
    runs.load_run(whole[0].folder)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_is_left_out_and_what_is_odd_is_said(tmp_path):
    import cv2
    import numpy as np

    data = tmp_path / "data"
    write_folder(data, 12, seed=5, width=64, height=48)
    (data / "masks" / "lesion_003.png").unlink()
    (data / "images" / "lesion_005.jpg").unlink()
    config = load_config(
        SMOKE, {"epochs": "1", "epoch_images": "8", "preprocessing.size": "32", "phases": "[{start: 0, size: 32}]"}
    )
    parts = runs.parts_of(config, data)
    odd = parts["train"][1]
    cv2.imwrite(str(odd.mask), np.full((48, 64), 255, np.uint8))
    said = []
    train(config, data, tmp_path / "run", say=said.append)
    reasons = "1 without a mask, 1 named by its tables but not there, 1 masks without their image"
    assert f"folder: left out {reasons}; 10 are used" in said
    assert any(
        s.startswith(f"1 training masks cover the whole picture and 0 cover nothing (folder {odd.id})") for s in said
    )
    for mask in (data / "masks").iterdir():
        mask.unlink()
    with pytest.raises(CutisError, match="has no masks to learn from"):
        runs.parts_of(config, data)


def test_a_run_can_begin_from_the_weights_of_another(drawn, tmp_path):
    config = load_config(SMOKE, {"epochs": "1", "epoch_images": "8", "learning_rate": "1e-12", "average": "null"})
    first = runs.train_supervised(config, drawn, tmp_path / "a", cache=tmp_path / "cache", resume=False)
    other = config.model_copy(update={"seed": 99})
    second = runs.train_supervised(
        other, drawn, tmp_path / "b", cache=tmp_path / "cache", resume=False, start=tmp_path / "a"
    )
    for ours, theirs in zip(second.network.parameters(), first.network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert len(second.facts["start"]) == 64
    assert train(other, drawn, second.folder, resume=True).facts["start"] == second.facts["start"]
    wider = config.model_copy(
        update={
            "network": config.network.model_copy(update={"options": {"widths": [8, 8, 8, 8], "depths": [1, 1, 1, 1]}})
        }
    )
    with pytest.raises(CutisError, match="holds another network"):
        runs.train_supervised(
            wider, drawn, tmp_path / "c", cache=tmp_path / "cache", resume=False, start=tmp_path / "a"
        )


def test_an_encoder_begins_with_weights_from_a_file(drawn, tmp_path):
    import torchvision

    torch.manual_seed(6)
    source = torchvision.models.resnet18(weights=None)
    torch.save(source.state_dict(), tmp_path / "resnet18.pth")
    flags = {"network": "{name: unet, options: {encoder: resnet18}}", "weights": str(tmp_path / "resnet18.pth")}
    normalised = {"preprocessing.mean": "[0.485, 0.456, 0.406]", "preprocessing.std": "[0.229, 0.224, 0.225]"}

    def prepared(config):
        return runs.prepare(
            config, drawn, tmp_path / "run", cache=drawn.with_name("cache"), resume=False, start=None, say=said.append
        )

    said = []
    ready = prepared(load_config(SMOKE, flags | normalised))
    assert torch.equal(ready.network.encoder.layer4[1].conv2.weight, source.layer4[1].conv2.weight)
    assert ready.facts["weights"] in said[-1] and "resnet18.pth (SHA-256" in said[-1]
    with pytest.raises(CutisError, match=r"set preprocessing.mean to \[0.485, 0.456, 0.406\], preprocessing.std to"):
        prepared(load_config(SMOKE, flags))
    with pytest.raises(CutisError, match="does not fit the backbone"):
        prepared(load_config(SMOKE, {"weights": flags["weights"]}))
