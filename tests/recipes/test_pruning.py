"""The procedure on drawn lesions: steps in order, one taken back, resumed; at its end a run folder like any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("torch_pruning")

from cutis.data.synthetic import write_folder  # noqa: E402
from cutis.errors import CutisError  # noqa: E402
from cutis.files import atomic_write  # noqa: E402
from cutis.pruning.surgery import convolution_of  # noqa: E402
from cutis.recipes import pruning  # noqa: E402
from cutis.recipes.config import SupervisedConfig, load_config  # noqa: E402
from cutis.recipes.folder import begin  # noqa: E402
from cutis.recipes.pruning import Accuracy, Instruments, Latency, prune  # noqa: E402
from cutis.recipes.pruning_config import PruningConfig  # noqa: E402
from cutis.recipes.run import build_network, load_run  # noqa: E402
from cutis.registry import models  # noqa: E402

SMOKE = Path(__file__).parents[2] / "configs" / "sparsesegnet" / "smoke.yaml"
CONFIG = PruningConfig.model_validate(
    {
        "steps": [
            {"kind": "fisher", "blocks": ["encoder.stage2.entry", "encoder.stage2.aggregate"], "keep": 0.75},
            {"kind": "dice_sensitivity", "blocks": ["encoder.stage3.entry"], "keep": 0.5},
            {"kind": "semantic", "blocks": ["decoder.steps.0.refine"], "threshold": 1.0},
        ],
        "multiple": 4,
        "images": 6,
        "hd95_allowance": 0.5,
        "fine_tune": {"epochs": 1, "epoch_images": 8, "phases": [{"start": 0, "size": 32}], "average": None},
        "calibration": 2,
        "rounds": 2,
    }
)


def test_the_configuration_is_the_papers_and_names_blocks_of_the_network():
    config = load_config(SMOKE.with_name("prune.yaml"), {}, PruningConfig)
    assert [step.kind for step in config.steps] == ["fisher", "dice_sensitivity", "semantic"]
    fisher, dice, semantic = config.steps
    assert (fisher.keep, dice.keep, semantic.threshold) == (0.75, 0.5, 0.35)
    network = models.build("sparsesegnet")
    for step, width in zip(config.steps[:2], (96, 192), strict=True):
        assert [convolution_of(network, block).out_channels for block in step.blocks] == [width, width]
    assert all(convolution_of(network, block) for block in semantic.blocks)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    write_folder(folder, 16, seed=5, width=64, height=48)
    return folder


def write_run(folder, **network):
    """A run folder whose weights are those that training would begin with."""
    config = load_config(SMOKE, {"preprocessing.size": "32", "phases": "[{start: 0, size: 32}]"}, SupervisedConfig)
    options = {"widths": [8, 16, 16, 16], "depths": [1, 1, 1, 1], **network}
    config = config.model_copy(update={"network": config.network.model_copy(update={"options": options})})
    begin(folder, config, {"data": {}})
    state = {f"networks.network.{name}": value for name, value in build_network(config).state_dict().items()}
    (folder / "checkpoints").mkdir()
    torch.save({"state_dict": state}, folder / "checkpoints" / "best.ckpt")
    return folder


class Bench:
    """Instruments that answer what they are told, and remember what they were asked."""

    def __init__(self, hd95):
        self.hd95, self.judged, self.timed = list(hd95), [], []

    def instruments(self):
        return Instruments(self.judge, self.quantise, self.time)

    def judge(self, run, samples):
        self.judged.append((run.folder.name, len(samples)))
        return Accuracy(0.9, self.hd95[len(self.judged) - 1])

    def quantise(self, run, training, path):
        atomic_write(path, run.folder.name)

    def time(self, files, rounds):
        assert all(path.is_file() for path in files.values())
        self.timed.append(list(files))
        return {name: Latency(2.0, 1.0) for name in files}


def go(run, drawn, folder, bench, config=CONFIG, resume=False):
    return prune(
        config, run, drawn, folder, instruments=bench.instruments(), teacher=None, cache=drawn.with_name("cache"),
        resume=resume, accelerator="cpu", say=lambda text: None,
    )  # fmt: skip


def test_steps_are_measured_one_is_taken_back_and_the_rest_is_a_run(drawn, tmp_path, monkeypatch):
    run = write_run(tmp_path / "run", gates=0.9)
    load_run(run).network.decoder.steps[0].skip.phi.data[:3] = -1
    bench = Bench([5.0, 9.0, 5.4, 9.0, 6.1, 9.0, 5.9])  # unpruned, then each step cut and tuned: +0.4, +0.7, +0.5
    real, cut_off = pruning.stage, []

    def stage(*arguments):
        if len(cut_off) == 0 and "dice" in str(arguments[3]):
            cut_off.append(1)
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(pruning, "stage", stage)
    with pytest.raises(KeyboardInterrupt):
        go(run, drawn, tmp_path / "pruned", bench)
    assert not (tmp_path / "pruned" / "config.yaml").exists()
    with pytest.raises(CutisError, match="holds a pruning already"):
        go(run, drawn, tmp_path / "pruned", bench)
    with pytest.raises(CutisError, match="begun with another config"):
        go(run, drawn, tmp_path / "pruned", bench, CONFIG.model_copy(update={"multiple": 8}), resume=True)
    rows = go(run, drawn, tmp_path / "pruned", bench, resume=True)

    assert [row.step for row in rows] == ["unpruned", "fisher", "dice_sensitivity", "semantic"]
    assert [row.kept for row in rows] == [True, True, False, True]
    assert [name for name, _ in bench.judged] == ["run", *["pruned", "tuned"] * 3]  # nothing twice
    assert bench.timed == [
        ["unpruned"],
        ["unpruned", "fisher"],
        ["unpruned", "dice_sensitivity"],
        ["unpruned", "semantic"],
    ]
    assert rows[1].channels == {"encoder.stage2.entry": (16, 12), "encoder.stage2.aggregate": (16, 12)}
    assert rows[3].channels == {"decoder.steps.0.refine": (16, 4)}
    assert rows[1].before == Accuracy(0.9, 9.0) and rows[1].after == Accuracy(0.9, 5.4)
    sizes = [row.parameters for row in rows]
    assert sizes[0] > sizes[1] > sizes[2] and sizes[3] < sizes[1]
    assert rows[2].macs < rows[1].macs < rows[0].macs

    made = load_run(tmp_path / "pruned")  # as evaluate and export open it
    encoder = made.network.encoder
    assert (encoder.stage2.entry[0].out_channels, encoder.stage3.entry[0].out_channels) == (12, 16)
    assert made.network.decoder.steps[1].skip.phi.shape == (12,)
    assert sum(p.numel() for p in made.network.parameters()) == rows[3].parameters
    assert [row["kept"] for row in made.facts["pruning"]] == [True, True, False, True]
    tuned = load_run(tmp_path / "pruned" / "steps" / "3-semantic" / "tuned").network.state_dict()
    for name, value in made.network.state_dict().items():
        torch.testing.assert_close(value, tuned[name])
    phi = made.network.decoder.steps[0].skip.phi  # settled: every gate is what it is in evaluation
    assert set(phi.sigmoid().tolist()) <= {0.0, 1.0}


def test_a_step_that_takes_nothing_costs_nothing(drawn, tmp_path):
    run = write_run(tmp_path / "run")
    step = {"kind": "semantic", "blocks": ["decoder.steps.2.refine"], "threshold": -1}
    config = PruningConfig.model_validate(CONFIG.model_dump() | {"steps": [step]})
    bench = Bench([5.0])
    rows = go(run, drawn, tmp_path / "pruned", bench, config)
    assert rows[1].channels == {} and rows[1].kept
    assert rows[1].parameters == rows[0].parameters
    before, after = load_run(run).network.state_dict(), load_run(tmp_path / "pruned").network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_wrong_call_is_one_line(drawn, tmp_path):
    run = write_run(tmp_path / "run")
    for change, reason in (
        ({"steps": [{"kind": "fisher", "blocks": ["encoder.stage9"], "keep": 0.5}]}, "no block 'encoder.stage9'"),
        (
            {"steps": [{"kind": "fisher", "blocks": ["decoder.steps.2.up"], "keep": 0.1}], "multiple": 1},
            "the network's answer",
        ),
        ({"fine_tune": {"epoch": 3}}, "'fine_tune' does not fit the run"),
    ):
        config = PruningConfig.model_validate(CONFIG.model_dump() | change)
        with pytest.raises(CutisError, match=reason):
            go(run, drawn, tmp_path / reason[:9], Bench([5.0, 5.0]), config)
    with pytest.raises(CutisError, match="holds a run: give another --output"):
        go(run, drawn, run, Bench([]))
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert facts == {"data": {}}  # the run that is pruned stays as it was
