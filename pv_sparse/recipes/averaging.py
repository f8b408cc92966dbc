"""`ExponentialAverage`: the moving average of the weights, which is what is validated and kept.

Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992. It is Lightning's `WeightAveraging`,
less three faults of its own `EMAWeightAveraging` in 2.6: that averages integers too, which spoils tables of numbers
such as TRN's tuples (0.9995 * 3 + 0.0005 * 3 becomes 2); `test(ckpt_path=...)` after a fit takes the weights that are
not averaged; and what is saved when a validation fails has the two exchanged.
"""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pv_sparse.recipes.checks import is_number

CURRENT_STATE = "current_model_state"


class ExponentialAverage(WeightAveraging):
    """After each step of the optimizer, average = decay * average + (1 - decay) * weights.

    Parameters and the statistics of batch norm are averaged; integers, such as counts of batches, are those of the
    weights. Validation during the fit sees the average, and when the fit ends, the model has it.

    Checkpoints have the average under `state_dict`, the weights that are trained under `current_model_state`, and what
    else the average needs under `averaging_state`; a fit that goes on from one has both again. With
    `save_weights_only=True` Lightning asks no callback, and `state_dict` has the weights that are trained.

    Args:
        decay: from 0 to below 1; an average is over about the last 1 / (1 - decay) steps.
        warm_up: whether the decay of step t is at most (1 + t) / (10 + t), as of TensorFlow's
            `ExponentialMovingAverage(num_updates=t)`, so that the random weights at the start are soon forgotten.
        device: of the average; None is the model's.

    Raises:
        ValueError: another decay.
    """

    def __init__(self, decay: float = 0.999, warm_up: bool = True, device: torch.device | str | None = None):
        if not (is_number(decay) and 0 <= decay < 1):
            raise ValueError(
                f"decay={decay!r} is not allowed: it must be a number of at least 0 and below 1, such as 0.999"
            )
        super().__init__(device=device, use_buffers=True, multi_avg_fn=self._average)
        self.decay = decay
        self.warm_up = warm_up
        self._is_exchanged = False

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_epoch_start(trainer, pl_module)
        self._is_exchanged = True

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_epoch_end(trainer, pl_module)
        self._is_exchanged = False

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # Before checkpoints are written, which are the last of the callbacks.
        if self._is_exchanged:
            self.on_validation_epoch_end(trainer, pl_module)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        # Elsewhere `state_dict`, the average, is what is wanted.
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def _average(self, averages: Any, weights: Any, num_averaged: Tensor | int) -> None:
        """Tensors of one dtype, in place."""
        if averages[0].is_floating_point():
            average_floats = get_ema_multi_avg_fn(self._decay_of(int(num_averaged)))  # type: ignore[no-untyped-call]
            average_floats(averages, weights, num_averaged)
            return
        for average, weight in zip(averages, weights, strict=True):
            average.copy_(weight)

    def _decay_of(self, step: int) -> float:
        return min(self.decay, (1 + step) / (10 + step)) if self.warm_up else self.decay
