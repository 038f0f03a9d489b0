"""Training by simulated prompts: prompts lie where they should, it learns, it resumes to the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from cutis.data.batches import Batch  # noqa: E402
from cutis.data.synthetic import write_folder  # noqa: E402
from cutis.errors import CutisError  # noqa: E402
from cutis.models.promptable import PromptableNet  # noqa: E402
from cutis.recipes.config import load_config  # noqa: E402
from cutis.recipes.folder import best_checkpoint  # noqa: E402
from cutis.recipes.promptables import load_promptable  # noqa: E402
from cutis.recipes.prompting import Prompting, first_prompts  # noqa: E402
from cutis.recipes.prompting_config import PromptingConfig  # noqa: E402
from cutis.recipes.prompting_run import train_prompting  # noqa: E402
from cutis.recipes.simulated_prompts import correction, jittered, points_in, true_boxes  # noqa: E402

FOLDER = Path(__file__).parents[2] / "configs" / "promptable"
SMOKE = FOLDER / "smoke.yaml"


def config(**overrides):
    return load_config(SMOKE, {key.replace("__", "."): str(value) for key, value in overrides.items()}, PromptingConfig)


def squares(count=4, side=64):
    """Batch of dark squares on a pale ground, each elsewhere."""
    mask = torch.zeros(count, 1, side, side)
    for i in range(count):
        mask[i, :, 8 + 4 * i : 36 + 4 * i, 12 : 44 - 2 * i] = 1
    image = torch.where(mask > 0, -1.5, 1.0).expand(-1, 3, -1, -1).contiguous()
    return Batch(image, mask, torch.where(mask > 0, -0.1, 0.1), torch.arange(count))


def test_every_configuration_is_valid_and_says_its_command():
    files = sorted(FOLDER.glob("*.yaml"))
    assert len(files) >= 2
    for path in files:
        assert path.read_text(encoding="utf-8").startswith(
            f"# cutis train prompting --config configs/promptable/{path.name}"
        )
        made = load_config(path, {}, PromptingConfig)
        assert made.phases[-1].size == made.preprocessing.size
        assert made.preprocessing.size % 32 == 0


def test_the_real_network_has_at_most_five_million_parameters():
    options = load_config(FOLDER / "ham10000.yaml", {}, PromptingConfig).network.options
    assert sum(p.numel() for p in PromptableNet(**options).parameters()) <= 5_000_000


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"loss__hybrid": "{rank_weight: 1, hardest: 3, margin: 0.3, smooth: 1}"}, "loss.hybrid is not there"),
        ({"loss__dice": 0, "loss__boundary": 0, "loss__cross_entropy": 0}, "no mask would be learned"),
        ({"prompts__rounds": 0}, "prompts.rounds"),
    ],
)
def test_mistakes_are_named(overrides, message):
    with pytest.raises(CutisError, match=message):
        config(**overrides)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), top=st.integers(0, 20), left=st.integers(0, 20), side=st.integers(1, 11))
def test_prompts_lie_where_they_should(seed, top, left, side):
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., top : top + side, left : left + side] = 1
    rng = torch.Generator().manual_seed(seed)
    assert true_boxes(mask).tolist() == [[left, top, left + side - 1, top + side - 1]]
    moved = jittered(true_boxes(mask), 0.5, 32, rng)[0]
    assert (moved >= 0).all() and (moved <= 31).all() and (moved[:2] <= moved[2:]).all()
    points, there = points_in(mask > 0.5, 4, rng)
    assert there.sum() == min(4, side * side)
    at = points[0][there[0]].long()
    assert mask[0, 0, at[:, 1], at[:, 0]].all() and len(at.unique(dim=0)) == len(at)
    wrong = torch.full_like(mask, -1.0)
    point, label = correction(wrong, mask, rng)
    assert label.item() == 1 and mask[0, 0, int(point[0, 0, 1]), int(point[0, 0, 0])] == 1
    assert correction(-wrong, mask, rng)[1].item() == 0
    assert correction(mask - 0.5, mask, rng)[1].item() == -1


def test_every_image_is_asked_something_and_boxes_only_where_given():
    mask, chosen = squares(4).mask.repeat(16, 1, 1, 1), config().prompts
    asked = first_prompts(mask, chosen, torch.Generator().manual_seed(1))
    boxed = asked.given[:, 0]
    assert 0 < boxed.sum() < 64 and not asked.given[:, 1].any()
    assert ((asked.labels == 1).any(1) | boxed).all()
    on = asked.labels == 1
    rows, which = on.nonzero(as_tuple=True)
    at = asked.points[rows, which].long()
    assert mask[rows, 0, at[:, 1], at[:, 0]].all()


def test_losses_are_the_best_masks_and_decided_by_the_batch():
    torch.manual_seed(0)
    recipe, batch = Prompting(PromptableNet("tu-mobilenetv2_035", 8).eval(), config()), squares()
    (one,), (other,) = ([loss.item() for _, loss, _ in recipe.losses(batch)] for _ in range(2))
    assert one == other
    (elsewhere,) = (loss.item() for _, loss, _ in recipe.losses(batch._replace(where=batch.where + 7)))
    assert elsewhere != one
    logits = torch.stack([torch.full((1, 32, 32), 9.0), torch.full((1, 32, 32), -9.0)], 1)
    full, zero = torch.ones(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    terms = recipe._terms(logits, torch.tensor([[1.0, 0.0]]), full, zero - 1)
    assert terms["score"] == 0  # it is right about both
    share = config().loss.all_masks
    apart = (
        recipe._terms(logits[:, :1], torch.tensor([[1.0]]), full, zero - 1)["mask"],
        recipe._terms(logits[:, 1:], torch.tensor([[0.0]]), full, zero - 1)["mask"],
    )
    torch.testing.assert_close(terms["mask"], (1 - share) * apart[0] + share * (apart[0] + apart[1]) / 2)
    assert not list(recipe.losses(batch._replace(mask=batch.mask * 0)))  # nothing to ask about


def test_it_learns_to_find_what_the_prompt_means():
    """Two squares an image: which one is meant, only the prompt says."""
    torch.manual_seed(0)
    network = PromptableNet("tu-mobilenetv2_035", 16)
    recipe = Prompting(network, config(prompts__rounds=1, warmup_epochs=0, learning_rate=0.01))
    ((_, (optimiser, schedule)),) = recipe.optimisers(60).items()
    left, right = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    left[..., 16:44, 4:26], right[..., 16:44, 36:60] = 1, 1
    mask = torch.cat([left, right] * 4)
    image = torch.where((left + right) > 0, -1.5, 1.0).expand(8, 3, -1, -1).contiguous()
    for step in range(40):
        where = torch.arange(8) + 8 * step
        for _, loss, _ in recipe.losses(Batch(image, mask, torch.where(mask > 0, -0.1, 0.1), where)):
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    found = recipe.validate(Batch(image, mask, mask, torch.arange(8)))
    assert found["dice_box"].mean() > 0.85, found  # both squares together would be 0.67


@pytest.mark.slow
def test_resumed_is_as_uninterrupted_and_opens_as_a_promptable(tmp_path):
    write_folder(tmp_path / "data", 24, 1, width=96, height=72)

    def train(folder, stop_after=None, resume=False):
        def after(epoch, value):
            if stop_after is not None and epoch == stop_after:
                raise KeyboardInterrupt

        return train_prompting(
            config(epochs=3, epoch_images=16), tmp_path / "data", folder, cache=tmp_path / "cache", resume=resume,
            accelerator="cpu", say=lambda text: None, after_epoch=after,
        )  # fmt: skip

    whole = train(tmp_path / "whole")
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(tmp_path / "cut", stop_after=1)
    train(tmp_path / "cut", resume=True)
    last = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (tmp_path / "whole", tmp_path / "cut")
    ]
    for key, value in last[0].items():
        torch.testing.assert_close(value, last[1][key], rtol=0, atol=0)
    opened = load_promptable(tmp_path / "whole", "cpu")
    assert "stand-in" in opened.name and best_checkpoint(whole.folder).exists()
