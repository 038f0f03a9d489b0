"""The composite loss: every term on and off, what learns from what, repeatable runs, runs that open like any other."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from cutis.cli import app  # noqa: E402
from cutis.data.batches import Batch  # noqa: E402
from cutis.data.synthetic import write_folder  # noqa: E402
from cutis.data.taught_batches import DistillationBatch, Taught  # noqa: E402
from cutis.errors import CutisError  # noqa: E402
from cutis.evaluation.tables import read_rows  # noqa: E402
from cutis.layers.effu import gates_of, reinforce  # noqa: E402
from cutis.losses.boundary_error import boundary_error  # noqa: E402
from cutis.recipes import distillation  # noqa: E402
from cutis.recipes.config import load_config  # noqa: E402
from cutis.recipes.distillation import Distillation  # noqa: E402
from cutis.recipes.distillation_config import DistillationConfig, TeacherChoice  # noqa: E402
from cutis.recipes.distillation_run import train_distillation, train_distillation_from_file  # noqa: E402
from cutis.recipes.folder import build, digest  # noqa: E402
from cutis.recipes.run import load_run, parts_of, train_supervised  # noqa: E402
from cutis.recipes.teaching import Kept, teach  # noqa: E402

CONFIGS = Path(__file__).parents[2] / "configs" / "sparsesegnet"
SMOKE = CONFIGS / "distillation-smoke.yaml"
ALL = {"dice", "boundary", "ag_op", "padd", "effu", "reinforce"}
TOLD = {
    "agreement_share", "teachers_cosine", "first_norm", "second_norm", "student_norm", "boundary_error",
    "open_gates_0", "open_gates_1", "open_gates_2",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def smoke(**changes: str) -> DistillationConfig:
    return load_config(SMOKE, {key.replace("__", "."): value for key, value in changes.items()}, DistillationConfig)


def off(*names: str) -> dict[str, str]:
    return {f"loss__{name}": "0" for name in names}


def recipe_of(config: DistillationConfig, channels: int | None = 6) -> Distillation:
    made = Distillation(build(config.network, config.seed), config, channels=channels)
    made.networks.train()
    return made


def a_batch(channels: int = 6) -> DistillationBatch:
    generator = torch.Generator().manual_seed(5)
    mask = torch.zeros(4, 1, 64, 64)
    mask[:, :, 16:48, 20:44] = 1
    distance = torch.where(mask > 0, -0.05, 0.05)
    taught = [Taught(torch.zeros(4, 1, 4, 4), torch.randn(4, channels, 4, 4, generator=generator)) for _ in range(2)]
    return DistillationBatch(torch.randn(4, 3, 64, 64, generator=generator), mask, distance, torch.arange(4), *taught)


def only(recipe: Distillation, batch: Batch | DistillationBatch):
    ((name, loss, terms),) = recipe.losses(batch)
    assert name == "network"
    return loss, terms


def test_the_loss_is_the_weighted_sum_of_its_terms():
    config = smoke()
    loss, terms = only(recipe_of(config), a_batch())
    assert set(terms) == ALL | TOLD
    expected = sum(getattr(config.loss, name) * terms[name] for name in ALL)
    torch.testing.assert_close(loss, expected)
    assert terms["agreement_share"] > 0 and terms["ag_op"] > 0 and terms["padd"] > 0
    assert terms["open_gates_0"] + terms["open_gates_1"] + terms["open_gates_2"] == 24 + 16 + 8


@pytest.mark.parametrize(
    ("changes", "gone", "unused"),
    [
        (
            off("ag_op"),
            {"ag_op", *[name for name in TOLD if "norm" in name], "agreement_share", "teachers_cosine"},
            "ag_op",
        ),
        (off("padd"), {"padd"}, "padd_loss"),
        (off("effu"), {"effu"}, "gate_sparsity"),
        (off("boundary"), {"boundary"}, None),
    ],
)  # fmt: skip
def test_a_term_of_weight_0_is_not_computed(monkeypatch, changes, gone, unused):
    if unused:
        monkeypatch.setattr(distillation, unused, None)  # calling it would raise
    _, terms = only(recipe_of(smoke(**changes)), a_batch())
    assert set(terms) == (ALL | TOLD) - gone


def test_without_gates_teachers_and_padd_it_is_the_supervised_loss():
    config = smoke(**off("ag_op", "padd", "effu", "reinforce"), network__options__gates="null")
    ours = recipe_of(config, channels=None)
    assert set(ours.networks) == {"network", "steps"}
    batch = Batch(*a_batch()[:4])
    loss, terms = only(ours, batch)
    assert set(terms) == {"dice", "boundary"}
    torch.testing.assert_close(loss, terms["dice"] + 0.2 * terms["boundary"])


def test_the_projection_grows_from_nothing_and_leaves_the_encoder_to_dice_at_first():
    """AG-OP's first gradient is the projection's alone; after one update it reaches the encoder too."""
    ours, batch = recipe_of(smoke(**off("padd"))), a_batch()
    encoder = list(ours.networks["network"].encoder.parameters())

    def gradients() -> list[torch.Tensor]:
        _, terms = only(ours, batch)
        wanted = [ours.networks["projection"].weight, *encoder]
        return list(torch.autograd.grad(terms["ag_op"], wanted, allow_unused=True, materialize_grads=True))

    first = gradients()
    assert first[0].any() and not any(gradient.any() for gradient in first[1:])
    with torch.no_grad():
        ours.networks["projection"].weight -= 0.01 * first[0]
    assert any(gradient.any() for gradient in gradients()[1:])


@pytest.mark.parametrize("baseline", ["0.9", "rival"])
def test_the_gates_learn_from_reinforce_and_sparsity_alone(baseline):
    ours = recipe_of(smoke(gates__baseline=baseline))
    _, terms = only(ours, a_batch())
    phi = [gate.phi for gate in ours.gates]
    for name in ("dice", "boundary", "ag_op"):
        found = torch.autograd.grad(terms[name], phi, allow_unused=True, retain_graph=True)
        assert all(gradient is None for gradient in found)
    for name in ("effu", "reinforce"):
        assert all(gradient.any() for gradient in torch.autograd.grad(terms[name], phi, retain_graph=True))
    weights = [p for p in ours.networks["network"].parameters() if all(p is not own for own in phi)]
    for name in ("effu", "reinforce"):
        assert all(g is None for g in torch.autograd.grad(terms[name], weights, allow_unused=True, retain_graph=True))


def test_the_moving_baseline_and_the_first_patterns_are_what_is_judged(monkeypatch):
    """PADD's pass draws new patterns; Eq. 4 must be of those that gave the error."""
    seen = []

    def spy(error, baseline, likelihood):
        seen.append((error, float(baseline), likelihood))
        return reinforce(error, baseline, likelihood)

    monkeypatch.setattr(distillation, "reinforce", spy)
    ours, batch = recipe_of(smoke()), a_batch()
    patterns = []
    decode = ours.networks["network"].decode

    def decoding(maps):
        logits = decode(maps)
        patterns.append((logits.detach(), [gate.pattern for gate in ours.gates]))
        return logits

    monkeypatch.setattr(ours.networks["network"], "decode", decoding)
    only(ours, batch)
    assert len(patterns) == 2  # the student's and PADD's
    error, baseline, likelihood = seen[0]
    torch.testing.assert_close(error, boundary_error(patterns[0][0], batch.mask, batch.distance, band=0.125))
    wanted = torch.zeros(4)
    for gate, pattern in zip(ours.gates, patterns[0][1], strict=True):
        p = gate.probabilities().detach()
        wanted += (pattern * p.log() + (1 - pattern) * (1 - p).log()).sum(1)
    torch.testing.assert_close(likelihood.detach(), wanted)
    assert baseline == pytest.approx(float(error.mean()))
    only(ours, batch)
    assert seen[1][1] == pytest.approx(float(error.mean()), rel=1e-5)  # what was there before the second batch


def test_randomness_is_the_steps_and_torchs_own_is_left_alone():
    first, second, batch = recipe_of(smoke()), recipe_of(smoke()), a_batch()
    before = torch.random.get_rng_state()
    one = [only(first, batch)[0].item() for _ in range(3)]
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(7)
    assert [only(second, batch)[0].item() for _ in range(3)] == one
    assert len(set(one)) == 3


def test_phi_has_its_own_rate_and_no_decay():
    ours = recipe_of(smoke())
    optimiser, _ = ours.optimisers(10)["network"]
    groups = {id(p): group for group in optimiser.param_groups for p in group["params"]}
    assert len(groups) == len(list(ours.networks.parameters()))
    for gate in ours.gates:
        assert groups[id(gate.phi)]["initial_lr"] == 0.05 and groups[id(gate.phi)]["weight_decay"] == 0
    assert groups[id(ours.networks["projection"].weight)]["weight_decay"] == 1e-4


def test_fields_that_do_not_go_together_are_named():
    with pytest.raises(CutisError, match=r"are of gates: give network\.options\.gates"):
        smoke(network__options__gates="null")
    with pytest.raises(CutisError, match="no gate would learn"):
        smoke(**off("reinforce"))
    with pytest.raises(CutisError, match="Conv2d has no embedding to distil into"):
        distillation.embedding_of(torch.nn.Conv2d(3, 1, 1))


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> tuple[Path, Path, dict[str, Path]]:
    """Drawn lesions, the folder of decoded images, and the caches of two small networks that were trained on them."""
    home = tmp_path_factory.mktemp("taught")
    data, cache, teachers = home / "data", home / "cache", {}
    write_folder(data, 24, 2, width=96, height=72)
    config = smoke()
    for seed, name in enumerate(("first", "second")):
        values = {**yaml.safe_load((CONFIGS / "smoke.yaml").read_text()), "seed": seed, "name": name}
        values |= {"epochs": 1, "epoch_images": 8, "phases": [{"start": 0, "size": 64}], "warmup_epochs": 0}
        values["split"] = config.split.model_dump()
        (home / f"{name}.yaml").write_text(yaml.safe_dump(values))
        run = home / name
        train_supervised(
            load_config(home / f"{name}.yaml", {}), data, run, cache=cache, resume=False, accelerator="cpu",
            say=lambda text: None,
        )  # fmt: skip
        made = teach(
            TeacherChoice(kind=str(run), layer="encoder.stage4"), config, data, Kept(4, 6, 8, teachers.get("first")),
            output=home / f"{name}-cache", cache=cache, batch=8, device="cpu", say=lambda text: None,
        )  # fmt: skip
        assert made is not None
        teachers[name] = made.home
    return data, cache, teachers


def train(taught, folder: Path, *, resume: bool = False, epochs: int = 2, **changes: str):
    data, cache, teachers = taught
    config = smoke(**changes).model_copy(update={"epochs": epochs})
    config = config.model_copy(update={"teachers": config.teachers.model_copy(update=teachers)})
    return train_distillation(
        config, data, folder, cache=cache, resume=resume, accelerator="cpu", say=lambda text: None
    )


@pytest.fixture(scope="module")
def run(taught, tmp_path_factory):
    return train(taught, tmp_path_factory.mktemp("run") / "whole")


def test_a_run_opens_like_any_other_and_tells_its_teachers(run, taught, tmp_path):
    data, _, _ = taught
    opened = load_run(run.folder)
    assert isinstance(opened.config, DistillationConfig) and len(gates_of(opened.network)) == 3
    facts = json.loads((run.folder / "run.json").read_text())
    assert set(facts["teachers"]) == {"first", "second"} and 0 <= facts["teachers"]["first"]["dice"] <= 1
    state = torch.load(run.folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert state["networks.projection.weight"].shape == (6, 24, 1, 1) and "networks.baseline.average" in state
    words = ["evaluate", str(run.folder), "--data", str(data), "--output", str(tmp_path / "e")]
    assert app(words, result_action="return_value") == 0
    wanted = {sample.id for sample in parts_of(run.config, data)["test"]}
    assert wanted and {row.id for row in read_rows(tmp_path / "e" / "rows.csv")} == wanted


@pytest.mark.slow
def test_export_takes_it_unchanged(run, taught, tmp_path):
    data, _, _ = taught
    words = ["export", str(run.folder), "--output", str(tmp_path), "--data", str(data), "--calibration", "8"]
    assert app(words, result_action="return_value") == 0
    assert len(list(tmp_path.glob("*.onnx"))) == 2


def test_a_resumed_run_equals_one_that_was_never_cut_off(run, taught, tmp_path):
    class CutOffError(Exception):
        pass

    def cut(epoch: int, value: float) -> None:
        if epoch == 1:
            raise CutOffError

    data, cache, _ = taught
    config = run.config
    with pytest.raises(CutOffError):
        train_distillation(
            config, data, tmp_path / "r", cache=cache, resume=False, accelerator="cpu", say=lambda text: None,
            after_epoch=cut,
        )  # fmt: skip
    again = train_distillation(
        config, data, tmp_path / "r", cache=cache, resume=True, accelerator="cpu", say=lambda text: None
    )
    for name, value in run.network.state_dict().items():
        torch.testing.assert_close(again.network.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.slow
def test_teachers_stay_as_they_are(run, taught, tmp_path):
    _, _, teachers = taught
    untouched = {name: digest(home / "logits.npy") for name, home in teachers.items()}
    train(taught, tmp_path / "again", epochs=1)
    facts = json.loads((run.folder / "run.json").read_text())["teachers"]
    for name, home in teachers.items():
        manifest = json.loads((home / "manifest.json").read_text())
        assert facts[name]["fingerprint"] == manifest["fingerprint"]
        assert np.isfinite(np.load(home / "dice.npy")).all()
        assert digest(home / "logits.npy") == untouched[name]


def test_missing_and_strange_teachers_are_refused_by_name(taught, tmp_path):
    data, cache, teachers = taught
    options = {"cache": cache, "resume": False, "start": None, "devices": "1", "nodes": 1, "accelerator": "cpu"}

    def start(*fields: str, first: Path | None = teachers["first"], second: Path | None = teachers["second"]):
        train_distillation_from_file(SMOKE, fields, data, tmp_path / "x", first=first, second=second, **options)

    with pytest.raises(CutisError, match="there is no second teacher: make its cache with 'cutis teach'"):
        start(second=None)
    with pytest.raises(CutisError, match="another image set"):
        start("--split.seed", "7")
    with pytest.raises(CutisError, match="not a teacher's cache"):
        start(first=tmp_path)
    assert not (tmp_path / "x").exists()


def test_gates_close_where_they_cost_more_than_they_bring():
    """A network that nothing trains, whose gates cost much: they close, one seed as another."""
    config = smoke(**off("ag_op", "padd"), loss__effu="50.0", gates__learning_rate="0.3")
    ours, batch = recipe_of(config, None), Batch(*a_batch()[:4])
    (optimiser, schedule) = ours.optimisers(40)["network"]
    for _ in range(40):
        loss, terms = only(ours, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    assert sum(float(terms[f"open_gates_{i}"]) for i in range(3)) < 5
    assert math.isfinite(float(loss))
