"""`pv-sparse study` on the command line."""

import sys
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from lightning.pytorch.utilities.exceptions import SIGTERMException
from small_study import SMALL
from square_runs import quiet_lightning

from pv_sparse import study_command
from pv_sparse.cli import main
from pv_sparse.study.experiment_files import parse_experiment
from pv_sparse.study.levels import Level, StudyFile, read_study
from pv_sparse.study.results import Results, Row, read_results, write_results
from pv_sparse.study.results_frame import results_frame

ROW = Row("study_fusion", "order20", "tsn_avg", "ordered", 0, 0.5, 2.0, 1.5, 3.0, 20)
RESULTS = Results("quick", {"processor": "p", "cores": 1, "accelerator": None}, {}, [ROW], {"study_fusion": "c"})
NODE = {
    "title": "T",
    "question": "Q?",
    "data": ["order20"],
    "models": {"trn_multi_scale": {"train": ["model=trn_tiny"]}},
    "variants": [{"name": "ordered"}],
}

pytestmark = quiet_lightning


def study(*arguments):
    return CliRunner().invoke(main, ["study", *map(str, arguments)])


@pytest.fixture
def one_experiment(monkeypatch):
    """In the place of all."""
    file = StudyFile(("study_fusion",), {}, {"quick": Level("quick", (0,), SMALL)})
    monkeypatch.setattr(study_command, "read_study", lambda: file)
    monkeypatch.setattr(study_command, "read_experiment", lambda name: parse_experiment(name, NODE))


def test_an_unknown_experiment_is_told_with_near_ones(tmp_path):
    told = study("--only", "study_fuson", "--out", tmp_path)
    assert told.exit_code == 1
    assert "--only: study_fuson is unknown: did you mean study_fusion" in told.output
    assert not [*tmp_path.iterdir()]


def test_an_unknown_data_set_is_told(tmp_path):
    told = study("make", "order2", tmp_path)
    assert told.exit_code == 1
    assert "order2 is unknown: did you mean order20" in told.output


def test_a_folder_without_results_is_told(tmp_path):
    told = study("report", tmp_path)
    assert told.exit_code == 1
    assert "results.json is not there: `pv-sparse study` writes it" in told.output


def test_a_report_is_made_of_the_results_alone(tmp_path):
    write_results(RESULTS, tmp_path / "results.json")
    assert study("report", tmp_path).exit_code == 0
    assert "Fusion" in (tmp_path / "report.html").read_text()


def test_a_missing_extra_is_told(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "pv_sparse.study_command")
    monkeypatch.setitem(sys.modules, "torch", None)
    told = study("--out", tmp_path)
    assert told.exit_code == 1
    assert 'torch is not installed: pip install "pv-sparse[study]"' in told.output


def test_a_gpu_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    told = study("--accelerator", "gpu", "--out", tmp_path)
    assert told.exit_code == 1
    assert "torch sees no GPU here: give cpu or auto" in told.output


def test_real_videos_are_left_out_where_there_are_none(tmp_path):
    told = study("--quick", "--only", "study_grid", "--out", tmp_path)
    assert told.exit_code == 0
    assert "study_grid, walking: left out without --vtest PATH" in told.output


# Of Ctrl-C, Lightning makes exit code 1 while it trains.
@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt, 130), (SystemExit(1), 130), (SIGTERMException, 143)])
def test_a_study_that_is_told_to_stop_says_so(tmp_path, monkeypatch, one_experiment, stop, code):
    def interrupted(*given):
        raise stop

    monkeypatch.setattr(study_command, "make_data", interrupted)
    told = study("--quick", "--out", tmp_path)
    assert told.exit_code == code
    assert "stopped: the same command goes on where it was" in told.output


def test_rows_of_other_experiments_stay_where_level_and_accelerator_are_the_same():
    commands = {name: study_command.command("quick", name) for name in read_study().experiments}
    assert commands["study_segments"] == "pv-sparse study --quick --only study_segments"
    frame = results_frame("quick", "cpu", commands, ["study_segments"], RESULTS)
    assert frame.rows == [ROW]
    assert frame.commands == {"study_fusion": "c", "study_segments": commands["study_segments"]}
    assert results_frame("quick", "cpu", commands, ["study_fusion"], RESULTS).rows == []
    assert results_frame("full", "cpu", commands, ["study_segments"], RESULTS).rows == []
    of_a_gpu = replace(RESULTS, machine=RESULTS.machine | {"accelerator": "a card"})
    assert results_frame("quick", "cpu", commands, ["study_segments"], of_a_gpu).rows == []


@pytest.mark.slow
def test_a_study_is_told_row_by_row_and_reported(tmp_path, one_experiment):
    told = study("--quick", "--out", tmp_path, "--jobs", 1)
    assert told.exit_code == 0, told.output
    row = read_results(tmp_path).rows[0]
    assert f"study_fusion  order20  trn_multi_scale  ordered  seed 0  top1 {row.top1:.3f}" in told.output
    assert "1 rows of 1 training runs, 1 of them to be done" in told.output
    assert str(tmp_path / "report.html") in told.output
    assert (tmp_path / "report.html").exists()
    assert [*(tmp_path / "sheets").glob("*.jpg")]
    again = study("--quick", "--out", tmp_path, "--jobs", 1)
    assert "0 of them to be done" in again.output
    assert read_results(tmp_path).rows == [row]


@pytest.mark.slow
def test_a_row_that_fails_is_told_and_gives_exit_code_1(tmp_path, one_experiment, monkeypatch):
    models = {"trn_multi_scale": {"train": ["model=trn_tiny"]}, "trn": {"train": ["model=trn_tiny", "optim.lr=1.e+30"]}}
    monkeypatch.setattr(
        study_command, "read_experiment", lambda name: parse_experiment(name, NODE | {"models": models})
    )
    told = study("--quick", "--out", tmp_path, "--jobs", 1)
    assert told.exit_code == 1
    assert "Error: study_fusion  order20  trn  ordered  seed 0: the lo" in told.output
    assert [row.model for row in read_results(tmp_path).rows] == ["trn_multi_scale"]


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_several_processes_train_and_test_on_one_gpu(tmp_path, one_experiment, monkeypatch):
    models = {name: {"train": ["model=trn_tiny", f"optim.lr=0.00{n}"]} for n, name in enumerate(("a", "b", "c"), 1)}
    monkeypatch.setattr(
        study_command, "read_experiment", lambda name: parse_experiment(name, NODE | {"models": models})
    )
    told = study("--quick", "--out", tmp_path, "--jobs", 3, "--accelerator", "gpu")
    assert told.exit_code == 0, told.output
    results = read_results(tmp_path)
    assert len(results.rows) == 3
    assert results.machine["accelerator"]
