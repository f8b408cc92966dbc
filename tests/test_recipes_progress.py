"""Throughput against a clock that the test turns, and what is shown of it."""

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from pv_sparse.recipes.history import History
from pv_sparse.recipes.progress import (
    EpochLines,
    Throughput,
    TrainingBar,
    count_clips,
    epoch_line,
    progress_callbacks,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:The .*dataloader.* does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.* is deprecated"),
]
LOADING, COMPUTING, VALIDATING, SAVING = 3.0, 1.0, 100.0, 1000.0  # Seconds
VIDEOS, BATCH = 12, 4


class Clock:
    """Shows what has been spent."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


class Videos(torch.utils.data.Dataset):
    def __init__(self, clock, seconds):
        self.clock, self.seconds = clock, seconds

    def __len__(self):
        return VIDEOS

    def __getitem__(self, number):
        self.clock.spend(self.seconds / BATCH)
        return {"video": torch.ones(3, 1, 2, 2), "label": number % 2}


class Net(pl.LightningModule):
    def __init__(self, clock):
        super().__init__()
        self.net, self.clock = torch.nn.Linear(12, 2), clock

    def training_step(self, batch, batch_idx):
        self.clock.spend(COMPUTING)
        loss = torch.nn.functional.cross_entropy(self.net(batch["video"].flatten(1)), batch["label"])
        self.log("loss", loss, prog_bar=True, logger=False)
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/top1", 0.75)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Saving(Checkpoint):
    """A checkpoint after certain steps and after every epoch, and how long it takes."""

    def __init__(self, path, clock, steps=()):
        self.path, self.clock, self.steps = path, clock, steps

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step in self.steps:
            self.save(trainer)

    def on_train_epoch_end(self, trainer, module):
        self.save(trainer)

    def save(self, trainer):
        trainer.save_checkpoint(self.path)
        self.clock.spend(SAVING)


def fit(clock, *callbacks, logger=False, epochs=2, validation_every=1.0):
    trainer = pl.Trainer(
        max_epochs=epochs,
        logger=logger,
        accelerator="cpu",
        callbacks=list(callbacks),
        val_check_interval=validation_every,
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        enable_model_summary=False,
    )
    trainer.fit(Net(clock), DataLoader(Videos(clock, LOADING), BATCH), DataLoader(Videos(clock, VALIDATING), BATCH))


def test_waiting_and_computing_are_told_apart(tmp_path):
    clock = Clock()
    throughput = Throughput(clock=clock)
    fit(clock, throughput)
    assert [tuple(step) for step in throughput.epoch] == [(LOADING, COMPUTING, BATCH)] * 3
    assert len(throughput.last) == 6
    assert throughput.figures() == {"clips_per_second": 1.0, "wait_share": 0.75}
    assert throughput.shown() == {"clips/s": "1.0", "data wait": "75 %"}


def test_validation_and_checkpoints_do_not_count(tmp_path):
    clock = Clock()
    throughput = Throughput(clock=clock)
    # A validation after every step, a checkpoint after the first, and one after each epoch.
    fit(clock, throughput, Saving(tmp_path / "last.ckpt", clock, steps=[1]), validation_every=1)
    assert {tuple(step) for step in throughput.last} == {(LOADING, COMPUTING, BATCH)}
    assert len(throughput.last) == 6

    throughput = Throughput(clock=clock)
    fit(clock, throughput, Saving(tmp_path / "last.ckpt", clock, steps=[1, 4]))
    assert {tuple(step) for step in throughput.last} == {(LOADING, COMPUTING, BATCH)}
    assert len(throughput.last) == 4  # The steps after checkpoints are left out


def test_only_the_last_steps_are_shown():
    throughput = Throughput(window=2, clock=Clock())
    clock = throughput.clock
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    throughput.on_train_epoch_start(trainer, None)
    for waited in (50, 1, 3):
        clock.spend(waited)
        throughput.on_train_batch_start(trainer, None, torch.zeros(16), 0)
        clock.spend(4)
        throughput.on_train_batch_end(trainer, None, None, torch.zeros(16), 0)
    assert throughput.shown() == {"clips/s": "2.7", "data wait": "33 %"}
    assert throughput.figures()["wait_share"] == pytest.approx(54 / 66)
    assert Throughput().figures() == Throughput().shown() == {}


def test_clips_of_all_processes_are_counted(monkeypatch):
    monkeypatch.setattr(pl.Trainer, "world_size", 4)
    clock = Clock()
    throughput = Throughput(clock=clock)
    fit(clock, throughput, epochs=1)
    assert {step.clips for step in throughput.epoch} == {4 * BATCH}
    assert throughput.shown()["clips/s"] == "4.0"


def test_loggers_and_history_get_the_figures_of_every_epoch(tmp_path):
    clock = Clock()
    history = History()
    logger = CSVLogger(tmp_path, name="", version="")
    fit(clock, Throughput(clock=clock), history, logger=logger)
    assert [row["throughput/clips_per_second"] for row in history.rows] == [1.0, 1.0]
    assert [row["throughput/wait_share"] for row in history.rows] == [0.75, 0.75]
    logged = (tmp_path / "metrics.csv").read_text().splitlines()
    assert {"throughput/clips_per_second", "throughput/wait_share"} <= set(logged[0].split(","))


def test_the_bar_shows_them_beside_the_loss(capsys):
    clock = Clock()
    throughput = Throughput(clock=clock)
    fit(clock, throughput, TrainingBar(throughput), epochs=1)
    shown = capsys.readouterr().out
    assert "loss=0." in shown
    assert "clips/s=1.0, data wait=75 %" in shown
    assert "v_num" not in shown


def test_lines_tell_of_every_epoch():
    clock, lines = Clock(), []
    history = History()
    fit(clock, Throughput(clock=clock), history, EpochLines(history, lines.append))
    losses = [row["train/loss"] for row in history.rows]
    assert lines == [
        f"epoch 1/2  loss {losses[0]:.3f}  val top1 0.750  1.0 clips/s  waiting 75 %  lr 0.01",
        f"epoch 2/2  loss {losses[1]:.3f}  val top1 0.750  1.0 clips/s  waiting 75 %  lr 0.01",
    ]


def test_a_line_has_what_its_row_has():
    row = {"epoch": 3, "step": 9, "val/verb/top1": 0.5, "val/top5": 0.9, "val/map": 0.25, "train/top1": 0.8}
    assert epoch_line(row) == epoch_line(row, -1) == "epoch 3  top1 0.800  val map 0.250  val verb top1 0.500"
    speed = {"throughput/clips_per_second": 512.3, "throughput/wait_share": 0.123}
    assert epoch_line({"epoch": 1, "lr": 3e-05, **speed}) == "epoch 1  512 clips/s  waiting 12 %  lr 3e-05"


def test_lines_go_to_standard_error_and_the_bar_to_terminals(capsys, monkeypatch, tmp_path):
    clock = Clock()
    callbacks = progress_callbacks(tmp_path)
    assert [type(callback) for callback in callbacks] == [Throughput, History, EpochLines]
    fit(clock, *callbacks, epochs=1)
    assert "epoch 1/1  loss" in capsys.readouterr().err
    assert (tmp_path / "history.csv").exists()

    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert isinstance(progress_callbacks()[2], EpochLines)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert isinstance(progress_callbacks()[2], TrainingBar)
    assert isinstance(progress_callbacks(show_bar=False)[2], EpochLines)


def test_batches_of_every_form_are_counted():
    clips = torch.zeros(5, 3, 8, 4, 4)
    for batch in ({"label": torch.zeros(1), "video": clips}, {"pixel_values": clips}, clips, [clips, 1], (clips,)):
        assert count_clips(batch) == 5
