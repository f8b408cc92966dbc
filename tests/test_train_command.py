"""`pv-sparse train` as a program: what it prints, where it writes, how it fails."""

import importlib
import signal
import subprocess
import sys

import click
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from square_runs import SMALL, quiet_lightning

from pv_sparse import cli, train_command
from pv_sparse.recipes import console

pytestmark = quiet_lightning
# A shell's job in the background ignores Ctrl-C, and so would this one.
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from pv_sparse.cli import main
main()
"""


@pytest.fixture(autouse=True)
def process_of_others(monkeypatch):
    """The command may silence and slow its own process; here it is that of all tests."""
    monkeypatch.setattr(train_command, "quiet_lightning", lambda: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, ["train", *arguments])


def test_a_run_tells_its_figures_and_where_things_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = invoke(*SMALL, "data.root=squares", "trainer.max_epochs=1")
    assert done.exit_code == 0, done.output
    assert "top1 0." in done.stdout or "top1 1." in done.stdout
    assert "runs/square_tsn/model.safetensors has the model, runs/square_tsn/report/ the report" in done.stdout
    assert "epoch 1/1  loss " in done.stderr
    assert (tmp_path / "runs" / "square_tsn" / "model.safetensors").exists()


def test_the_configuration_is_shown(tmp_path):
    shown = yaml.safe_load(invoke("experiment=tsn_k400_r50", "optim.lr=0.5", "--show").stdout)
    assert shown["optim"]["lr"] == 0.5
    assert shown["data"]["root"] == "???"
    assert shown["out"] == "runs/tsn_k400_r50"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["experiment=square_tsn"], "Error: data.root must be given: add data.root=... to the command\n"),
        (["experiment=tsn", "data.root=x"], "Error: experiment=tsn is unknown: choose one of "),
        (["optim.learning_rate=1", "data.root=x"], "Error: optim.learning_rate is no setting: did you mean "),
        (
            ["data.root=nowhere"],
            "Error: nowhere/train: no videos: give a folder that holds a folder of videos for each",
        ),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    failed = invoke(*arguments)
    assert failed.exit_code == 1
    assert failed.stderr.startswith(words)
    assert failed.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_told_to_stop_says_so(tmp_path, how):
    """And goes on by the same command."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, "train", *SMALL, f"data.root={tmp_path / 'data'}"]
    command += [f"out={tmp_path / 'out'}", "trainer.max_epochs=1000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as program:
        for line in program.stderr:
            if line.startswith("epoch 1/1000"):
                break
        program.send_signal(how)
        told = program.stderr.read()
    assert program.returncode == 128 + how
    assert told.splitlines()[-1] == "stopped: the same command goes on from the last checkpoint"
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_what_is_not_installed_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning", None)
    words = r'lightning is not installed: pip install "pv-sparse\[train\]"'
    with pytest.raises(click.ClickException, match=words), cli.needs_extra("train"):
        importlib.import_module("lightning")


def test_cores_are_left_to_the_workers(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    given = []
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for workers in (2, 20):
        console.leave_cores_to(workers)
    assert given == [6, 1]


def test_lightning_is_quiet(monkeypatch):
    levels = {}
    monkeypatch.setattr("logging.Logger.setLevel", lambda logger, level: levels.update({logger.name: level}))
    monkeypatch.setattr("warnings.filterwarnings", lambda *arguments, **named: None)
    console.quiet_lightning()
    assert set(levels) == set(console.CHATTY)
