"""Classifiers and the cascade: Eq. 7 in a step, honest folds, a frozen symmetry network, stages that go on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("timm")

from cutis.data.class_batches import ClassBatch  # noqa: E402
from cutis.data.labels import LESION_CLASSES, label_indices  # noqa: E402
from cutis.data.splits import crossing  # noqa: E402
from cutis.errors import CutisError  # noqa: E402
from cutis.recipes import cascade, classification  # noqa: E402
from cutis.recipes.cascade_config import CascadeConfig  # noqa: E402
from cutis.recipes.classification import class_parts, load_classifier_run, loss_weights, train_classifier  # noqa: E402
from cutis.recipes.classification_config import ClassificationConfig  # noqa: E402
from cutis.recipes.classifier import Classifier  # noqa: E402
from cutis.recipes.config import load_config  # noqa: E402
from cutis.recipes.symmetry_maps import symmetry_maps  # noqa: E402

CONFIGS = Path(__file__).parents[2] / "configs" / "se-lcn"
SILENT = {"accelerator": "cpu", "say": lambda text: None}


def config_of(name, **fields):
    flags = {key.replace("__", "."): json.dumps(value) for key, value in fields.items()}
    return load_config(CONFIGS / f"{name}-smoke.yaml", flags, ClassificationConfig)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Six lesions of each class, the first of each with two pictures; a class is a colour."""
    folder = tmp_path_factory.mktemp("labelled")
    for part in ("images", "masks"):
        (folder / part).mkdir()
    rng, rows = np.random.default_rng(3), []
    for index, label in enumerate(LESION_CLASSES):
        for lesion, shot in ((0, 0), (0, 1), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0)):
            name = f"{label}_{lesion}_{shot}"
            image, mask = rng.integers(90, 110, (48, 64, 3), np.uint8), np.zeros((48, 64), np.uint8)
            cv2.ellipse(mask, (32, 24), (14, 8 + lesion), 20.0 * lesion, 0, 360, 255, cv2.FILLED)
            colour = cv2.cvtColor(np.uint8([[[index * 25, 200, 150]]]), cv2.COLOR_HSV2BGR)[0, 0]
            image[mask > 0] = colour
            cv2.imwrite(str(folder / "images" / f"{name}.png"), image)
            cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask)
            rows.append([name, f"{label}_{lesion}", label, lesion % 3])
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["id", "group", "label", "symmetry"], *rows])
    return folder


def train(config, data, folder, **keywords):
    settings = {"resume": False, **SILENT, **keywords}
    return train_classifier(config, data, folder, cache=data.with_name("cache"), **settings)


@pytest.fixture(scope="module")
def symmetry(labelled, tmp_path_factory):
    return train(config_of("symmetry"), labelled, tmp_path_factory.mktemp("runs") / "symmetry")


def state_of(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_a_step_is_equation_7(tmp_path):
    """The mean over images of w_y (log sum exp z - z_y), with Eq. 5's weights; no dropout in this network."""
    weights = torch.tensor([0.5, 2.0, 3.0])
    recipe = Classifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)), weights, config_of("lesion"))
    image, label = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(1)), torch.tensor([2, 0, 1, 1])
    ((name, loss, _),) = recipe.losses(ClassBatch(image, label, None, torch.arange(4), 7))
    z = recipe.networks["network"](image).detach().double().numpy()
    by_hand = [
        w * (np.log(np.exp(row).sum()) - row[y]) for row, y, w in zip(z, [2, 0, 1, 1], [3, 0.5, 2, 2], strict=True)
    ]
    assert name == "network"
    assert float(loss.detach()) == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_the_weights_in_the_loss_are_equation_5_or_6_to_a_power():
    labels, config = np.repeat([0, 1], [30, 10]), config_of("symmetry")
    assert loss_weights(config, labels).tolist() == pytest.approx([40 / 60, 2.0])
    assert loss_weights(config.changed(weigh="symmetric"), labels).tolist() == pytest.approx([1.0, 2.0])
    assert loss_weights(config.changed(class_weights=0.0), labels).tolist() == [1.0, 1.0]
    assert loss_weights(config.changed(class_weights=0.5), labels).tolist() == pytest.approx([(2 / 3) ** 0.5, 2**0.5])


def test_the_summary_is_of_all_images_at_once():
    recipe = Classifier(torch.nn.Identity(), torch.ones(2), config_of("symmetry"))
    logits = torch.tensor([[2.0, 1.0]] * 3 + [[1.0, 2.0]] * 3)
    summary = recipe.summarise({"logits": logits, "label": torch.tensor([[0], [0], [1], [1], [1], [0]])})
    assert float(summary["accuracy"]) == pytest.approx(4 / 6)
    assert float(summary["balanced_accuracy"]) == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_dropout_follows_the_batch_and_leaves_the_random_state_alone():
    recipe = Classifier(
        torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Flatten()), torch.ones(12), config_of("lesion")
    )
    batch = ClassBatch(torch.rand(2, 3, 2, 2), torch.tensor([3, 4]), None, torch.arange(2), 5)
    before = torch.random.get_rng_state()
    one, two, three = (next(iter(recipe.losses(batch._replace(seed=seed))))[1] for seed in (5, 5, 6))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("grouping", ["lesion", "image"])
def test_folds_hold_out_each_image_once_and_share_the_test_part(labelled, grouping):
    config = config_of("lesion", split__grouping=grouping)
    folds = [class_parts(config.changed(split=config.split.model_dump() | {"fold": fold}), labelled) for fold in (0, 1)]
    assert folds[0]["test"] == folds[1]["test"]
    held = [sample.id for parts in folds for sample in parts["validation"]]
    assert len(held) == len(set(held)) == 49 - len(folds[0]["test"])
    assert all({s.id for s in p["train"]}.isdisjoint(s.id for s in p["validation"]) for p in folds)
    for parts in folds:
        for part in ("train", "validation"):  # stratified; the test part goes by names alone
            counts = np.bincount(label_indices(parts[part], "lesion_class", LESION_CLASSES), minlength=7)
            assert counts.max() - counts.min() <= 2
            assert counts.min() > 0
        assert bool(crossing(parts)) is (grouping == "image")  # the groups of the samples are the lesions' in both


def test_a_fold_without_a_class_is_named(labelled):
    """Six lesions of a class cannot be in each of seven folds."""
    config = config_of("lesion", split__count=7, split__test=0.0)
    split = config.split.model_dump()
    refused = []
    for fold in range(7):
        try:
            class_parts(config.changed(split=split | {"fold": fold}), labelled)
        except CutisError as error:
            refused.append(str(error))
    assert refused
    assert all(text.startswith("the validation part has no image of ") for text in refused)
    assert all(text.endswith("take fewer folds, another seed or share, more data") for text in refused)


def test_an_unknown_class_is_named_or_left_out(labelled):
    two = config_of("lesion").model_copy(update={"network": config_of("symmetry").network})
    with pytest.raises(CutisError, match=r"has the class 'akiec'; the network knows benign, malignant"):
        class_parts(two, labelled)
    with pytest.raises(CutisError, match="the train part has no image of df, mel"):
        class_parts(config_of("lesion", leave_out=["df", "mel"]), labelled)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"network__options": {"backbone": "x", "classes": 4}}, "has 7, 2 classes"),
        ({"network__options": {"classes": 7}}, "name the network's trunk"),
        ({"split__fold": 2}, "fold 2 of 2"),
        ({"weigh": "symmetric"}, "Eq. 6 is of the two classes"),
        ({"masking": "box"}, "'none', 'segmentation' or 'lae'"),
    ],
)
def test_a_wrong_field_is_named(fields, said):
    with pytest.raises(CutisError, match=said):
        config_of("lesion", **fields)


def test_the_symmetry_run_is_asked_for_where_its_map_is_taken(labelled, symmetry, tmp_path):
    with pytest.raises(CutisError, match="give its run with --symmetry"):
        train(config_of("lesion"), labelled, tmp_path / "a")
    with pytest.raises(CutisError, match="takes no map: leave --symmetry out"):
        train(config_of("symmetry"), labelled, tmp_path / "a", symmetry=symmetry.folder)
    with pytest.raises(CutisError, match="is of the task symmetry, not lesion_class"):
        classification.train_from_file(
            "lesion_class", CONFIGS / "symmetry-smoke.yaml", [], labelled, tmp_path, weights=None, devices="1"
        )


def test_the_best_epoch_is_that_of_the_best_balanced_accuracy(symmetry, labelled):
    lines = (symmetry.folder / "logs" / "start_0" / "metrics.csv").read_text(encoding="utf-8").splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    logged = [float(row["validation/balanced_accuracy"]) for row in rows if row["validation/balanced_accuracy"]]
    assert len(logged) == 2
    parts = class_parts(symmetry.config, labelled)
    from cutis.imaging.lesion_area import prepare_classifier_image
    from cutis.imaging.read import read_image, read_mask

    truth, answers = label_indices(parts["validation"], "symmetry", symmetry.classes), []
    for sample in parts["validation"]:
        square = prepare_classifier_image(
            read_image(sample.image).pixels, read_mask(sample.mask), symmetry.preprocessing, symmetry.masking
        )
        steps = symmetry.preprocessing
        image = torch.from_numpy((square / 255.0 - steps.mean) / steps.std).permute(2, 0, 1)[None].float()
        with torch.inference_mode():
            answers.append(int(symmetry.network(image).argmax()))
    recalls = [np.mean(np.array(answers)[truth == label] == label) for label in (0, 1)]
    assert max(logged) == pytest.approx(np.mean(recalls))


def test_the_lesion_network_learns_on_frozen_maps_and_an_interrupted_run_ends_the_same(
    labelled, symmetry, tmp_path, monkeypatch
):
    checkpoint = symmetry.folder / "checkpoints" / "best.ckpt"
    before, config = checkpoint.read_bytes(), config_of("lesion")
    whole = train(config, labelled, tmp_path / "whole", symmetry=symmetry.folder)
    assert whole.classes == LESION_CLASSES
    assert whole.facts["symmetry"]["folder"] == str(symmetry.folder)
    real, calls = Classifier.losses, []

    def cut_off(self, batch):
        calls.append(1)
        if len(calls) == 2 + 2:  # in the middle of the second epoch
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(Classifier, "losses", cut_off)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(config, labelled, tmp_path / "cut", symmetry=symmetry.folder)
    monkeypatch.setattr(Classifier, "losses", real)
    train(config, labelled, tmp_path / "cut", symmetry=symmetry.folder, resume=True)
    ours, theirs = state_of(tmp_path / "cut"), state_of(whole.folder)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-5, msg=name)
    assert checkpoint.read_bytes() == before  # frozen: bit by bit
    again = load_classifier_run(symmetry.folder).network.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in symmetry.network.state_dict().items())
    with pytest.raises(CutisError, match="trained on other images"):
        train(
            config.changed(split=config.split.model_dump() | {"seed": 5}), labelled, whole.folder,
            symmetry=symmetry.folder, resume=True,
        )  # fmt: skip


def test_maps_are_made_once_and_an_image_without_lesion_has_an_empty_one(labelled, symmetry, tmp_path):
    from dataclasses import replace

    from cutis.data.catalogue import open_dataset

    empty = tmp_path / "empty.png"
    cv2.imwrite(str(empty), np.zeros((48, 64), np.uint8))
    samples = list(open_dataset(labelled, "folder"))[:3]
    samples[1] = replace(samples[1], mask=empty)
    maps = symmetry_maps(samples, symmetry, tmp_path / "cache")
    assert maps.shape == (3, 3, 3)
    assert not maps[1].any()
    assert 0 <= maps.min() <= maps.max() <= 1
    kept = symmetry_maps(samples, symmetry, tmp_path / "cache", lambda done, total: pytest.fail("made twice"))
    assert (kept == maps).all()


@pytest.fixture(scope="module")
def cascade_config():
    return load_config(CONFIGS / "cascade-smoke.yaml", {}, CascadeConfig)


def test_the_cascade_goes_on_between_and_within_stages(labelled, cascade_config, tmp_path, monkeypatch):
    folder, said = tmp_path / "cascade", []
    settings = {"cache": labelled.with_name("cache"), "accelerator": "cpu", "say": said.append}
    real = Classifier.losses

    def cut_off(self, batch):
        if self.config.task == "lesion_class":
            raise KeyboardInterrupt
        return real(self, batch)

    with pytest.raises(CutisError, match="nothing to resume"):
        cascade.train_cascade(cascade_config, labelled, folder, resume=True, **settings)
    monkeypatch.setattr(Classifier, "losses", cut_off)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        cascade.train_cascade(cascade_config, labelled, folder, resume=False, **settings)
    monkeypatch.setattr(Classifier, "losses", real)
    done = {name: (folder / name / "checkpoints" / "best.ckpt").read_bytes() for name in ("segmenter", "symmetry")}
    with pytest.raises(CutisError, match="holds a cascade already"):
        cascade.train_cascade(cascade_config, labelled, folder, resume=False, **settings)
    other = cascade_config.model_copy(update={"name": "other"})
    with pytest.raises(CutisError, match="begun with another configuration"):
        cascade.train_cascade(other, labelled, folder, resume=True, **settings)
    said.clear()
    runs = cascade.train_cascade(cascade_config, labelled, folder, resume=True, **settings)
    assert [line for line in said if "trained already" in line or line.endswith(("begins", "goes on"))] == [
        "segmenter: trained already", "symmetry: trained already", "lesion: begins",
    ]  # fmt: skip
    assert {n: (folder / n / "checkpoints" / "best.ckpt").read_bytes() for n in done} == done
    facts = yaml.safe_load((folder / "symmetry" / "run.json").read_text(encoding="utf-8"))
    assert facts["segmenter"]["folder"] == str(folder / "segmenter")
    assert runs.lesion.facts["symmetry"]["folder"] == str(runs.symmetry.folder)
    (folder / "symmetry" / "checkpoints" / "best.ckpt").write_bytes(b"another")
    with pytest.raises(CutisError, match="its checkpoint is another than then"):
        cascade.train_cascade(cascade_config, labelled, folder, resume=True, **settings)


def test_a_cascade_needs_a_segmenter(labelled, cascade_config, tmp_path):
    with pytest.raises(CutisError, match="no segmenter: give a trained one with --segmenter"):
        cascade.train_cascade(
            cascade_config.model_copy(update={"segmenter": None}), labelled, tmp_path, cache=tmp_path, resume=False
        )
