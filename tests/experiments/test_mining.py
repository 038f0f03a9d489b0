"""Knowledge mining's tables as data, what its words say against them, the plan of its runs, and ours beside them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

from cutis.data.synthetic import write_folder
from cutis.errors import CutisError
from cutis.evaluation.evaluate import Row
from cutis.evaluation.tables import write_json, write_rows
from cutis.experiments import verb
from cutis.experiments.ablation_verb import impossible
from cutis.experiments.mining_beside import Quality, pairs_of, quality_of
from cutis.experiments.mining_grid import finished, possible, run_mining_grid
from cutis.experiments.mining_plan import OWN_ROWS, ROWS, MiningGrid, MiningJob, job_config, jobs_of, supervised_config
from cutis.experiments.mining_verb import plan_text, setup_lines, show_mining_tables, table_text
from cutis.experiments.paper import mining_tables
from cutis.experiments.segmenter_run import ROWS as EVALUATION
from cutis.experiments.segmenter_run import Place
from cutis.recipes.config import load_config

CONFIGS = Path(__file__).parents[2] / "configs" / "knowledge-mining"


def grid(name="experiment-small", **changes):
    config = load_config(CONFIGS / f"{name}.yaml", {}, MiningGrid)
    return MiningGrid.model_validate(config.model_dump() | changes)


def value(table, labelled, run, measure="dice"):
    return mining_tables()[table].row(labelled=labelled, run=run).values[measure].mean


def test_every_table_has_its_rows_and_deviations():
    tables = mining_tables()
    assert {name: len(table.rows) for name, table in tables.items()} == {"1": 17, "2": 7, "3": 9}
    assert all(cell.sd and 0 < cell.mean < 1 for t in tables.values() for row in t.rows for cell in row.values.values())
    assert len(ROWS) == 14


def test_table_3_prints_the_rows_of_table_1_again():
    for run in ("supervised", "continuous", "one-time"):
        first, third = (mining_tables()[name].row(labelled=75, run=run) for name in ("1", "3"))
        assert {m: v.text for m, v in first.values.items()} == {m: v.text for m, v in third.values.items()}


def test_values_from_the_words_of_the_paper():
    """The abstract and Sec. 3.1: by 3% and 1% over the baseline, and over all labels at 75%."""
    gains = [value(t, share, "continuous") - value(t, share, "supervised") for t in "12" for share in (75, 50)]
    assert [round(100 * gain) for gain in gains] == [3, 3, 1, 1]
    assert value("1", 75, "continuous") > value("1", 100, "supervised")
    assert value("3", 75, "continuous points") < value("3", 75, "supervised")  # Sec. 3.3


def test_means_that_are_printed_can_be_of_the_same_images():
    assert {name: impossible(table) for name, table in mining_tables().items()} == {"1": [], "2": [], "3": []}


def test_what_the_words_say_and_the_tables_do_not():
    """Sec. 4: "> 3% ... compared to both baseline and fully supervised"; Sec. 3.1: across all splits SimCLR with mining
    is above supervised training."""
    assert value("1", 75, "continuous") - value("1", 100, "supervised") == pytest.approx(0.003)
    for measure in ("dice", "jaccard"):
        assert value("1", 50, "simclr one-time", measure) < value("1", 50, "supervised", measure)
    assert value("1", 50, "continuous") < value("1", 100, "supervised")


def test_bold_is_the_best_of_its_share_of_labels():
    for table in mining_tables().values():
        for share in {row.what["labelled"] for row in table.rows} - {100}:
            rows = [row for row in table.rows if row.what["labelled"] == share]
            for measure in table.measures:
                (bold,) = [row for row in rows if row.values[measure].bold]
                assert bold.what["run"] == "continuous"
                assert bold.values[measure].mean == max(row.values[measure].mean for row in rows)


@pytest.mark.parametrize("name", ["experiment", "experiment-small", "experiment-smoke"])
def test_every_job_of_every_grid_is_a_valid_run(name):
    config = grid(name)
    jobs = jobs_of(config)
    runs = [job_config(config, job) for job in jobs]
    assert len(jobs) == len(set(jobs)) == len({job.folder(Path()) for job in jobs})
    assert len({(run.epochs, run.epoch_images, run.batch_size, run.mining.epochs) for run in runs}) == 1  # equal steps
    for job, run in zip(jobs, runs, strict=True):
        assert run.datasets == {job.dataset: 1.0} and run.labelled.fraction == job.share / 100
        assert run.seed == run.labelled.seed == job.seed
        first = supervised_config(config, job)
        assert first.mining is None and (first.labelled, first.split, first.seed) == (run.labelled, run.split, run.seed)


def test_the_papers_grid_has_the_papers_rows():
    config = grid("experiment")
    made = {(job.share, job.row) for job in jobs_of(config) if job.dataset == "kvasir_seg"}
    printed = {(float(r.what["labelled"]), r.what["run"]) for n in ("1", "3") for r in mining_tables()[n].rows}
    assert printed <= made
    base = config.base
    assert (base.learning_rate, base.batch_size, base.epochs, base.patience) == (5e-5, 8, 100, 10)
    assert (base.mining.pseudo_weight, base.loss.dice, base.loss.cross_entropy) == (0.25, 1.0, 0.2)
    assert base.plateau.model_dump() == {"factor": 0.5, "patience": 3, "least": 1e-7}


def test_what_a_row_changes():
    config = grid("experiment")
    runs = {job.row: job_config(config, job).mining for job in jobs_of(config) if job.share == 75}
    assert runs["one-time"].schedule == runs["simclr one-time"].schedule == "one-time"
    prompts = {row: tuple(run.prompts.model_dump().values())[:3] for row, run in runs.items()}
    assert prompts["continuous"] == (5, True, False) and prompts["continuous points-box-mask"] == (5, True, True)
    assert prompts["one-time box"] == (0, True, False) and prompts["continuous points"] == (5, False, False)


SCHEDULES = ("one-time", "continuous")


def test_rows_of_ours_change_the_weight_and_the_batch():
    config = grid(labelled={"folder": [10]}, rows=["supervised", "one-time", "continuous", *OWN_ROWS])
    found = {job.row: job_config(config, job).mining for job in jobs_of(config) if job.seed == config.seeds[0]}
    told = {row: (m.schedule, m.pseudo_weight, m.unlabelled_batch) for row, m in found.items()}
    assert told["one-time"] == ("one-time", 0.25, 4)
    assert told["continuous full-weight"] == ("continuous", 1.0, 4)
    assert told["one-time full-weight three-quarters"] == ("one-time", 1.0, 6)
    changed = {row: run.prompts for row, run in found.items() if run.prompts != found["one-time"].prompts}
    assert set(changed) == {f"{schedule} points averaged full-weight three-quarters" for schedule in SCHEDULES}
    assert all(prompts.averaged and prompts.points == 5 and not prompts.box for prompts in changed.values())
    pairs = {(one.row, other.row) for one, other in pairs_of(config)}
    assert {("one-time full-weight", "supervised"), ("one-time full-weight", "one-time")} <= pairs
    assert ("continuous full-weight", "one-time full-weight") in pairs
    lines = setup_lines(config)
    assert any(line.startswith("full-weight: a pseudo-label") for line in lines)
    assert any(line.startswith("three-quarters: three") for line in lines)
    plain = setup_lines(grid())
    assert not any("full-weight" in line for line in plain)


def test_rows_that_share_a_first_phase():
    job = MiningJob("kvasir_seg", 75.0, "continuous points", 2)
    firsts = {row: job._replace(row=row).first(Path("r")).as_posix() for row in ROWS}
    assert firsts["supervised"] == firsts["medsam one-time"] == "r/kvasir_seg/labelled-75/first-phase/seed-2"
    assert firsts["simclr supervised"] == "r/kvasir_seg/labelled-75/first-phase-simclr/seed-2"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": ["nosuch"]}, "give names of supervised, "),
        ({"rows": ["simclr supervised"], "contrastive": None}, "need the field 'contrastive'"),
        ({"labelled": {"kvasir_seg": [0]}}, "percents above 0"),
        ({"labelled": {"kvasir_seg": []}}, "percents above 0"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        grid(**changes)


def _row(number, dice):
    measures = {"dice": dice, "jaccard": dice / (2 - dice), "accuracy": 0.9, "sensitivity": 0.8, "specificity": 0.9}
    measures |= {"thresholded_jaccard": 0.0, "hd95_256": 1.0, "surface_dice_256": 1.0}
    return Row("kvasir_seg", f"image_{number}", f"image_{number}", 10, 10, 5, 5, measures)


LOG = """epoch,step,validation/mined/pseudo_dice,validation/mined/student_dice,validation/mined/used
0,10,,,
0,10,0.7,0.6,0.9
1,20,0.8,0.75,1.0
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A grid whose runs were made, by numbers: mining is better by 0.05."""
    home = tmp_path_factory.mktemp("results")
    rng = np.random.default_rng(0)
    config = grid(labelled={"kvasir_seg": [100, 75], "folder": [10]}, rows=["supervised", "continuous"], seeds=[1, 2])
    for job in jobs_of(config):
        better = 0.05 if job.row == "continuous" else 0.0
        dices = np.clip(rng.normal(0.8 + better, 0.02, 12), 0, 1)
        write_rows(job.folder(home) / EVALUATION, [_row(n, float(d)) for n, d in enumerate(dices)])
        write_json(job.folder(home) / "done.json", {})
        if job.row == "continuous":
            log = job.folder(home) / "logs" / "start_0" / "metrics.csv"
            log.parent.mkdir(parents=True)
            log.write_text(LOG, encoding="utf-8")
    said: list[str] = []
    write_folder(home / "drawn", 1, 0, width=96, height=72)
    run_mining_grid(config, Place(home / "drawn", home, home, lambda *a: None, "cpu", said.append))
    assert said == ["left out: kvasir_seg: " + f"{home / 'drawn'} does not hold it"]
    return home


def test_ours_stand_beside_the_papers(results, capsys):
    assert verb.show_tables(results, None, csv_file=results / "t.csv", published=None) == 0
    text = re.sub(" +", " ", capsys.readouterr().out)
    assert "### Table 1: Kvasir-SEG" in text and "### folder (not in the paper)" in text
    line = next(line for line in text.splitlines() if line.startswith("| 75 | continuous |"))
    assert "0.658 ± 0.005" in line and "0.756 ± 0.003" in line and "0.700 (0.600) | 0.800 (0.750) | 100 |" in line
    assert "| 50 | medsam one-time | 0 | - | 0.605 ± 0.029 |" in text  # not run
    assert "| kvasir_seg 75% | continuous - supervised | Dice | 2 of 2 | +0.0" in text
    assert "| kvasir_seg 75% | continuous - supervised (100%) | Dice |" in text
    assert "Teacher: runs/promptable (paper: SAM)" in text
    assert "1,75,continuous,dice,0.8" in (results / "t.csv").read_text(encoding="utf-8")


def test_a_table_that_is_not_made_is_named(results):
    with pytest.raises(CutisError, match="no table '3' is made; there are: 1, folder"):
        show_mining_tables(results, ["3"], csv_file=None)


def test_table_3_holds_the_prompts_and_table_1_does_not(tmp_path):
    config = grid("experiment", labelled={"kvasir_seg": [75]})
    third, first = table_text(config, tmp_path, "3"), table_text(config, tmp_path, "1")
    assert "points-box-mask" in third and "simclr" not in third
    assert "points-box-mask" not in first and "simclr" in first


def test_the_quality_of_pseudo_labels_is_the_logs(tmp_path):
    for start, text in enumerate((LOG, LOG.replace("0.8,0.75,1.0", "0.9,0.85,0.5"))):  # its second epoch was made again
        path = tmp_path / "logs" / f"start_{start}" / "metrics.csv"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    assert quality_of(tmp_path) == [Quality(0.7, 0.6, 0.9), Quality(0.9, 0.85, 0.5)]
    assert quality_of(tmp_path / "nowhere") == []


def test_pairs_tell_what_each_word_adds():
    config = grid("experiment", labelled={"kvasir_seg": [100, 75]})
    pairs = {(first.row, second.row, second.share) for first, second in pairs_of(config)}
    for row, other, share in [
        ("continuous", "supervised", 75), ("continuous", "one-time", 75), ("continuous", "supervised", 100),
        ("simclr continuous", "simclr supervised", 75), ("simclr continuous", "continuous", 75),
        ("simclr supervised", "supervised", 75), ("medsam one-time", "one-time", 75),
        ("continuous box", "continuous", 75),
    ]:  # fmt: skip
        assert (row, other, share) in pairs
    assert all(first != second for first, second, share in pairs if share == 75)


def test_without_a_promptable_only_supervised_rows_are_made(tmp_path):
    write_folder(tmp_path / "drawn", 1, 0, width=96, height=72)
    said: list[str] = []
    place = Place(tmp_path / "drawn", tmp_path, tmp_path, lambda *a: None, "cpu", said.append)
    jobs = possible(grid("experiment-smoke"), place)
    assert {job.row for job in jobs} == {"supervised", "simclr supervised"}
    missing = ("one-time", "continuous", "simclr continuous")
    assert said == [f"left out: {row}: no promptable is given; set the field teacher" for row in missing]


def test_other_runs_are_not_gone_on_with(results):
    config = grid(labelled={"kvasir_seg": [75]}, teacher="another")
    with pytest.raises(CutisError, match=r"another configuration \(teacher\)"):
        run_mining_grid(config, Place(results, results, results, lambda *a: None, "cpu", lambda text: None))


def test_what_a_job_is_made_from(tmp_path, monkeypatch):
    """Each phase is asked for once, in order, with what it begins from; a job that was cut off is gone on with."""
    from cutis.experiments import mining_grid

    calls: list[tuple] = []

    def stage(train, config, data, home, say, arguments):
        calls.append((train.__name__, config.name, home.relative_to(tmp_path).as_posix(), arguments.get("start")))

    def mine(config, data, home, *, resume, teacher, start, **rest):
        calls.append((config.mining.schedule, resume, teacher, start.relative_to(tmp_path).as_posix()))
        assert not (home / "config.yaml").exists()  # left by a start that did not reach its first epoch

    monkeypatch.setattr(mining_grid, "stage", stage)
    monkeypatch.setattr(mining_grid, "train_knowledge_mining", mine)
    mine.__name__ = "train_knowledge_mining"
    monkeypatch.setattr(mining_grid, "evaluate_run", lambda *a: calls.append(("evaluated", a[0].name)))
    write_folder(tmp_path / "drawn", 1, 0, width=96, height=72)
    config = grid("experiment-smoke", rows=["simclr continuous"], labelled={"folder": [50]}, teacher="sam")
    (job,) = jobs_of(config)
    for name in ("config.yaml", "mining.json"):
        (job.folder(tmp_path) / name).parent.mkdir(parents=True, exist_ok=True)
        (job.folder(tmp_path) / name).write_text("", encoding="utf-8")
    run_mining_grid(
        config, Place(tmp_path / "drawn", tmp_path, tmp_path, lambda *a, **k: None, "cpu", lambda text: None)
    )
    home = "folder/labelled-50/first-phase-simclr/seed-1"
    assert calls == [
        ("train_contrastive", "simclr, folder, seed 1", "folder/simclr/seed-1", None),
        (
            "train_knowledge_mining",
            "simclr first phase, 50% of folder, seed 1",
            home,
            tmp_path / "folder/simclr/seed-1",
        ),
        ("continuous", True, "sam", home),
        ("evaluated", "seed-1"),
    ]
    assert finished(job, tmp_path)


@pytest.mark.slow
def test_the_smoke_grid_runs_and_goes_on(tmp_path, capsys):
    from cutis.analysis.pipeline import predict_mask
    from cutis.recipes.prompting_config import PromptingConfig
    from cutis.recipes.prompting_run import train_prompting

    write_folder(tmp_path / "drawn", 24, 0, width=96, height=72)
    promptable = load_config(CONFIGS.parent / "promptable" / "smoke.yaml", {"epochs": "1"}, PromptingConfig)
    train_prompting(
        promptable, tmp_path / "drawn", tmp_path / "promptable", cache=tmp_path / "cache", resume=False,
        accelerator="cpu", say=lambda text: None,
    )  # fmt: skip
    said: list[str] = []
    place = Place(tmp_path / "drawn", tmp_path / "grid", tmp_path / "cache", predict_mask, "cpu", said.append)
    config = grid("experiment-smoke", teacher=str(tmp_path / "promptable"))
    assert "| all" in plan_text(config, place)
    run_mining_grid(config, place)
    assert all(finished(job, place.results) for job in jobs_of(config))
    count = len(said)
    run_mining_grid(config, place)
    assert len(said) == count  # nothing was left to do
    show_mining_tables(place.results, None, csv_file=None)
    lines = re.sub(" +", " ", capsys.readouterr().out).splitlines()
    for row in ("one-time", "continuous", "simclr continuous"):
        (line,) = [line for line in lines if line.startswith(f"| 50 | {row} | 1 |")]
        assert re.search(r"\| 0\.\d{3} \(0\.\d{3}\) \|", line), line  # the hidden truth told how good its labels were


def test_the_papers_page_prints_its_tables():
    page = (CONFIGS.parents[1] / "docs" / "papers" / "knowledge-mining.md").read_text(encoding="utf-8")
    printed = re.findall(r"^\| (\d+) \| ([\w -]+) \| ([\d.]+ ± [\d.]+) \|", page, re.MULTILINE)
    rows = [row for table in mining_tables().values() for row in table.rows]
    assert printed == [(str(row.what["labelled"]), row.what["run"], row.values["dice"].text) for row in rows]
