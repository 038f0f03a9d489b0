"""The supervised recipe under the engine: equal to a hand-written loop, resumable, stopped by a NaN, the same on two processes."""

from __future__ import annotations

import json
import math

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
OPTIONS = EngineOptions(2, 2, 1.0, None, "64-true", 9, ("toy",) * 4, 1, 1, "cpu")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    write_folder(folder, 24, seed=5)
    return folder


def network():
    torch.manual_seed(11)
    return SparseSegNet((4, 8, 8, 8), (1, 1, 1, 1)).double()


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
                rate = (
                    (done + 1) / warmup
                    if done < warmup
                    else 0.5 * (1 + math.cos(math.pi * (done - warmup) / (updates - warmup)))
                )
                for group in optimiser.param_groups:
                    group["lr"] = 1e-2 * rate
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimiser.step()
                optimiser.zero_grad()
                done += 1
    assert done == updates
    for ours_p, theirs in zip(ours.networks["network"].parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(ours_p, theirs, rtol=1e-6, atol=1e-9)


def test_nan_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    good, bad = list(batches(2)), list(batches(2))
    bad[1] = bad[1]._replace(image=bad[1].image * float("nan"))
    options = OPTIONS._replace(epochs=1, accumulate=1)
    fit_toy(Supervised(network(), LOSS, 1e-3, 0, warmup=0, threshold=0.5), tmp_path, options, good)
    before = (tmp_path / "checkpoints" / "last.ckpt").read_bytes()
    recipe = Supervised(network(), LOSS, 1e-3, 0, warmup=0, threshold=0.5)
    with pytest.raises(CutisError, match="not a number at epoch 1, step 3"):
        fit_toy(recipe, tmp_path, options._replace(epochs=2), bad, resume=True)
    assert (tmp_path / "checkpoints" / "last.ckpt").read_bytes() == before


def final_weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_learns_drawn_lesions_and_an_interrupted_run_ends_the_same(drawn, tmp_path, monkeypatch):
    config = load_config(SMOKE, {"workers": "1"})
    whole = runs.train_supervised(
        config, drawn, tmp_path / "whole", cache=tmp_path / "cache", resume=False, accelerator="cpu"
    )
    log = (tmp_path / "whole" / "logs" / "start_0" / "metrics.csv").read_text(encoding="utf-8").splitlines()
    column = log[0].split(",").index("validation/dice")
    dice = [float(line.split(",")[column]) for line in log[1:] if line.split(",")[column]]
    assert len(dice) == 4
    assert max(dice) > 0.6
    assert whole.preprocessing.size == 64
    assert not whole.network.training

    real, calls = Supervised.losses, []

    def cut_off(self, batch):
        calls.append(1)
        if len(calls) == 8 * 2 + 3:  # in the middle of the third epoch
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(Supervised, "losses", cut_off)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        runs.train_supervised(
            config, drawn, tmp_path / "cut", cache=tmp_path / "cache", resume=False, accelerator="cpu"
        )
    monkeypatch.setattr(Supervised, "losses", real)
    runs.train_supervised(config, drawn, tmp_path / "cut", cache=tmp_path / "cache", resume=True, accelerator="cpu")
    ours, theirs = final_weights(tmp_path / "cut"), final_weights(tmp_path / "whole")
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_run_folder_says_what_was_asked_and_with_what(drawn, tmp_path):
    config = load_config(SMOKE, {"epochs": "1", "epoch_images": "8"})
    folder = tmp_path / "run"
    runs.train_supervised(config, drawn, folder, cache=tmp_path / "cache", resume=False, accelerator="cpu")
    assert yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["epochs"] == 1
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert (
        facts["versions"]["torch"] == torch.__version__.split("+")[0] or facts["versions"]["torch"] == torch.__version__
    )
    assert sum(n for part in facts["data"]["counts"].values() for n in part.values()) == 24
    with pytest.raises(CutisError, match="holds a run already"):
        runs.train_supervised(config, drawn, folder, cache=tmp_path / "cache", resume=False)
    smaller = config.model_copy(update={"split": config.split.model_copy(update={"seed": 1})})
    with pytest.raises(CutisError, match="trained on other images"):
        runs.train_supervised(smaller, drawn, folder, cache=tmp_path / "cache", resume=True)
    with pytest.raises(CutisError, match="not a run folder"):
        runs.load_run(tmp_path)
