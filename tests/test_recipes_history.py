"""History with Lightning's real Trainer: what is in its rows and when, and runs that were stopped and go on."""

import csv

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric

from pv_sparse.recipes.history import History, history_columns, write_history

pytestmark = [
    pytest.mark.filterwarnings("ignore:The .*dataloader.* does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.* is deprecated"),
]
VIDEOS, BATCH = 20, 4


class Linear(pl.LightningModule):
    """Logs as a module should: figures of the training in its steps, by an object that checkpoints carry."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(4, 2)
        self.mean_loss = MeanMetric()
        self.mean_loss.persistent(True)

    def on_train_epoch_start(self):
        self.mean_loss.reset()

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.mean_loss.update(loss.detach(), weight=len(batch[0]))
        self.log("loss", loss.detach(), prog_bar=True, logger=False)
        self.log("train/loss", self.mean_loss, on_step=False, on_epoch=True)
        return loss

    def on_train_epoch_end(self):
        self.log("train/late", float(self.current_epoch))

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.loss(batch))

    def loss(self, batch):
        return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]


class GoingOn(DataLoader):
    """Batches in the same order in every epoch; the first iterator begins where the run was stopped."""

    def __init__(self, dataset, done=0):
        super().__init__(dataset, batch_sampler=self)
        self.done = done

    def __len__(self):
        return VIDEOS // BATCH

    def __iter__(self):
        start, self.done = self.done, 0
        for number in range(start, len(self)):
            yield self.dataset[number * BATCH : (number + 1) * BATCH]

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def make_data() -> TensorDataset:
    draws = torch.Generator().manual_seed(1)
    return TensorDataset(torch.randn(VIDEOS, 4, generator=draws), torch.randint(2, (VIDEOS,), generator=draws))


def fit(path, *callbacks, module=Linear, max_epochs=3, checkpoint=None, done=0, every=1) -> History:
    torch.manual_seed(0)
    history = History(path)
    trainer = pl.Trainer(
        max_epochs=max_epochs,
        logger=False,
        accelerator="cpu",
        callbacks=[*callbacks, history],
        check_val_every_n_epoch=every,
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = make_data()
    trainer.fit(module(), GoingOn(data, done), DataLoader(data, BATCH), ckpt_path=checkpoint, weights_only=True)
    return history


def test_a_row_has_the_figures_of_its_epoch(tmp_path):
    rows = fit(None, every=2).rows
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["step"] for row in rows] == [5, 10, 15]
    assert [row["lr"] for row in rows] == [0.1, 0.05, 0.025]  # That of the epoch, not of the next one
    assert rows[0]["train/loss"] > rows[1]["train/loss"] > rows[2]["train/loss"]
    # Neither figures of an older epoch, nor such as come too late, nor those of single steps.
    names = {"epoch", "step", "lr", "train/loss"}
    assert [set(row) for row in rows] == [names, names | {"val/loss"}, names]


def test_the_loss_is_the_mean_over_the_epoch(tmp_path):
    torch.manual_seed(0)
    module, losses = Linear(), []
    optimizer = module.configure_optimizers()[0][0]
    data = make_data()
    for number in range(VIDEOS // BATCH):
        loss = module.loss(data[number * BATCH : (number + 1) * BATCH])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    row = fit(None, max_epochs=1).rows[0]
    assert row["train/loss"] == pytest.approx(sum(losses) / len(losses))
    assert row["val/loss"] == pytest.approx(module.loss(data[:]).item())


def test_the_file_is_written_after_every_epoch(tmp_path):
    seen = []

    class Look(Checkpoint):
        def on_train_epoch_end(self, trainer, module):
            with (tmp_path / "history.csv").open() as file:
                seen.append(list(csv.DictReader(file)))

    history = fit(tmp_path / "history.csv", Look(), every=2)
    assert [len(rows) for rows in seen] == [1, 2, 3]
    assert float(seen[-1][1]["val/loss"]) == pytest.approx(history.rows[1]["val/loss"])
    assert seen[-1][2]["val/loss"] == ""
    assert list(seen[-1][0]) == ["epoch", "step", "lr", "train/loss", "val/loss"]
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]


@pytest.mark.parametrize(
    ("checkpoint", "file", "done"),
    [
        ({"every_n_train_steps": 7}, "epoch=1-step=7.ckpt", 2),  # In the middle of the second epoch
        ({"save_on_train_epoch_end": True}, "epoch=1-step=10.ckpt", 0),
    ],
)
def test_a_run_that_goes_on_has_the_history_of_one_that_was_not_stopped(tmp_path, checkpoint, file, done):
    saving, again = (ModelCheckpoint(tmp_path / "saved", save_top_k=-1, **checkpoint) for _ in range(2))
    whole = fit(tmp_path / "whole.csv", saving)
    (tmp_path / "resumed.csv").write_text("epoch,step\n0,5\n1,10\n")  # Of what came after the checkpoint
    resumed = fit(tmp_path / "resumed.csv", again, checkpoint=tmp_path / "saved" / file, done=done)
    assert resumed.rows == whole.rows
    assert (tmp_path / "resumed.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_figures_logged_for_steps_and_epochs_are_there_once(tmp_path):
    class Both(Linear):
        def training_step(self, batch, batch_idx):
            loss = self.loss(batch)
            self.log("train/loss", loss, on_step=True, on_epoch=True)
            return loss

    history = fit(None, module=Both, max_epochs=1)
    assert set(history.rows[0]) == {"epoch", "step", "lr", "train/loss", "val/loss"}


def test_columns_of_rows_that_differ(tmp_path):
    rows = [{"epoch": 0, "step": 5, "train/loss": 0.1}, {"epoch": 1, "step": 10, "lr": 1e-5, "val/loss": 1 / 3}]
    assert history_columns(rows) == ["epoch", "step", "lr", "train/loss", "val/loss"]
    write_history(tmp_path / "new" / "history.csv", rows)
    expected = "epoch,step,lr,train/loss,val/loss\n0,5,,0.1,\n1,10,1e-05,,0.333333333\n"
    assert (tmp_path / "new" / "history.csv").read_text() == expected
