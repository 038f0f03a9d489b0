"""SimCLR: two views a picture, the encoder alone learns, its weights begin other runs, resuming is exact."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

sys.path.insert(0, str(Path(__file__).parents[1] / "mining"))
from mining_toy import Dark, drawn  # noqa: E402

from cutis.data.batches import Key, SegmentationSet  # noqa: E402
from cutis.data.pair_batches import PairSet  # noqa: E402
from cutis.data.synthetic import write_folder  # noqa: E402
from cutis.errors import CutisError  # noqa: E402
from cutis.recipes.config import load_config  # noqa: E402
from cutis.recipes.contrastive import Contrastive, encoded  # noqa: E402
from cutis.recipes.contrastive_config import ContrastiveConfig  # noqa: E402
from cutis.recipes.contrastive_run import train_contrastive  # noqa: E402
from cutis.recipes.folder import build  # noqa: E402
from cutis.recipes.knowledge_mining_config import KnowledgeMiningConfig  # noqa: E402
from cutis.recipes.knowledge_mining_run import train_knowledge_mining  # noqa: E402
from cutis.recipes.run import build_network, load_run, load_segmenter  # noqa: E402

CONFIGS = Path(__file__).parents[2] / "configs" / "knowledge-mining"
TINY = {
    "preprocessing.size": "32", "network.options": "{widths: [4, 8, 8, 8], depths: [1, 1, 1, 1]}", "batch_size": "4",
    "epoch_images": "8", "epochs": "2",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    write_folder(folder, 16, 3, width=48, height=36)
    for mask in sorted((folder / "masks").iterdir())[:3]:
        mask.unlink()  # no label is needed to learn from a picture, nor looked at
    return folder


def config(**changes):
    named = {name.replace("__", "."): str(value) for name, value in changes.items()}
    return load_config(CONFIGS / "simclr-smoke.yaml", TINY | named, ContrastiveConfig)


def train(data, folder, settings, **rest):
    rest = {"cache": data / "cache", "resume": False, "accelerator": "cpu", "say": lambda text: None} | rest
    return train_contrastive(settings, data, folder, **rest)


def test_both_views_are_of_the_same_picture_and_decided_by_the_key(tmp_path):
    settings, cache = config(), drawn(tmp_path, 4)
    pairs = PairSet(SegmentationSet(cache, settings.preprocessing, settings.augmentation))
    batch = pairs.collate([pairs[Key(i, 32, 7 + i)] for i in range(4)])
    again = pairs.collate([pairs[Key(i, 32, 7 + i)] for i in range(4)])
    other = pairs.collate([pairs[Key(i, 32, 99 + i)] for i in range(4)])
    assert batch.image.shape == batch.other.shape == (4, 3, 32, 32) and batch.where.tolist() == [0, 1, 2, 3]
    assert torch.equal(batch.image, again.image) and torch.equal(batch.other, again.other)
    assert not torch.equal(batch.image, batch.other) and not torch.equal(batch.image, other.image)
    fixed = [pairs[Key(2, 32, -1)] for _ in range(2)]
    assert (fixed[0][0][0] == fixed[1][0][0]).all() and (fixed[0][0][0] != fixed[0][1][0]).any()


def test_only_the_encoder_and_the_projection_learn():
    recipe = Contrastive(build_network(config()), config())
    recipe.networks.train()
    before = {name: value.clone() for name, value in recipe.networks.named_parameters()}
    optimiser, _ = recipe.optimisers(4)["network"]
    batch = type("Pairs", (), {"image": torch.randn(4, 3, 32, 32), "other": torch.randn(4, 3, 32, 32)})()
    ((_, loss, terms),) = recipe.losses(batch)
    loss.backward()
    optimiser.step()
    moved = {name.split(".")[1] for name, value in recipe.networks.named_parameters() if not value.equal(before[name])}
    assert moved == {"encoder", "0", "2"} and 0 <= terms["matched"] <= 1


def test_the_encoders_of_the_librarys_networks_can_be_trained_and_what_has_none_is_said():
    unet = build(config(network__name="unet", network__options="{encoder: tu-test_resnet}").network, 0).eval()
    with torch.no_grad():
        assert encoded(unet, torch.zeros(2, 3, 64, 64)).ndim == 2
    slsnet = "{multiscale: true, position: true, channel: true, dropout: 0.1}"
    for name, options in [("slsnet", slsnet), ("fcn", "{}")]:
        with pytest.raises(CutisError, match="has no part 'encoder'"):
            Contrastive(build(config(network__name=name, network__options=options).network, 0), config())


def test_resumed_equals_uninterrupted_and_starts_a_mining_run(data, tmp_path):
    whole = train(data, tmp_path / "whole", config())

    class CutError(Exception):
        pass

    def cut(epoch, value):
        if epoch == 1:
            raise CutError

    with pytest.raises(CutError):
        train(data, tmp_path / "cut", config(), after_epoch=cut)
    again = train(data, tmp_path / "cut", config(), resume=True)
    for one, other in zip(whole.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(one, other)

    small = TINY | {"mining.epoch_images": "8", "mining.unlabelled_batch": "2", "epochs": "1", "mining.epochs": "1"}
    mining = load_config(CONFIGS / "smoke.yaml", small | {"learning_rate": "1e-30"}, KnowledgeMiningConfig)
    train_knowledge_mining(
        mining, data, tmp_path / "mined", cache=data / "cache", resume=False, teacher=Dark(), accelerator="cpu",
        start=tmp_path / "whole", say=lambda text: None,
    )  # fmt: skip
    first = load_run(tmp_path / "mined" / "supervised")  # nothing was learned in it: the weights it began with
    begun = dict(first.network.named_parameters())
    fresh = dict(build_network(first.config).named_parameters())
    for name, value in whole.network.named_parameters():
        torch.testing.assert_close(begun[name], value if name.startswith("encoder") else fresh[name])


def test_a_run_without_masks_is_no_segmenter(tmp_path):
    for recipe, words in (("contrastive", "an encoder and no masks"), ("prompting", "cutis evaluate-prompts")):
        (tmp_path / "config.yaml").write_text(f"recipe: {recipe}\n")
        with pytest.raises(CutisError, match=words):
            load_segmenter(tmp_path)
    (tmp_path / "config.yaml").write_text("task: symmetry\n")
    with pytest.raises(CutisError, match="run of task symmetry: give a segmenter's"):
        load_segmenter(tmp_path)


def test_weights_that_do_not_fit_are_said(data, tmp_path):
    train(data, tmp_path / "run", config(epochs=1))
    wide = config(network__options="{widths: [4, 8, 8, 16], depths: [1, 1, 1, 1]}")
    with pytest.raises(CutisError, match="holds another network"):
        train(data, tmp_path / "wide", wide, start=tmp_path / "run")
