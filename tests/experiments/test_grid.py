"""The grid on drawn lesions: planned, cut off, gone on with, evaluated, printed; and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from cutis.cli import app
from cutis.data.catalogue import open_dataset
from cutis.errors import CutisError
from cutis.experiments.answers import read_answers, read_pointing
from cutis.experiments.drawn import write_tree
from cutis.experiments.external import unseen
from cutis.experiments.grid import Grid, best_fold, finished, run_grid
from cutis.experiments.grid_config import GridConfig, job_config, jobs_of
from cutis.experiments.plan import Job
from cutis.imaging.read import read_image
from cutis.recipes.classification import class_parts
from cutis.recipes.config import load_config

CONFIGS = Path(__file__).parents[2] / "configs" / "se-lcn"
FEW = {"stages": "[lesion]", "models": "[1, 3]"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    return write_tree(tmp_path_factory.mktemp("drawn"), 1, lesions=10)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def smoke(**changes: str) -> GridConfig:
    return load_config(CONFIGS / "smoke.yaml", changes, GridConfig)


def darker_half(path: Path, model: object | None) -> np.ndarray:
    grey = read_image(path).pixels.mean(2)
    return grey < np.median(grey)


def grid_of(config: GridConfig, data: Path, results: Path, say=lambda text: None) -> Grid:
    return Grid(data, results, results / "cache", darker_half, "cpu", say, config)


class CutOffError(Exception):
    """What stands for a power cut."""


@pytest.fixture(scope="module")
def made(drawn, tmp_path_factory) -> tuple[Path, list[str]]:
    """Results of a grid that was cut off after its third run began, and gone on with; what was said."""
    results, said = tmp_path_factory.mktemp("grid"), []

    def cut(text: str) -> None:
        said.append(text)
        if text.startswith("[4 of"):
            raise CutOffError

    with pytest.raises(CutOffError):
        run_grid(grid_of(smoke(**FEW), drawn, results, cut))
    assert sum(finished(job, results) for job in jobs_of(smoke(**FEW))) == 3
    said.append("-- again --")
    run_grid(grid_of(smoke(**FEW), drawn, results, said.append))
    return results, said


def test_the_plan_is_followed_and_nothing_is_made_twice(made):
    results, said = made
    begun = [text for text in said if text.startswith("[")]
    assert [text.partition("]")[2].strip() for text in begun] == [
        "symmetry 3, fold 0, seed 1", "symmetry 3, fold 1, seed 1", "lesion 1, fold 0, seed 1",
        "lesion 1, fold 1, seed 1", "lesion 1, fold 1, seed 1", "lesion 3, fold 0, seed 1", "lesion 3, fold 1, seed 1",
    ]  # fmt: skip
    assert all(finished(job, results) for job in jobs_of(smoke(**FEW)))


def test_every_run_has_its_answers(made, drawn):
    results, _ = made
    for job in jobs_of(smoke(**FEW)):
        parts = class_parts(job_config(smoke(**FEW), job), drawn)
        home = job.folder(results) / "evaluation"
        for part in ("validation", "test"):
            found = read_answers(home / f"{part}.csv")
            assert {name[1] for name in found.names} == {sample.id for sample in parts[part]}
            np.testing.assert_allclose(found.probabilities.sum(1), 1, rtol=1e-6)


def test_external_answers_are_of_lesions_never_trained_on(made, drawn):
    results, _ = made
    known = {sample.id for sample in open_dataset(drawn, "ham10000")}
    external = read_answers(results / "lesion/seed-1/model-03/fold-0/evaluation/isic2019.csv")
    found = {name[1] for name in external.names}
    assert found == {sample.id for sample in unseen(drawn, "isic2019")}
    assert len(found) == 21 and not found & known
    scc = {sample.id for sample in open_dataset(drawn, "isic2019") if sample.label == "scc"}
    assert scc and not found & scc


def test_maps_of_one_fold_are_measured(made):
    results, _ = made
    config = smoke(**FEW)
    for stage, model in (("symmetry", 3), ("lesion", 1), ("lesion", 3)):
        folders = [results / stage / "seed-1" / f"model-{model:02}" / f"fold-{fold}" for fold in (0, 1)]
        with_maps = [folder for folder in folders if (folder / "evaluation" / "maps.csv").exists()]
        job = Job(stage, "", 1, model, 0, "none", None, True)
        assert with_maps == [best_fold(config, results, job)]
        rows = read_pointing(with_maps[0] / "evaluation" / "maps.csv")
        assert len(rows) == 20
        assert np.mean([row.gaussian[0] for row in rows]) > 0.2  # drawn lesions lie near the middle


def test_a_run_that_takes_maps_names_the_symmetry_run(made):
    results, _ = made
    facts = yaml.safe_load((results / "lesion/seed-1/model-03/fold-0/run.json").read_text())
    config = smoke(**FEW)
    source = best_fold(config, results, Job("symmetry", "", 1, 3, 0, "segmentation", None, True))
    assert facts["symmetry"]["folder"] == str(source)
    assert "symmetry" not in yaml.safe_load((results / "lesion/seed-1/model-01/fold-0/run.json").read_text())


def test_other_settings_are_refused_and_more_models_are_not(made, drawn):
    results, _ = made
    with pytest.raises(CutisError, match=r"another configuration \(lesion\): give another --output"):
        run_grid(grid_of(smoke(**FEW, **{"lesion.epochs": "2"}), drawn, results))
    before = (results / "grid.yaml").read_text()
    run_grid(grid_of(smoke(stages="[lesion]", models="[1]"), drawn, results))  # all there already
    (results / "grid.yaml").write_text(before)


def test_the_command_prints_tables_and_writes_csv(made, tmp_path, capsys):
    results, _ = made
    words = ["experiment", "tables", "--results", str(results), "--table", "8b", "--table", "9", "--csv"]
    assert app([*words, str(tmp_path / "t.csv")], result_action="return_value") == 0
    page = capsys.readouterr().out
    assert "### Table 8b" in page and "### Table 9" in page and "| centred Gaussian" in page
    assert "- The lesion network: mobilenetv2_100 (paper: efficientnet_b4), 32 px (paper: 256)" in page
    assert "| 3 - 1" in page  # map transfer against the baseline
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 1 + 60 + 36 + 3


def test_unknown_tables_and_folders_are_named(made, tmp_path):
    results, _ = made
    with pytest.raises(CutisError, match="no table '11' is made"):
        app(["experiment", "tables", "--results", str(results), "--table", "11"], result_action="return_value")
    with pytest.raises(CutisError, match="holds no grid"):
        app(["experiment", "tables", "--results", str(tmp_path)], result_action="return_value")


def test_the_plan_is_said_with_its_time(drawn, tmp_path, capsys):
    words = ["experiment", "se-lcn", "--config", str(CONFIGS / "smoke.yaml"), "--data", str(drawn), "--output"]
    flags = ["--plan", "--stages", "[lesion]", "--models", "[3]"]
    assert app([*words, str(tmp_path / "none"), *flags], result_action="return_value") == 0
    page = capsys.readouterr().out
    assert "se-lcn-smoke: 4 runs" in page and "1 x 16" in page and "| all " in page
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("grid*.yaml")), ids=lambda path: path.stem)
def test_grids_are_valid_and_share_no_test_lesion(path):
    config = load_config(path, {}, GridConfig)
    jobs = jobs_of(config)
    assert len(jobs) == {"grid": 2 + 12 + 48 + 48, "grid-small": 12 + 48}[path.stem]
    for job in jobs:
        made = job_config(config, job)
        assert made.seed == job.seed
        if job.stage in ("lesion", "isic2016"):
            assert made.takes_map == (job.maps is not None) and made.masking == job.masking
            assert len(made.classes) == {"lesion": 7, "isic2016": 2}[job.stage]
            assert made.split.fold == job.fold
        if job.stage == "symmetry":
            assert (made.weights is None) == (job.model == 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": "[0]"}, "numbers of table 8"),
        ({"models": "[1, 1]"}, "each once"),
        ({"lesion.split.seed": "3"}, "must be equal"),
        ({"segmentation": "null"}, "needs the field segmentation"),
        ({"symmetry.split": "{fractions: {train: 0.8, validation: 0.2}, seed: 1}"}, "needs folds"),
    ],
)
def test_what_does_not_go_together_is_named(changes, message):
    with pytest.raises(CutisError, match=message):
        smoke(**changes)


@pytest.mark.data
def test_no_test_lesion_is_trained_on_by_either_network(data_root):
    config = load_config(CONFIGS / "grid.yaml", {}, GridConfig)
    lesion, symmetry = class_parts(config.lesion, data_root), class_parts(config.symmetry, data_root)
    groups = {name: {s.group for s in part} | {s.id for s in part} for name, part in lesion.items()}
    for part in ("train", "validation"):
        assert not groups["test"] & groups[part]
        assert not groups["test"] & {name for s in symmetry[part] for name in (s.group, s.id)}


@pytest.mark.slow
def test_the_whole_grid(drawn, tmp_path):
    run_grid(grid_of(smoke(), drawn, tmp_path))
    assert all(finished(job, tmp_path) for job in jobs_of(smoke()))
    assert app(["experiment", "tables", "--results", str(tmp_path)], result_action="return_value") == 0
