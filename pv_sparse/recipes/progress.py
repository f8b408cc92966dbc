"""What a person sees while a model trains: a progress bar or a line for each epoch, with clips/s and the data wait."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from torch import Tensor

from pv_sparse.recipes.history import History, Row, history_columns

PREFIX = "throughput/"
SHOWN = ("loss", "top1", "map")


class StepTime(NamedTuple):
    """Seconds of one training step, and the clips of all processes in it."""

    waited: float
    computed: float
    clips: int


class Throughput(Callback):
    """Measures how long training waits for data: from the end of a step to the start of the next, transfer included.

    Validation does not count, and a step before which a checkpoint was written is left out, since the loader's workers
    went on meanwhile. At an epoch's end `throughput/clips_per_second` and `throughput/wait_share` (0 to 1) go to the
    loggers. Of several processes the clips of all are counted, and the time of rank zero.

    A GPU computes while the process already waits for the next batch, so that there the share is an upper bound of the
    time in which it idles.

    Args:
        window: how many of the last steps the bar's figures are of.
        clock: seconds, from any start.
    """

    def __init__(self, window: int = 50, clock: Callable[[], float] = time.perf_counter):
        self.clock = clock
        self.last: deque[StepTime] = deque(maxlen=window)
        self.epoch: list[StepTime] = []
        """Of the steps of this epoch that were measured."""
        self._ended: float | None = None
        self._started = 0.0
        self._waited: float | None = None

    def figures(self) -> dict[str, float]:
        """`clips_per_second` and `wait_share` of this epoch; none where no step was measured."""
        return _figures(self.epoch)

    def shown(self) -> dict[str, str]:
        """`clips/s` and `data wait` of the last steps, as texts for a progress bar."""
        return _told(_figures(self.last))

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.epoch = []
        self._ended = self.clock()

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._started = self.clock()
        self._waited = None if self._ended is None else self._started - self._ended

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._ended = self.clock()
        if self._waited is not None:
            step = StepTime(self._waited, self._ended - self._started, count_clips(batch) * trainer.world_size)
            self.last.append(step)
            self.epoch.append(step)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._ended = self.clock()

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._ended = None  # It is being written: how long that takes cannot be seen from here.

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        for name, value in self.figures().items():
            module.log(PREFIX + name, value, rank_zero_only=True)


class TrainingBar(TQDMProgressBar):
    """Lightning's bar, with clips/s and the data wait beside the loss."""

    def __init__(self, throughput: Throughput, refresh_rate: int = 1):
        super().__init__(refresh_rate=refresh_rate)
        self.throughput = throughput

    def get_metrics(self, trainer: Trainer, module: LightningModule) -> dict[str, Any]:
        items: dict[str, Any] = dict(super().get_metrics(trainer, module))
        items.pop("v_num", None)
        return items | self.throughput.shown()


class EpochLines(Callback):
    """One line for each epoch, for logs: those figures of its row in `history` that tell how it goes.

    Args:
        history: stands before this one among the callbacks.
        write: of a line; None writes to standard error.
    """

    def __init__(self, history: History, write: Callable[[str], None] | None = None):
        self.history = history
        self.write = write or _write

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.is_global_zero:
            self.write(epoch_line(self.history.rows[-1], trainer.max_epochs))


def epoch_line(row: Row, max_epochs: int | None = None) -> str:
    """`epoch 3/30  loss 0.412  top1 0.883  val loss 0.5  val top1 0.81  512 clips/s  waiting 12 %  lr 0.01`."""
    of_all = f"/{max_epochs}" if max_epochs is not None and max_epochs > 0 else ""
    parts = [f"epoch {row['epoch']:.0f}{of_all}"]
    shown = [name for name in history_columns([row]) if name.rpartition("/")[2] in SHOWN]
    parts += [f"{name.removeprefix('train/').replace('/', ' ')} {row[name]:.3f}" for name in shown]
    told = _told({name.removeprefix(PREFIX): value for name, value in row.items() if name.startswith(PREFIX)})
    parts += [f"{told['clips/s']} clips/s", f"waiting {told['data wait']}"] if told else []
    return "  ".join([*parts, f"lr {row['lr']:.3g}"] if "lr" in row else parts)


def progress_callbacks(folder: Path | None = None, show_bar: bool | None = None) -> list[Callback]:
    """`Throughput`, `History`, and `TrainingBar` or `EpochLines`, in the order in which they need each other.

    Without the bar a `Trainer` needs `enable_progress_bar=False`, or it shows one of its own.

    Args:
        folder: for history.csv; None writes none.
        show_bar: None shows the bar where people watch: where standard output, to which Lightning's bar goes, and
            standard error are terminals.
    """
    throughput = Throughput()
    history = History(None if folder is None else folder / "history.csv")
    if show_bar is None:
        show_bar = sys.stdout.isatty() and sys.stderr.isatty()
    return [throughput, history, TrainingBar(throughput) if show_bar else EpochLines(history)]


def count_clips(batch: Any) -> int:
    """In a batch of one process: the length of `video`, or of the first tensor."""
    if isinstance(batch, Mapping):
        return count_clips(batch["video"] if "video" in batch else next(iter(batch.values())))
    return len(batch) if isinstance(batch, Tensor) else count_clips(batch[0])


def _figures(steps: Iterable[StepTime]) -> dict[str, float]:
    waited, computed, clips = (sum(column) for column in zip(*steps, strict=True)) if steps else (0, 0, 0)
    seconds = waited + computed
    return {"clips_per_second": clips / seconds, "wait_share": waited / seconds} if seconds > 0 else {}


def _told(figures: Mapping[str, float]) -> dict[str, str]:
    if not figures:
        return {}
    rate = figures["clips_per_second"]
    return {
        "clips/s": f"{rate:.1f}" if rate < 10 else f"{rate:.0f}",
        "data wait": f"{100 * figures['wait_share']:.0f} %",
    }


def _write(line: str) -> None:
    click.echo(line, err=True)
