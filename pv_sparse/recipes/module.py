"""`RecognitionModule`: any of the models as a LightningModule."""

from typing import Any

import numpy as np
import torch
import torch.distributed
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import MeanMetric

from pv_sparse.errors import PvSparseError
from pv_sparse.models.logits import Logits, map_logits
from pv_sparse.recipes.checks import is_number
from pv_sparse.recipes.losses import TaskLoss
from pv_sparse.recipes.mixing import mixup
from pv_sparse.recipes.optimization import MONITORED, Optimization
from pv_sparse.recipes.predictions import Judged, Predictions

Batch = dict[str, Any]


class NotFiniteError(PvSparseError):
    """The loss is no finite number any more: `batches_done` before that, in all epochs."""

    def __init__(self, text: str, batches_done: int):
        super().__init__(text)
        self.batches_done = batches_done


class RecognitionModule(LightningModule):
    """A model, its loss and its optimization.

    Logged: `train/loss`, `train/top1` (of one task, without mixup), `val/loss`, `val/top1`, `val/top5`,
    `val/mean_class_accuracy`; of several tasks as `val/verb/top1` and so on, where `val/top1` is for all tasks right at
    once; of several right classes `val/map`. All are fractions.

    Every training step starts its random numbers (dropout, TRN's tuples, mixup) from seed, step and rank alone, so that
    they are the same in a run that was killed and goes on.

    Args:
        model: from videos (N, C, T, H, W) to logits, or a dict of them.
        optimization: optimizer, parameter groups and schedule.
        loss: of logits and labels; None is `TaskLoss` as it is by default.
        global_batch_size: of all processes and accumulated batches together, for `reference_batch_size`.
        steps_per_epoch: of the optimizer; the schedule then moves at each of them, else at each epoch.
        mixup_alpha: of mixup's Beta distribution; 0 does not mix.
        multi_label: whether several classes can be right.
        channels_last: whether 2-D convolutions run in this memory format.
        seed: of what is drawn in training.

    Raises:
        ValueError: a negative alpha; a learning rate to be scaled, and no batch size to scale it by.
    """

    def __init__(
        self,
        model: nn.Module,
        optimization: Optimization,
        loss: TaskLoss | None = None,
        *,
        global_batch_size: int | None = None,
        steps_per_epoch: int | None = None,
        mixup_alpha: float = 0.0,
        multi_label: bool = False,
        channels_last: bool = False,
        seed: int = 0,
    ):
        super().__init__()
        if not (is_number(mixup_alpha) and mixup_alpha >= 0):
            raise ValueError(f"mixup_alpha={mixup_alpha} is not allowed: it must be 0 (off) or more")
        if optimization.reference_batch_size is not None and global_batch_size is None:
            raise ValueError("reference_batch_size scales the learning rate: give global_batch_size= too")
        self.model = _channels_last(model) if channels_last else model
        self.loss, self.optimization = loss or TaskLoss(multi_label=multi_label), optimization
        self.global_batch_size, self.steps_per_epoch = global_batch_size, steps_per_epoch
        self.mixup_alpha, self.multi_label, self.seed = mixup_alpha, multi_label, seed
        self.monitor = "val/map" if multi_label else MONITORED
        """The figure that tells the best epoch."""
        self.running = nn.ModuleDict({"loss": MeanMetric(), "top1": MeanMetric()})
        for metric in self.running.values():
            metric.persistent(True)  # type: ignore[operator]  # an epoch that is gone on with has the whole's figures
        self.predictions = Predictions()
        self.judged: Judged | None = None
        """Of the last evaluation."""
        self._is_validated = False  # in this epoch
        self._plateau: ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None

    def forward(self, video: Tensor) -> Logits:
        return self.model(video)

    def configure_optimizers(self) -> Any:
        made = self.optimization.create(
            self.model,
            max_epochs=self.trainer.max_epochs or 1,
            batch_size=self.global_batch_size or 1,
            steps_per_epoch=self.steps_per_epoch,
        )
        scheduler = made.get("lr_scheduler", {}).get("scheduler")
        if not isinstance(scheduler, ReduceLROnPlateau):
            return made
        # Lightning steps it after checkpoints are saved, and a run that goes on would miss that step.
        self._plateau = scheduler
        if self._plateau_state is not None:
            scheduler.load_state_dict(self._plateau_state)
        return made["optimizer"]

    def on_fit_start(self) -> None:
        self.train()  # `load_model` gives models in eval mode, in which Lightning would train them

    def on_train_epoch_start(self) -> None:
        self._is_validated = False
        for metric in self.running.values():
            metric.reset()  # type: ignore[operator]

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        numbers = [self.seed, self.trainer.fit_loop.total_batch_idx + 1, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        video, labels = batch["video"], batch["label"]
        if self.mixup_alpha:
            mixed = mixup(video, self.mixup_alpha)
            loss = mixed.loss(self.loss, self.model(mixed.video), labels)
        else:
            logits = self.model(video)
            loss = self.loss(logits, labels)
            self._count_right(logits, labels)
        self._check_finite(loss.detach())
        self._log_running("loss", loss.detach(), weight=len(video))
        self.log("loss", loss.detach(), prog_bar=True, logger=False)
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log_dict({"train/loss_step": loss.detach(), "train/lr_step": rate})
        return loss

    def on_train_epoch_end(self) -> None:
        if self._plateau is not None and self._is_validated:
            self._plateau.step(float(self.trainer.callback_metrics[self.monitor]))

    def on_validation_epoch_start(self) -> None:
        self.predictions.clear()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        logits, numbers = self.model(batch["video"]), batch["requested_index"]
        # Of the others the file cannot be read, and another one stood in.
        is_own = batch["video_index"] == numbers
        own = (map_logits(lambda rows: rows[is_own], value) for value in (logits, batch["label"], numbers))
        self.predictions.add(*own)  # type: ignore[arg-type]

    def on_validation_epoch_end(self) -> None:
        self._is_validated = True
        self._log_judged("val")

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    def on_test_epoch_end(self) -> None:
        self._log_judged("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self._plateau is not None:
            checkpoint["plateau"] = self._plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._plateau_state = checkpoint.get("plateau")

    def _count_right(self, logits: Logits, labels: Any) -> None:
        if isinstance(logits, dict) or self.multi_label:
            return
        labelled = labels >= 0
        right = (logits.detach().argmax(dim=1) == labels)[labelled]
        self._log_running("top1", right.float())

    def _log_running(self, name: str, value: Tensor, weight: float = 1.0) -> None:
        metric = self.running[name]
        metric.update(value, weight)  # type: ignore[operator]
        self.log(f"train/{name}", metric, on_step=False, on_epoch=True)  # type: ignore[arg-type]

    def _log_judged(self, split: str) -> None:
        self.judged = self.predictions.gather()
        self.predictions.clear()
        self._check_judged(self.judged)
        logits, labels = (map_logits(self._here, value) for value in (self.judged.logits, self.judged.labels))
        figures = {"loss": float(self.loss(logits, labels)), **self.judged.metrics(self.multi_label)}
        for name, value in figures.items():
            self.log(f"{split}/{name}", value, prog_bar=name in ("top1", "map"), rank_zero_only=True)

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device)

    def _check_finite(self, loss: Tensor) -> None:
        """On every process alike: none may go on alone."""
        is_bad = (~loss.isfinite()).float()
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(is_bad, torch.distributed.ReduceOp.MAX)
        if is_bad:
            done, epoch = self.trainer.fit_loop.total_batch_idx, self.trainer.current_epoch + 1
            raise NotFiniteError(f"the loss is {float(loss)} in step {done + 1}, in epoch {epoch}", done)

    def _check_judged(self, judged: Judged) -> None:
        logits = judged.logits if isinstance(judged.logits, dict) else {"": judged.logits}
        if not all(own.isfinite().all() for own in logits.values()):
            done = self.trainer.fit_loop.total_batch_idx + 1
            raise NotFiniteError(f"the logits of the validation are no finite numbers after step {done}", done)


def _channels_last(model: nn.Module) -> nn.Module:
    """In place. A 3-D network stays as it is: its weights have a dimension more than this format."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
    return model
