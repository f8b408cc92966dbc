"""Checkpoints that are whole or not there, and the callback that decides when to write them."""

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only

from pv_sparse.errors import PvSparseError
from pv_sparse.whole_files import whole_file

LAST, BEST, PREVIOUS = "last.ckpt", "best.ckpt", "previous.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Files get their name when they are whole and on the disk: a process may be killed at any time.

    Raises:
        PvSparseError: the disk is full, or another fault of the system; the file that was there before is still there.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with whole_file(path) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
            if _comes_of(error, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            raise PvSparseError(_told(path, error)) from error

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """Tensors and plain values only."""
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)


class LastAndBest(Checkpoint):
    """Writes `last.ckpt`, to go on from, and `best.ckpt`, with the best figure so far.

    `last.ckpt` is written every so many optimizer steps, between two of them, and after each epoch with its validation.
    The one before is `previous.ckpt`.

    Args:
        folder: for both.
        every_steps: optimizer steps between two; 0 writes after epochs only.
        monitor: the figure that is the higher the better. Of equal ones, frequent on small data, the lower `val/loss`
            decides. Without figures the best is the last.
    """

    def __init__(self, folder: Path, every_steps: int = 0, monitor: str = "val/top1"):
        super().__init__()
        self.folder, self.every_steps, self.monitor = folder, every_steps, monitor
        self._best: list[float] = []  # the figure, and the negative loss
        self._last_is_best = False
        self._saved_at = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        is_due = self.every_steps > 0 and step % self.every_steps == 0 and step != self._saved_at
        # After an epoch's last batch comes its validation, and then the checkpoint that has both.
        if is_due and not trainer.is_last_batch:
            self._last_is_best = False
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        figures = trainer.callback_metrics
        reached = [float(figures[self.monitor]), -float(figures["val/loss"])] if self.monitor in figures else []
        self._last_is_best = reached > self._best if reached else not self._best
        if self._last_is_best:
            self._best = reached
        self._save(trainer)
        self._keep_best()

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._best, "last_is_best": self._last_is_best, "saved_at": self._saved_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._best, self._last_is_best = state_dict["best"], state_dict["last_is_best"]
        self._saved_at = state_dict["saved_at"]
        self._keep_best()  # the run may have been killed between the two files

    def _save(self, trainer: Trainer) -> None:
        self._saved_at = trainer.global_step
        if trainer.is_global_zero and (self.folder / LAST).exists():
            _link(self.folder / LAST, self.folder / PREVIOUS)
        trainer.save_checkpoint(self.folder / LAST)

    @rank_zero_only
    def _keep_best(self) -> None:
        if self._last_is_best:
            _link(self.folder / LAST, self.folder / BEST)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of `pv-sparse train`.

    Raises:
        PvSparseError: a file that is none, or damaged.
    """
    if not path.exists():
        raise PvSparseError(f"{path}: there is no such checkpoint")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise PvSparseError(f"{path}: it is no checkpoint of pv-sparse train, or it is damaged") from error
    if not isinstance(content, dict) or "loops" not in content:
        raise PvSparseError(f"{path}: it is no checkpoint of pv-sparse train")
    return content


def drop_suspect(folder: Path, batches_done: int) -> Path | None:
    """Of a run whose loss is no number: the newest checkpoint after which a loss was one, which becomes the last.

    Args:
        folder: of `LastAndBest`.
        batches_done: before the one whose loss is no number. A checkpoint of just then may have spoilt weights.

    Returns:
        Where it is; None where there is none.
    """
    last, previous = folder / LAST, folder / PREVIOUS
    if last.exists() and batches_in(read_checkpoint(last)) < batches_done:
        return last
    last.unlink(missing_ok=True)
    if previous.exists() and batches_in(read_checkpoint(previous)) < batches_done:
        previous.replace(last)
        return last
    return None


def batches_in(checkpoint: Mapping[str, Any]) -> int:
    """How many batches a run had done when it wrote this."""
    done: int = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["processed"]
    return done


def _link(source: Path, target: Path) -> None:
    """A second name for the same file: the first name's next file is a new one. A copy where the disk has no links."""
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        os.link(source, part)
    except OSError:
        shutil.copyfile(source, part)
    part.replace(target)


def _told(path: Path, error: Exception) -> str:
    kept = f"{path.name} of before is kept" if path.exists() else "there is none of before"
    cause = "the disk is full" if _is_full_disk(error) else " ".join(str(error).split())
    return f"{path}: the checkpoint cannot be written: {cause}; {kept}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """It, and what it comes of: torch's writer fails once more as it closes the file."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_full_disk(error: Exception) -> bool:
    full = (errno.ENOSPC, errno.EDQUOT)
    return any(isinstance(cause, OSError) and cause.errno in full for cause in _causes(error))


def _comes_of(error: Exception, kind: type[BaseException]) -> bool:
    return any(isinstance(cause, kind) for cause in _causes(error))
