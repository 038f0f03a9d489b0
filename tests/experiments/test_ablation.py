"""SparseSegNet's experiment on drawn lesions: what each row changes, run, cut off, gone on with, printed, refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from cutis.analysis.pipeline import predict_mask  # noqa: E402
from cutis.benchmark.pruning import instruments  # noqa: E402
from cutis.cli import app  # noqa: E402
from cutis.data.samples import Sample  # noqa: E402
from cutis.data.synthetic import write_folder  # noqa: E402
from cutis.errors import CutisError  # noqa: E402
from cutis.evaluation.tables import read_rows  # noqa: E402
from cutis.evaluation.verb import of_run  # noqa: E402
from cutis.experiments.ablation import AblationPlace, finished, run_ablation  # noqa: E402
from cutis.experiments.ablation_plan import (  # noqa: E402
    OWN_ROWS,
    PARTS,
    RESCORED,
    ROWS,
    UNPRUNED,
    AblationConfig,
    home_of,
    job_config,
    jobs_of,
    pruning_of,
    removed,
    tuples_of,
)
from cutis.experiments.ablation_verb import impossible, show_sparsesegnet_tables  # noqa: E402
from cutis.experiments.paper import sparsesegnet_tables  # noqa: E402
from cutis.files import atomic_write  # noqa: E402
from cutis.layers.effu import gates_of  # noqa: E402
from cutis.recipes.config import load_config  # noqa: E402
from cutis.recipes.pruning import Instruments, Latency  # noqa: E402
from cutis.recipes.run import Run, load_run, parts_of, train_supervised  # noqa: E402

CONFIGS = Path(__file__).parents[2] / "configs" / "sparsesegnet"
FILES = sorted(CONFIGS.glob("experiment*.yaml"))


def smoke(**changes: str) -> AblationConfig:
    return load_config(CONFIGS / "experiment-smoke.yaml", changes, AblationConfig)


def test_every_configuration_is_valid_and_its_base_has_the_papers_weights():
    assert len(FILES) == 3
    for path in FILES:
        config = load_config(path, {}, AblationConfig)
        loss = config.base.loss
        assert (loss.dice, loss.boundary, loss.ag_op, loss.padd, loss.effu) == (1, 0.2, 1.0, 0.1, 0.01)
        assert path.read_text(encoding="utf-8").startswith("# cutis experiment sparsesegnet --config ")
    whole = load_config(CONFIGS / "experiment.yaml", {}, AblationConfig)
    assert whole.rows == ROWS and len(ROWS) == 12
    small = load_config(CONFIGS / "experiment-small.yaml", {}, AblationConfig)
    assert small.rows == ("full", "-ag_op", "-effu", "-semantic", "-boundary", "vanilla", "-pruning", "eq2-decoder")
    assert len(small.seeds) == 3 and small.base.preprocessing.size >= 128


def test_a_row_changes_what_it_names_and_nothing_else():
    config = load_config(CONFIGS / "experiment.yaml", {"stages": "[ablation]", "seeds": "[1]"}, AblationConfig)
    jobs = {job.name: job for job in jobs_of(config)}
    full = job_config(config, jobs["full"]).model_dump(exclude={"name"})
    assert full == config.base.model_dump(exclude={"name"}) | {"seed": 1}
    expected = {
        "ag_op": {"loss.ag_op": 0}, "boundary": {"loss.boundary": 0}, "padd": {"loss.padd": 0},
        "r_effu": {"loss.effu": 0}, "semantic": {},
        "effu": {"loss.effu": 0, "loss.reinforce": 0, "network.options.gates": None},
    }  # fmt: skip
    for row in ROWS:
        wanted = {k: v for part in removed(row) for k, v in expected[part].items()}
        if row == "vanilla":
            wanted["loss.cross_entropy"] = 1
        found = flat(job_config(config, jobs[row]).model_dump(exclude={"name"}))
        before = flat(full)
        assert {k: found.get(k) for k in before if found.get(k) != before[k]} == wanted, row
        kinds = [step.kind for step in steps.steps] if (steps := pruning_of(config, row)) else []
        all_kinds = ["fisher", "dice_sensitivity", "semantic"]
        gone = all_kinds if row == "vanilla" else ["semantic"] if "-semantic" in row else []
        assert kinds == [kind for kind in all_kinds if kind not in gone], row
    assert set(removed("vanilla")) == set(PARTS)


def test_rows_that_differ_in_pruning_alone_share_a_training():
    config = load_config(
        CONFIGS / "experiment-small.yaml", {"stages": "[ablation]", "seeds": "[1]", "rows": str([*ROWS, *OWN_ROWS])},
        AblationConfig,
    )  # fmt: skip
    shared = {job.name: job.training.name for job in jobs_of(config) if job.training != job}
    assert shared["-semantic"] == shared[UNPRUNED] == shared[RESCORED] == "full"
    assert all("-semantic" in name or name in OWN_ROWS for name in shared)
    for job in jobs_of(config):
        own, other = (job_config(config, one).model_dump(exclude={"name"}) for one in (job, job.training))
        assert own == other
    assert pruning_of(config, UNPRUNED) is None and pruning_of(config, "full") == config.pruning
    ours = pruning_of(config, RESCORED)
    assert ours and ours.steps == (*config.pruning.steps[:2], config.instead)


def flat(values: dict, prefix: str = "") -> dict:
    found = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def test_the_printed_tuples_come_first_and_the_grid_has_256():
    search = load_config(CONFIGS / "experiment.yaml", {}, AblationConfig).search
    tuples = tuples_of(search)
    assert len(tuples) == len(set(tuples)) == 259  # of the printed four only one lies on the grid of 256
    assert tuples[1] == (0.2, 1.0, 0.1, 0.01)
    fewer = tuples_of(search.model_copy(update={"budget": 9}))
    assert fewer == tuples[:9]


def test_printed_tables_are_whole():
    tables = sparsesegnet_tables()
    assert {name: len(table.rows) for name, table in tables.items()} == {"1": 4, "2": 40, "3": 15, "4": 12}
    full, best = tables["4"].row(row="full"), tables["2"].row(dataset="isic2017", network="SparseSegNet")
    assert full and best
    for measure in ("dice", "jaccard", "hd95_256", "milliseconds"):  # said twice in the paper
        assert full.values[measure].mean == pytest.approx(best.values[measure].mean)
    assert best.values["dice"].sd == 0.01
    assert [impossible(table) for table in tables.values()] == [[], [], [], []]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": "[full, -nothing]"}, "give rows of table 4"),
        ({"rows": "[full, eq2-decoder]"}, "the row eq2-decoder needs the field 'instead'"),
        ({"base.loss.padd": "0"}, "base is the full network: padd is off in it"),
        ({"pruning.steps": "[{kind: fisher, blocks: [a], keep: 0.5}]"}, "no semantic step"),
        ({"base.split": "{fractions: {train: 1}, seed: 1, held_out: {folds: 2, fold: 2}}"}, "fold 2 of 2"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(CutisError, match=message):
        smoke(**changes)


def light() -> Instruments:
    """Masks are judged as always; a file holds its network's size, which is its time too: INT8 has its own tests."""

    def quantise(run: Run, training: tuple[Sample, ...], path: Path) -> None:
        atomic_write(path, str(sum(p.numel() for p in run.network.parameters())))

    def time(files: Mapping[str, Path], rounds: int) -> dict[str, Latency]:
        return {name: Latency(int(path.read_text()) / 1000, 1.0) for name, path in files.items()}

    return Instruments(instruments(4).judge, quantise, time)


class CutOffError(Exception):
    """What stands for a power cut."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The experiment, cut off in its third job and gone on with: results, data, configuration, what was said."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("ablation")
    data, cache, results, said = home / "data", home / "cache", home / "results", []
    write_folder(data, 24, 2, width=96, height=72)
    changes = {}
    for seed, name in enumerate(("first", "second")):
        values = {**yaml.safe_load((CONFIGS / "smoke.yaml").read_text()), "seed": seed, "name": name}
        values |= {"epochs": 1, "epoch_images": 8, "phases": [{"start": 0, "size": 64}], "warmup_epochs": 0}
        values["split"] = smoke().base.split.model_dump(mode="json")
        (home / f"{name}.yaml").write_text(yaml.safe_dump(values))
        train_supervised(
            load_config(home / f"{name}.yaml", {}), data, home / name, cache=cache, resume=False, accelerator="cpu",
            say=lambda text: None,
        )  # fmt: skip
        changes[f"teachers.{name}.kind"] = str(home / name)
    config = smoke(**changes, rows="[full, vanilla, -pruning]")

    def cut(text: str) -> None:
        said.append(text)
        if text.startswith("[3 of"):
            raise CutOffError

    def place(say):
        return AblationPlace(data, results, cache, predict_mask, "cpu", say, light())

    with pytest.raises(CutOffError):
        run_ablation(config, place(cut))
    said.append("-- again --")
    run_ablation(config, place(said.append))
    yield results, data, config, said, place
    torch.set_num_threads(before)


@pytest.mark.slow
def test_every_job_is_made_once(made):
    results, _, config, said, _ = made
    begun = [text for text in said if text.startswith("[")]
    assert [text[1] for text in begun] == ["1", "2", "3", "3", "4", "5", "6"]
    assert sum("left out: table 2's derm7pt" in text for text in said) == 2
    jobs = [job for job in jobs_of(config) if job.name != "derm7pt"]
    assert all(finished(job, results) for job in jobs) and len(jobs) == 6


@pytest.mark.slow
def test_rows_end_with_what_they_should(made):
    results, data, config, _, _ = made
    wanted = {sample.id for sample in parts_of(config.base, data)["test"]}
    facts = {}
    for row in ("full", "vanilla", UNPRUNED):
        home = home_of(results, "ablation", row) / "seed-1"
        assert {r.id for r in read_rows(home / "evaluation" / "rows.csv")} == wanted
        facts[row] = json.loads((home / "result.json").read_text())
    assert facts["vanilla"]["parameters"] > facts["full"]["parameters"]
    assert facts["vanilla"]["run"] == facts["-pruning"]["run"] == "continued-2"
    unpruned = home_of(results, "ablation", UNPRUNED) / "seed-1"
    assert not (unpruned / "trained").exists()
    gates = gates_of(load_run(unpruned / "continued-1").network)
    assert gates and all(gate.probabilities().unique().tolist() in ([0.0], [1.0], [0.0, 1.0]) for gate in gates)
    assert not load_run(results / "ablation/vanilla/seed-1/trained").config.teachers.first
    folds = [load_run(results / f"weights/0.1_0.5_0.05_0.001/fold-{fold}/trained") for fold in (0, 1)]
    held = [{s.id for s in parts_of(run.config, data)["validation"]} for run in folds]
    assert held[0] and not held[0] & held[1]
    assert all({s.id for s in parts_of(run.config, data)["test"]} == wanted for run in folds)
    assert folds[0].config.loss.ag_op == 0.5
    rule = of_run(folds[0].folder, predict_mask).rule
    assert list(rule.fractions) == ["train of all folds", "validation of all folds", "test"]


@pytest.mark.slow
def test_tables_are_printed_and_written(made, tmp_path, capsys):
    results, _, _, _, _ = made
    words = ["experiment", "tables", "--results", str(results), "--csv", str(tmp_path / "t.csv")]
    assert app(words, result_action="return_value") == 0
    page = capsys.readouterr().out
    for number in "1234":
        assert f"### Table {number}:" in page
    assert "64 px (paper: 256)" in page and "full - (vanilla)" in page and "0.900" in page
    with (tmp_path / "t.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    dice = next(line for line in lines if (line["table"], line["row"], line["measure"]) == ("4", "full", "dice"))
    rows = read_rows(results / "ablation/full/seed-1/evaluation/rows.csv")
    assert float(dice["mean"]) == pytest.approx(sum(r.measures["dice"] for r in rows) / len(rows), abs=1e-6)
    with pytest.raises(CutisError, match="no table '9' is made"):
        show_sparsesegnet_tables(results, ["9"], csv_file=None)


@pytest.mark.slow
def test_the_plan_counts_what_is_left_and_other_settings_are_refused(made, tmp_path, capsys):
    _, data, config, _, place = made
    words = ["experiment", "sparsesegnet", "--config", str(CONFIGS / "experiment-smoke.yaml"), "--data", str(data)]
    words += ["--output", str(tmp_path / "new"), "--plan", "--stages", "[ablation]", "--rows", "[full, vanilla]"]
    assert app(words, result_action="return_value") == 0
    page = capsys.readouterr().out
    assert "2 runs" in page and "seconds an update" in page and "| all" in page
    assert not (tmp_path / "new").exists()
    other = config.model_copy(update={"base": config.base.model_copy(update={"epochs": 9})})
    with pytest.raises(CutisError, match=r"another configuration \(base\): give another --output"):
        run_ablation(other, place(lambda text: None))


def test_folds_hold_out_each_lesion_once_and_leave_the_test_part(tmp_path):
    write_folder(tmp_path, 24, 2, width=48, height=36)

    def ids(config) -> dict[str, list[str]]:
        return {part: [sample.id for sample in samples] for part, samples in parts_of(config, tmp_path).items()}

    base = smoke().base
    whole, held = ids(base), []
    for fold in range(3):
        values = base.model_dump()
        values["split"]["held_out"] = {"folds": 3, "fold": fold}
        parts = ids(type(base).model_validate(values))
        assert parts["test"] == whole["test"]
        assert sorted(parts["train"] + parts["validation"]) == sorted(whole["train"] + whole["validation"])
        held += parts["validation"]
    assert sorted(held) == sorted(whole["train"] + whole["validation"])
