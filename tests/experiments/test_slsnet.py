"""SLSNet's tables as data, the pairs that cannot be, the plan of its runs, and ours beside them."""

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
from cutis.experiments.paper import slsnet_tables
from cutis.experiments.seeds import compare_runs, values_of
from cutis.experiments.segmenter_run import (
    ROWS,
    Place,
)
from cutis.experiments.slsnet_beside import balance_of
from cutis.experiments.slsnet_grid import finished, run_slsnet_grid
from cutis.experiments.slsnet_plan import SLSNetGrid, SLSNetJob, job_config, jobs_of, variant_of
from cutis.experiments.slsnet_verb import impossible_pairs, show_slsnet_tables
from cutis.recipes.config import load_config

CONFIGS = Path(__file__).parents[2] / "configs" / "slsnet"


def grid(name="grid-smoke", **changes):
    config = load_config(CONFIGS / f"{name}.yaml", {}, SLSNetGrid)
    return SLSNetGrid.model_validate(config.model_dump() | changes)


def test_slsnets_own_row_is_the_same_in_every_table():
    tables = slsnet_tables()
    rows = [tables[n].row(run="full") for n in ("3", "6", "8")] + [tables["7"].row(run="size-128")]
    for measure, printed in (("dice", "90.63"), ("jaccard", "81.98"), ("accuracy", "97.61")):
        assert {row.values[measure].text for row in rows} == {printed}


def test_table_7_and_table_5_print_other_multiply_adds_at_256():
    tables = slsnet_tables()
    assert tables["5"].row(method="SLSNet", size=256).values["macs"].text == "3.16"
    assert tables["7"].row(method="256 x 256").values["macs"].text == "3.61"


def test_pairs_that_cannot_be_means_over_the_same_images():
    found = {name: [row.what["method"] for row, _ in impossible_pairs(t)] for name, t in slsnet_tables().items()}
    assert {name: len(rows) for name, rows in found.items()} == {"3": 1, "4": 0, "5": 0, "6": 3, "7": 3, "8": 3}
    assert found["3"] == ["SLSNet"]
    (_, said), *_ = impossible_pairs(slsnet_tables()["3"])
    assert "at least 82.87, 81.98 is printed" in said


@pytest.mark.parametrize("name", ["grid", "grid-small", "grid-smoke"])
def test_every_job_of_every_grid_is_a_valid_run(name):
    config = grid(name)
    jobs = jobs_of(config)
    assert len(jobs) == len(set(jobs)) >= 3
    steps = {(run.epochs, run.epoch_images, run.batch_size) for run in (job_config(config, job) for job in jobs)}
    assert len(steps) == 1  # equal steps


def test_what_a_variant_changes():
    config = grid("grid")
    base = job_config(config, SLSNetJob("full", 1))
    baseline = job_config(config, SLSNetJob("baseline", 2))
    assert baseline.seed == 2
    assert baseline.network.options == base.network.options | dict.fromkeys(
        ("multiscale", "position", "channel"), False
    )
    assert baseline.discriminator.options == base.discriminator.options | {"position": False, "channel": False}
    position = job_config(config, SLSNetJob("position", 1))
    assert position.discriminator.options["position"] and not position.discriminator.options["channel"]
    assert job_config(config, SLSNetJob("alone", 1)).loss.adversarial == 0
    assert job_config(config, SLSNetJob("bce", 1)).loss.model_dump() == {"adversarial": 1.0, "l1": 0.0, "jaccard": 0.0}
    assert job_config(config, SLSNetJob("larger-l1", 1)).loss.l1 == config.larger_l1
    assert job_config(config, SLSNetJob("enet", 1)).network.name == "enet"
    assert job_config(config, SLSNetJob("size-64", 1)).preprocessing.size == 64
    assert variant_of(config, "size-128") == "full"


def test_an_unknown_variant_is_named():
    with pytest.raises(ValueError, match="give names of baseline, "):
        grid(variants=["nosuch"])


def _row(number, dice):
    measures = {"dice": dice, "jaccard": dice / (2 - dice), "accuracy": 0.9, "sensitivity": 0.8, "specificity": 0.9}
    measures |= {"thresholded_jaccard": 0.0, "hd95_256": 1.0, "surface_dice_256": 1.0}
    return Row("isic2018_task1", f"image_{number}", f"lesion_{number}", 10, 10, 5, 5, measures)


@pytest.fixture
def results(tmp_path):
    rng = np.random.default_rng(0)
    config = grid(seeds=[1, 2])
    for job in jobs_of(config):
        better = 0.05 if job.variant == "full" else 0.0
        dices = np.clip(rng.normal(0.8 + better, 0.02, 12), 0, 1)
        write_rows(job.folder(tmp_path) / ROWS, [_row(n, float(d)) for n, d in enumerate(dices)])
        write_json(job.folder(tmp_path) / "done.json", {})
    run_slsnet_grid(config, Place(tmp_path, tmp_path, tmp_path, lambda *a: None, "cpu", lambda text: None))
    return tmp_path


def test_ours_stand_beside_the_papers(results, capsys):
    assert verb.show_tables(results, ["6", "8"], csv_file=results / "t.csv", published=None) == 0
    text = re.sub(" +", " ", capsys.readouterr().out)  # the columns are filled up with spaces
    baseline = next(line for line in text.splitlines() if line.startswith("| BL GAN"))
    assert "83.61" in baseline and "±" in baseline and "| 0.05 |" in baseline  # its multiply-adds at 32 pixels
    assert "| BL + PAM | - | 96.72" in text  # not run
    assert "SLSNet †" in text and "without the adversary (ours)" in text
    assert "full - alone | DSC | 2 of 2" in text
    assert "6,BL GAN,dice," in (results / "t.csv").read_text(encoding="utf-8")


def test_comparisons_are_paired_over_images(results):
    differences, test = compare_runs(results, "full", "baseline", "dice", scale=100)
    assert len(differences) == 2 and min(differences) > 0
    assert test.n == 12 and test.t_p < 0.01
    expected = [values_of(results, name, "dice", scale=100).mean for name in ("full", "baseline")]
    assert np.mean(differences) == pytest.approx(expected[0] - expected[1])
    assert compare_runs(results, "full", "position", "dice", scale=100) is None


def test_table_5_and_unknown_tables_are_named(results):
    with pytest.raises(CutisError, match="'cutis benchmark architectures'"):
        show_slsnet_tables(results, ["5"], csv_file=None)


def test_other_runs_are_not_gone_on_with(results):
    config = grid(seeds=[1, 2])
    other = SLSNetGrid.model_validate(config.model_dump() | {"run": config.run.model_dump() | {"learning_rate": 0.5}})
    with pytest.raises(CutisError, match=r"another configuration \(run\)"):
        run_slsnet_grid(other, Place(results, results, results, lambda *a: None, "cpu", lambda text: None))


def test_balance_is_of_the_last_third(tmp_path):
    log = tmp_path / "logs" / "start_0" / "metrics.csv"
    log.parent.mkdir(parents=True)
    lines = ["step,train/real_accuracy,train/generated_accuracy,train/discriminator_loss", "0,,,"]
    lines += [f"{n},{0.5 if n < 4 else 0.9},{0.5 if n < 4 else 0.8},1.0" for n in range(6)]
    log.write_text("\n".join(lines), encoding="utf-8")
    found = balance_of(tmp_path)
    assert (found.real, found.generated, found.loss) == pytest.approx((0.9, 0.8, 1.0))
    assert balance_of(tmp_path / "nowhere") is None


@pytest.mark.slow
def test_the_smoke_grid_runs_and_goes_on(tmp_path):
    from cutis.analysis.pipeline import predict_mask

    write_folder(tmp_path / "drawn", 16, 0, width=96, height=72)
    said: list[str] = []
    place = Place(tmp_path / "drawn", tmp_path / "grid", tmp_path / "cache", predict_mask, "cpu", said.append)
    config = grid(variants=["alone", "full"])
    run_slsnet_grid(config, place)
    assert all(finished(job, place.results) for job in jobs_of(config))
    assert balance_of(place.results / "alone" / "seed-1") is None
    count = len(said)
    run_slsnet_grid(config, place)
    assert len(said) == count  # nothing was left to do


@pytest.mark.slow
def test_a_collapsed_run_is_written_down_and_the_next_one_begins(tmp_path):
    from cutis.analysis.pipeline import predict_mask

    write_folder(tmp_path / "drawn", 16, 0, width=96, height=72)
    run = grid().run.model_dump() | {"collapse": {"steps": 1, "share": 0.51, "loss": 100.0}}
    config = grid(variants=["full", "alone"], run=run | {"learning_rate": 1e-6})
    place = Place(tmp_path / "drawn", tmp_path / "grid", tmp_path / "cache", predict_mask, "cpu", lambda text: None)
    run_slsnet_grid(config, place)
    assert "the discriminator collapsed" in (place.results / "full" / "seed-1" / "stopped.json").read_text(
        encoding="utf-8"
    )
    assert (place.results / "alone" / "seed-1" / "done.json").exists()
