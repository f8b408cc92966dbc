"""`History`: one row of figures for each epoch, in history.csv and in every checkpoint."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from pv_sparse.whole_files import whole_file

Row = dict[str, float | int]
FORKS = ("_step", "_epoch")


class History(Callback):
    """Collects `epoch`, `step`, `lr` and the figures with a slash in their names: `train/loss`, `val/top1`, ...

    `epoch` counts from 1, `step` the optimizer's steps so far, `lr` is that of the first parameter group in the epoch's
    last step. A figure that was not logged in an epoch is not in its row, as of epochs without validation.

    Checkpoints written at an epoch's end have its row: Lightning calls `Checkpoint` callbacks last. Other callbacks it
    calls before the module's own `on_train_epoch_end`, so that what is logged there comes too late, and is in no row.
    Log figures of the training in `training_step` with `on_epoch=True` (numbers, or torchmetrics objects, whose state
    a checkpoint can carry), or in a callback that stands before this one.

    A run that goes on from a checkpoint that was written after a validation, but before its epoch's end (as
    `ModelCheckpoint(save_on_train_epoch_end=False)` does), lacks that epoch's figures.

    Args:
        path: of history.csv, written anew after every epoch by the process of rank zero; None writes none.
    """

    def __init__(self, path: Path | None = None):
        self.path = path
        self.rows: list[Row] = []
        self._lr: float | None = None
        self._known: dict[str, Any] = {}

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._known = dict(trainer.callback_metrics)

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Not at the epoch's end: schedules have gone on by then.
        self._lr = float(trainer.optimizers[0].param_groups[0]["lr"]) if trainer.optimizers else None

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        row: Row = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        if self._lr is not None:
            row["lr"] = self._lr
        self.rows.append(row | self._new_figures(trainer))
        if self.path is not None and trainer.is_global_zero:
            write_history(self.path, self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": [dict(row) for row in self.rows], "lr": self._lr}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows, self._lr = state["rows"], state["lr"]

    def _new_figures(self, trainer: Trainer) -> Row:
        """Logged since the epoch began; Lightning keeps older ones, and replaces those that are logged again."""
        figures = trainer.callback_metrics
        return {
            name: float(value)
            for name, value in figures.items()
            if "/" in name and value is not self._known.get(name) and not _is_double(name, figures)
        }


def _is_double(name: str, figures: Mapping[str, Any]) -> bool:
    """What is logged for steps and epochs has three names."""
    return any(name.removesuffix(suffix) != name and name.removesuffix(suffix) in figures for suffix in FORKS)


def history_columns(rows: Sequence[Row]) -> list[str]:
    """The names in all rows: `epoch`, `step` and `lr`, then the others by the alphabet."""
    names = {name for row in rows for name in row}
    first = [name for name in ("epoch", "step", "lr") if name in names]
    return first + sorted(names.difference(first))


def write_history(path: Path, rows: Sequence[Row]) -> None:
    """A csv with a column for every name, empty where a row lacks it; 9 digits, which float32 numbers need."""
    text = io.StringIO()
    writer = csv.DictWriter(text, history_columns(rows), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: f"{value:.9g}" if isinstance(value, float) else value for name, value in row.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(text.getvalue().encode())
