"""`TaskLoss`: the loss of one task or several, of one class a video or several."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pv_sparse.data.label_tables import UNLABELLED
from pv_sparse.models.logits import Logits
from pv_sparse.recipes.checks import is_number

Labels = Tensor | Mapping[str, Tensor]
ClassWeights = Sequence[float] | Mapping[str, Sequence[float]]
LOSS = "loss"


class TaskLoss(nn.Module):
    """Cross-entropy, or binary cross-entropy where a video has several classes; of several tasks, the weighted sum.

    Each task's loss is the mean over the videos that have a label of it, as in PyTorch (with class weights: the
    weighted mean). A label of -1 is none; where a batch has no label of a task, its loss is 0, with gradients of 0.

    Args:
        label_smoothing: s, at least 0 and below 1: the target becomes (1 - s) * target + s / num_classes (Szegedy et
            al., CVPR 2016); with `multi_label`, where each class is a choice of two, (1 - s) * target + s / 2.
        class_weights: a factor for each class, or those of each task by its name. With `multi_label` they are the
            `pos_weight` of `binary_cross_entropy_with_logits`: factors of the class's positive videos only.
        task_weights: a factor for each task's loss by its name; 1 for those not named.
        multi_label: whether labels are (N, num_classes), the probability of each class, mostly 0 or 1; -1 where
            nothing is known of it.

    Raises:
        ValueError: numbers that make no sense.
    """

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        class_weights: ClassWeights | None = None,
        task_weights: Mapping[str, float] | None = None,
        multi_label: bool = False,
    ):
        super().__init__()
        if not (is_number(label_smoothing) and 0 <= label_smoothing < 1):
            raise ValueError(
                f"label_smoothing={label_smoothing!r} is not allowed: it must be a number of at least 0 and below 1"
            )
        if not isinstance(task_weights, Mapping | None):
            raise ValueError(f"task_weights={task_weights!r} are not allowed: give a dict of a number for each task")
        self.label_smoothing = label_smoothing
        self.multi_label = multi_label
        self.task_weights = dict(task_weights or {})
        _check_factors("task_weights", list(self.task_weights.values()))
        # Of one task under the name "loss"; not in checkpoints, which are of models.
        by_task = class_weights if isinstance(class_weights, Mapping) else {LOSS: class_weights}
        self._weights = nn.Module()
        for task, factors in by_task.items():
            if factors is not None:
                _check_class_weights(factors)
                self._weights.register_buffer(task, torch.tensor(list(factors), dtype=torch.float32), persistent=False)

    def forward(self, logits: Logits, labels: Labels) -> Tensor:
        """Logits (N, num_classes) and labels, or dicts of both by task -> the loss, a scalar.

        Labels are (N,) int64, from 0 to num_classes - 1, or -1; with `multi_label` (N, num_classes) floats from 0 to 1,
        or -1. What the dict of labels has besides the tasks is not looked at. On a GPU, checking the labels waits for
        it.

        Raises:
            ValueError: labels beyond the classes, or that do not fit the logits; weights that do not fit the classes.
        """
        losses = self.by_task(logits, labels)
        return torch.stack([self.task_weights.get(task, 1.0) * loss for task, loss in losses.items()]).sum()

    def by_task(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The loss of each task by its name, not weighted by `task_weights`; of one task `{"loss": ...}`."""
        if isinstance(logits, dict) != isinstance(labels, Mapping):
            told = {True: "a dict by task", False: "a tensor"}
            raise ValueError(
                f"the model gives {told[isinstance(logits, dict)]} and the labels are "
                f"{told[isinstance(labels, Mapping)]}: both must be of one task, or of several"
            )
        tasks = logits if isinstance(logits, dict) else {LOSS: logits}
        of_tasks = labels if isinstance(labels, Mapping) else {LOSS: labels}
        missing = [task for task in tasks if task not in of_tasks]
        if missing:
            raise ValueError(f"there are no labels of {', '.join(missing)}, but of {', '.join(of_tasks)}")
        self._check_weights(list(tasks))
        return {task: self._loss(task, values, of_tasks[task]) for task, values in tasks.items()}

    def _loss(self, task: str, logits: Tensor, labels: Tensor) -> Tensor:
        named = "" if task == LOSS else f" of {task}"
        check_labels(labels, logits.shape[-1], self.multi_label, named)
        weights = dict(self._weights.named_buffers()).get(task)
        if weights is not None and len(weights) != logits.shape[1]:
            raise ValueError(f"class_weights{named}: {len(weights)} were given for {logits.shape[1]} classes")
        values = logits.to(torch.promote_types(logits.dtype, torch.float32))
        weights = None if weights is None else weights.to(values.dtype)
        if self.multi_label:
            return self._of_several_classes(values, labels, weights)
        return self._of_one_class(values, labels.long(), weights)

    def _of_one_class(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        total = F.cross_entropy(logits, labels, weights, None, UNLABELLED, None, "sum", self.label_smoothing)
        known = labels != UNLABELLED
        if weights is None:
            return total / known.sum().clamp(min=1)
        return total / (weights[labels.clamp(min=0)] * known).sum().clamp(min=torch.finfo(logits.dtype).tiny)

    def _of_several_classes(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        known = labels != UNLABELLED
        targets = labels.to(logits.dtype) * (1 - self.label_smoothing) + self.label_smoothing / 2
        losses = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction="none")
        return torch.where(known, losses, 0).sum() / known.sum().clamp(min=1)

    def _check_weights(self, tasks: list[str]) -> None:
        """That they are of tasks of the model."""
        told = "only one task, without a name" if tasks == [LOSS] else f"the tasks {', '.join(tasks)}"
        given = {"task_weights": list(self.task_weights), "class_weights": [*dict(self._weights.named_buffers())]}
        for field, names in given.items():
            unknown = [name for name in names if name not in tasks]
            if unknown:
                named = "are one list" if unknown == [LOSS] else f"name {', '.join(unknown)}"
                raise ValueError(f"{field} {named}: the model has {told}")


def check_labels(labels: Tensor, num_classes: int, multi_label: bool = False, named: str = "") -> None:
    """`ValueError` for labels that `TaskLoss` does not take, in one line, before a kernel on a GPU asserts.

    Args:
        labels: (N,) integers, or (N, num_classes) with `multi_label`.
        num_classes: of the model.
        multi_label: as of `TaskLoss`.
        named: what the message says after "labels", such as " of verb".
    """
    expected = f"(N, {num_classes}), a number for each class" if multi_label else "(N,), the number of its class"
    fits = labels.ndim == 2 and labels.shape[1] == num_classes if multi_label else labels.ndim == 1
    if not fits or (labels.is_floating_point() and not multi_label):
        raise ValueError(f"labels{named} of shape {tuple(labels.shape)}, {labels.dtype}, were given: take {expected}")
    if labels.numel() == 0:
        return
    allowed = (labels == UNLABELLED) | ((labels >= 0) & (labels <= (1 if multi_label else num_classes - 1)))
    if not allowed.all():
        wrong = labels[~allowed][0].item()
        span = "from 0 to 1" if multi_label else f"from 0 to {num_classes - 1} (the model has {num_classes} classes)"
        raise ValueError(f"the labels{named} hold {wrong:g}: they must be {span}, or -1 where there is none")


def _check_class_weights(factors: Any) -> None:
    if not isinstance(factors, Sequence) or isinstance(factors, str):
        raise ValueError(
            f"class_weights={factors!r} are not allowed: give a list of a number for each class, or a dict of lists by "
            "task"
        )
    _check_factors("class_weights", factors)
    if factors and not any(factors):
        raise ValueError(f"class_weights={list(factors)} are not allowed: one at least must be above 0")


def _check_factors(field: str, factors: Sequence[Any]) -> None:
    bad = [factor for factor in factors if not (is_number(factor) and 0 <= factor < math.inf)]
    if bad:
        raise ValueError(f"{field} hold {bad[0]!r}: each must be a number of at least 0")
