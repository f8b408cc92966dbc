"""What a model said of the videos of an evaluation, brought together from all processes."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from pv_sparse.errors import PvSparseError
from pv_sparse.models.logits import Logits
from pv_sparse.recipes.metrics import all_metrics


@dataclass(frozen=True)
class Judged:
    """The logits and labels of every video once.

    Attributes:
        logits: (N, num_classes) float32 on the CPU, or a dict of them by task.
        labels: (N,) int64, (N, num_classes) of several right classes, or a dict by task.
        numbers: (N,) int64, of the videos in their list, increasing.
    """

    logits: Logits
    labels: Logits
    numbers: Tensor

    def metrics(self, multi_label: bool = False) -> dict[str, float]:
        """Fractions by name; of several tasks `<task>/<name>`, and `top1` for all tasks right at once."""
        return all_metrics(self.logits, self.labels, multi_label)


class Predictions:
    """Collects batches on each process."""

    def __init__(self) -> None:
        self._parts: list[dict[str, Any]] = []

    def clear(self) -> None:
        self._parts = []

    def add(self, logits: Logits, labels: Logits, numbers: Tensor) -> None:
        """A batch: as in `Judged`, in any order, on any device."""
        part = {"logits": logits, "labels": labels, "numbers": numbers}
        self._parts.append({name: _on_cpu(value) for name, value in part.items()})

    def gather(self) -> Judged:
        """All batches of all processes; every process gets them, and must ask at the same time."""
        parts = self._parts
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            of_all: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(of_all, parts)
            parts = [part for own in of_all for part in own]
        numbers = torch.cat([part["numbers"] for part in parts])
        order = _first_of_each(numbers)
        whole = {name: _taken([part[name] for part in parts], order) for name in ("logits", "labels")}
        return Judged(**whole, numbers=numbers[order])


def _first_of_each(numbers: Tensor) -> Tensor:
    """Where each number stands first, by the numbers: some videos are given to several processes."""
    if not len(numbers):
        raise PvSparseError("none of the videos of the evaluation can be read")
    order = numbers.argsort(stable=True)
    is_new = torch.ones(len(numbers), dtype=torch.bool)
    is_new[1:] = numbers[order].diff() != 0
    return order[is_new]


def _on_cpu(value: Logits) -> Logits:
    if isinstance(value, dict):
        return {task: _on_cpu(own) for task, own in value.items()}  # type: ignore[misc]
    value = value.detach().cpu()
    return value.float() if value.is_floating_point() else value


def _taken(values: list[Any], order: Tensor) -> Logits:
    if isinstance(values[0], dict):
        return {task: torch.cat([value[task] for value in values])[order] for task in values[0]}
    return torch.cat(values)[order]
