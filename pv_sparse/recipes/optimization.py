"""`Optimization`: optimizer, parameter groups and schedule of a recipe, as plain values."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from pv_sparse.recipes.checks import is_number
from pv_sparse.recipes.policies import POLICIES, parameter_groups

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("step", "plateau", "cosine", "constant")
MONITORED = "val/top1"
NUMBERS = {"betas": [0.9, 0.999], "milestones": [30, 60]}


@dataclass(frozen=True)
class Optimization:
    """How a recipe learns. Values of another optimizer or schedule than the chosen one are not used.

    Args:
        lr: learning rate of parameters whose policy gives them the factor 1.
        optimizer: `sgd` (Caffe's and PyTorch's, without dampening) or `adamw` (Loshchilov and Hutter, ICLR 2019).
        momentum: `sgd`.
        nesterov: `sgd`: Nesterov's momentum, as ECO has it.
        weight_decay: of parameters whose policy gives them the factor 1.
        betas: `adamw`.
        policy: a name that `parameter_groups` knows.
        schedule: `step`: times `gamma` when each of `milestones` is reached; `plateau`: times `gamma` after `patience`
            epochs in a row without a new best `val/top1`, as ECO-pytorch does (`num_saturate`); `cosine`: half a
            period, from `lr` to `lr * min_lr_ratio` at the end (Loshchilov and Hutter, SGDR, ICLR 2017); `constant`.
        milestones: epochs, counted from the start, the warm-up included.
        gamma: above 0 and below 1.
        patience: epochs.
        min_lr_ratio: the least that `step`, `plateau` and `cosine` leave of the learning rate.
        warmup_epochs: over which the learning rate rises in equal steps, the last of which reaches it as they end
            (Goyal et al., "Accurate, Large Minibatch SGD", 2017). Not for `plateau`.
        reference_batch_size: the batch that `lr` is meant for: it is scaled in proportion to the actual one (Goyal et
            al.). None takes `lr` as it is.

    Raises:
        ValueError: an unknown name, or numbers that make no sense.
    """

    lr: float
    optimizer: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.999)
    policy: str = "tsn"
    schedule: str = "step"
    milestones: Sequence[float] = ()
    gamma: float = 0.1
    patience: int = 5
    min_lr_ratio: float = 0.0
    warmup_epochs: float = 0
    reference_batch_size: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", _numbers("betas", self.betas))
        object.__setattr__(self, "milestones", _numbers("milestones", self.milestones))
        self._check_names()
        self._check_optimizer()
        self._check_schedule()

    def learning_rate(self, batch_size: int) -> float:
        """Of parameters with the factor 1, for this many videos before each step of the optimizer, on all devices."""
        if self.reference_batch_size is None:
            return self.lr
        return self.lr * batch_size / self.reference_batch_size

    def create(
        self, model: nn.Module, *, max_epochs: int, batch_size: int, steps_per_epoch: int | None = None
    ) -> dict[str, Any]:
        """What Lightning's `configure_optimizers` returns: `optimizer`, and `lr_scheduler` with how to step it.

        Args:
            model: what is frozen must be frozen before.
            max_epochs: when `cosine` ends.
            batch_size: videos before each step of the optimizer, on all devices and in all accumulated batches.
            steps_per_epoch: steps of the optimizer; given, `cosine` and the warm-up change the learning rate at each
                step, else at each epoch. `plateau` is stepped once an epoch, after validation.

        Raises:
            ValueError: a warm-up that is not over before `max_epochs`; a model of which nothing requires gradients.
        """
        if max_epochs <= self.warmup_epochs:
            raise ValueError(f"warmup_epochs={self.warmup_epochs} must be less than max_epochs={max_epochs}")
        optimizer = self._optimizer(model, self.learning_rate(batch_size))
        if self.schedule == "plateau":
            return {"optimizer": optimizer, "lr_scheduler": self._plateau(optimizer)}
        per_epoch = steps_per_epoch or 1
        scheduler = LambdaLR(optimizer, lambda step: self.factor(step, per_epoch, max_epochs))
        interval = "epoch" if steps_per_epoch is None else "step"
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": interval}}

    def factor(self, step: int, steps_per_epoch: int, max_epochs: int) -> float:
        """What `step`, `cosine` and `constant` multiply the learning rate by, at each step counted from 0.

        Steps are those of the optimizer; with `steps_per_epoch=1`, epochs.
        """
        warmup = self.warmup_epochs * steps_per_epoch
        rise = min(1.0, (step + 1) / (warmup + 1))
        if self.schedule == "step":
            passed = sum(step >= milestone * steps_per_epoch for milestone in self.milestones)
            return rise * max(self.gamma**passed, self.min_lr_ratio)
        if self.schedule == "cosine" and step >= warmup:
            done = min(1.0, (step - warmup) / (max_epochs * steps_per_epoch - warmup))
            return self.min_lr_ratio + (1 - self.min_lr_ratio) * (1 + math.cos(math.pi * done)) / 2
        return rise

    def _optimizer(self, model: nn.Module, lr: float) -> Optimizer:
        groups = parameter_groups(model, self.policy, lr, self.weight_decay)
        if self.optimizer == "adamw":
            return AdamW(groups, lr=lr, betas=self.betas, weight_decay=self.weight_decay)
        return SGD(groups, lr=lr, momentum=self.momentum, weight_decay=self.weight_decay, nesterov=self.nesterov)

    def _plateau(self, optimizer: Optimizer) -> dict[str, Any]:
        least = [group["lr"] * self.min_lr_ratio for group in optimizer.param_groups]
        scheduler = ReduceLROnPlateau(
            optimizer,
            mode="max",
            factor=self.gamma,
            patience=self.patience - 1,  # PyTorch's is how many epochs without a new best pass without a change
            threshold=0.0,
            threshold_mode="abs",
            min_lr=least,
            eps=0.0,
        )
        return {"scheduler": scheduler, "interval": "epoch", "monitor": MONITORED}

    def _check_names(self) -> None:
        known = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "policy": tuple(POLICIES)}
        for field, names in known.items():
            if getattr(self, field) not in names:
                raise ValueError(f"{field}={getattr(self, field)!r} is unknown: choose one of {', '.join(names)}")

    def _check_optimizer(self) -> None:
        self._check("lr", "a number above 0", lambda value: 0 < value < math.inf)
        self._check("weight_decay", "a number of at least 0", lambda value: 0 <= value < math.inf)
        self._check("momentum", "a number of at least 0 and below 1", lambda value: 0 <= value < 1)
        if not isinstance(self.nesterov, bool):
            raise ValueError(f"nesterov={self.nesterov!r} is not allowed: it must be True or False")
        if self.optimizer == "sgd" and self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=True needs a momentum above 0, such as 0.9")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas={self.betas} are not allowed: give two numbers of at least 0 and below 1")
        if self.reference_batch_size is not None:
            self._check("reference_batch_size", "a whole number above 0, or None", lambda value: value > 0, whole=True)

    def _check_schedule(self) -> None:
        has_order = all(a < b for a, b in zip((0, *self.milestones), self.milestones, strict=False))
        if not has_order or (self.schedule == "step" and not self.milestones):
            raise ValueError(
                f"milestones={list(self.milestones)} are not allowed: give epochs above 0 in rising order, such as "
                "[30, 60], or schedule='constant'"
            )
        self._check("gamma", "a number above 0 and below 1", lambda value: 0 < value < 1)
        self._check("patience", "a whole number of at least 1", lambda value: value >= 1, whole=True)
        self._check("min_lr_ratio", "a number from 0 to 1", lambda value: 0 <= value <= 1)
        self._check("warmup_epochs", "a number of at least 0", lambda value: 0 <= value < math.inf)
        if self.warmup_epochs and self.schedule == "plateau":
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs} is not allowed with schedule='plateau': give warmup_epochs=0, or "
                "schedule step, cosine or constant"
            )

    def _check(self, field: str, allowed: str, is_allowed: Callable[[float], bool], whole: bool = False) -> None:
        value = getattr(self, field)
        if not (is_number(value, whole) and is_allowed(value)):
            raise ValueError(f"{field}={value!r} is not allowed: it must be {allowed}")


def _numbers(field: str, values: Any) -> tuple[float, ...]:
    if isinstance(values, Sequence) and all(is_number(value) for value in values):
        return tuple(values)
    raise ValueError(f"{field}={values!r} are not allowed: give a list of numbers, such as {NUMBERS[field]}")
