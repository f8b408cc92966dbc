"""A run that is killed and started again ends as one that was not."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lightning.pytorch import Callback
from square_runs import SMALL, Killed, assert_same_tensors, quiet_lightning, run
from waiting import wait_until

from pv_sparse.recipes import report, trainers

pytestmark = quiet_lightning
MODELS = {
    "tsn": (),
    "trn with dropout and mixup": ("model=trn_tiny", "model.num_segments=4", "mixup_alpha=0.4"),
    "averaged weights": ("ema_decay=0.9",),
    "plateau": ("optim=sgd", "optim.schedule=plateau", "optim.gamma=0.5"),
    "accumulated, partial batch norm": ("trainer.accumulate_grad_batches=2", "batch_norm=partial"),
}


class KillAt(Callback):
    """Ends the run as step `step`, counted from 1 over all epochs, begins, or has ended."""

    def __init__(self, step: int, after: bool = False):
        self.step, self.after = step, after

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if not self.after and trainer.fit_loop.total_batch_idx + 1 == self.step:
            raise Killed

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if self.after and trainer.fit_loop.total_batch_idx + 1 == self.step:
            raise Killed


class KillInValidation(Callback):
    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        raise Killed


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("square")


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """Runs that nothing stopped, each done once."""
    done = {}

    def of(name: str) -> Path:
        if name not in done:
            done[name] = tmp_path_factory.mktemp("whole")
            run(data, done[name], *MODELS[name])
        return done[name]

    return of


def killed_run(monkeypatch, killer: Callback, data: Path, out: Path, *overrides: str) -> None:
    with monkeypatch.context() as patch:
        rules = trainers.training_rules
        patch.setattr(trainers, "training_rules", lambda config: [*rules(config), killer])
        with pytest.raises(Killed):
            run(data, out, *overrides)


def history(out: Path) -> list[dict[str, str]]:
    with (out / "history.csv").open() as file:
        return [{key: row[key] for key in row if not key.startswith("throughput")} for row in csv.DictReader(file)]


def metrics(out: Path) -> dict:
    return json.loads((out / "report" / "metrics.json").read_text())


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch):
    """They take longer than the runs, and other tests look at them."""
    for plot in ("plot_curves", "plot_confusion"):
        monkeypatch.setattr(report, plot, lambda *arguments: b"")


def assert_ends_alike(out: Path, whole: Path) -> None:
    assert_same_tensors(out, whole)
    assert history(out) == history(whole)
    assert metrics(out) == metrics(whole)


@pytest.mark.slow
@pytest.mark.parametrize("step", range(1, 13))
def test_killed_at_any_step(monkeypatch, data, whole, tmp_path, step):
    """6 steps make an epoch; all of them write a checkpoint."""
    killed_run(monkeypatch, KillAt(step), data, tmp_path)
    run(data, tmp_path)
    assert_ends_alike(tmp_path, whole("tsn"))


@pytest.mark.slow
@pytest.mark.parametrize("step", [2, 6, 7])
@pytest.mark.parametrize("name", list(MODELS)[1:])
def test_killed_with_every_kind_of_state(monkeypatch, data, whole, tmp_path, name, step):
    killed_run(monkeypatch, KillAt(step), data, tmp_path, *MODELS[name])
    run(data, tmp_path, *MODELS[name])
    assert_ends_alike(tmp_path, whole(name))


@pytest.mark.slow
@pytest.mark.parametrize("step", [5, 9])
def test_killed_between_two_checkpoints(monkeypatch, data, whole, tmp_path, step):
    killed_run(monkeypatch, KillAt(step), data, tmp_path, "checkpoint_every_steps=4")
    run(data, tmp_path, "checkpoint_every_steps=4")
    assert_ends_alike(tmp_path, whole("tsn"))


@pytest.mark.slow
def test_killed_twice_while_gradients_are_summed_up(monkeypatch, data, tmp_path):
    settings = ("trainer.accumulate_grad_batches=3", "trainer.max_epochs=1")
    run(data, tmp_path / "whole", *settings)
    for step in (5, 6):
        killed_run(monkeypatch, KillAt(step), data, tmp_path / "killed", *settings)
    run(data, tmp_path / "killed", *settings)
    assert_ends_alike(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
def test_killed_in_an_epoch_without_validation(monkeypatch, data, tmp_path):
    """The best checkpoint stays that of the last validation."""
    settings = ("trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3")
    run(data, tmp_path / "whole", *settings)
    killed_run(monkeypatch, KillAt(15), data, tmp_path / "killed", *settings)
    run(data, tmp_path / "killed", *settings)
    assert_ends_alike(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
def test_killed_in_a_validation_and_again_later(monkeypatch, data, whole, tmp_path):
    for killer in (KillInValidation(), KillAt(6), KillAt(9), KillAt(9)):
        killed_run(monkeypatch, killer, data, tmp_path)
    run(data, tmp_path)
    assert_ends_alike(tmp_path, whole("tsn"))


@pytest.mark.slow
def test_a_process_that_is_killed_and_the_same_command(data, whole, tmp_path):
    """`kill -9` while workers load, somewhere in the run."""
    settings = [setting for setting in SMALL if "num_workers" not in setting]
    command = [sys.executable, "-W", "ignore", "-m", "pv_sparse", "train", *settings]
    command += [f"data.root={data}", f"out={tmp_path}", "data.num_workers=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    wait_until(checkpoint.exists, first)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert not (tmp_path / "model.safetensors").exists()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert_ends_alike(tmp_path, whole("tsn"))
