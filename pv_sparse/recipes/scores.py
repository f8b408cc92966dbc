"""Score files: what weights said of the videos of a test, view by view, with the labels that they are judged by."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pv_sparse.data.annotations import StrPath
from pv_sparse.errors import PvSparseError
from pv_sparse.recipes.metrics import all_metrics
from pv_sparse.recipes.protocols import AVERAGES
from pv_sparse.whole_files import whole_file

ONE_TASK = ""
FORMAT = 1


@dataclass(frozen=True)
class TaskScores:
    """Of one task, N videos, V views and C classes.

    Attributes:
        logits: (V, N, C) float32, of each view.
        scores: (N, C) float32, of all views together, after softmax, or sigmoid where several classes can be right.
        labels: (N,) int64, -1 where a video has none; where several classes can be right, (N, C) int8 of 0 and 1, all
            -1 where a video has none.
        classes: C names.
    """

    logits: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Scores:
    """What `scores.npz` holds.

    Attributes:
        paths: of the N videos that were read, in the order of their list.
        tasks: by name; of models with one task, its name is "".
        failed: by path, why the other videos could not be read.
        weights: the name, or names, of what gave the scores.
        protocol: the name of the test.
        average: of the views, `logits` or `scores`, as in `Protocol`.
        multi_label: whether several classes can be right.
    """

    paths: tuple[str, ...]
    tasks: Mapping[str, TaskScores]
    failed: Mapping[str, str]
    weights: str
    protocol: str
    average: str
    multi_label: bool = False

    def metrics(self) -> dict[str, float]:
        """Fractions, 0 to 1, over the videos that were read and have labels.

        `top1`, `top5` and `mean_class_accuracy`; where several classes can be right `map` and `weighted_map`. Of
        several tasks they go by `<task>/<name>`, and `top1` is for all tasks right at once.
        """
        scores = {name: torch.from_numpy(task.scores) for name, task in self.tasks.items()}
        labels = {name: torch.from_numpy(task.labels) for name, task in self.tasks.items()}
        return all_metrics(scores.get(ONE_TASK, scores), labels.get(ONE_TASK, labels), self.multi_label)

    def save(self, path: StrPath) -> None:
        """Write `path`, whole or not at all: an `.npz` without pickles, which `numpy.load` reads too.

        Its arrays are `paths`, `failed_paths`, `failed_reasons`, `weights`, `protocol`, `average`, `multi_label`, and
        `logits`, `scores`, `labels`, `classes`; of several tasks `logits.verb` and so on.
        """
        arrays: dict[str, Any] = {
            "pv_sparse_scores": FORMAT,
            "paths": _texts(self.paths),
            "failed_paths": _texts(self.failed),
            "failed_reasons": _texts(self.failed.values()),
            **{name: getattr(self, name) for name in ("weights", "protocol", "average", "multi_label")},
        }
        for name, task in self.tasks.items():
            values = vars(task) | {"classes": _texts(task.classes)}
            arrays |= {_key(word, name): value for word, value in values.items()}
        with whole_file(Path(path)) as file:
            np.savez(file, **arrays)

    @classmethod
    def read(cls, path: StrPath) -> "Scores":
        """The reverse of `save`; `PvSparseError` for a file that is none of these, `FileNotFoundError` for none."""
        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                if "pv_sparse_scores" not in arrays:
                    raise PvSparseError(f"{path}: it holds arrays, but no scores of pv-sparse evaluate")
                return cls._of({name: arrays[name] for name in arrays.files})
        except (ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise PvSparseError(f"{path}: it is not a scores.npz of pv-sparse evaluate, or is damaged") from error

    @classmethod
    def _of(cls, arrays: Mapping[str, np.ndarray]) -> "Scores":
        names = [key.removeprefix("logits").removeprefix(".") for key in arrays if key.partition(".")[0] == "logits"]
        tasks = {
            name: TaskScores(
                logits=arrays[_key("logits", name)],
                scores=arrays[_key("scores", name)],
                labels=arrays[_key("labels", name)],
                classes=tuple(arrays[_key("classes", name)].tolist()),
            )
            for name in names
        }
        return cls(
            paths=tuple(arrays["paths"].tolist()),
            tasks=tasks,
            failed=dict(zip(arrays["failed_paths"].tolist(), arrays["failed_reasons"].tolist(), strict=True)),
            **{name: arrays[name].item() for name in ("weights", "protocol", "average", "multi_label")},
        )


def average_views(logits: Tensor, average: str = "logits", multi_label: bool = False) -> Tensor:
    """(V, N, C) logits of views -> (N, C) float32 scores of videos.

    Args:
        average: `logits`: softmax of the mean; `scores`: the mean of softmaxes.
        multi_label: sigmoid in the place of softmax.
    """
    if average not in AVERAGES:
        raise ValueError(f"average={average!r} is unknown: choose one of {', '.join(AVERAGES)}")
    if average == "logits":
        return as_scores(mean_logits(logits), multi_label).float()
    total = torch.zeros(logits.shape[1:], dtype=torch.float64)
    for view in logits:  # one after another: of many videos, all of them in double precision would take much memory
        total += as_scores(view.double(), multi_label)
    return (total / len(logits)).float()


def mean_logits(logits: Tensor) -> Tensor:
    """(V, N, C) -> (N, C) float64."""
    total = torch.zeros(logits.shape[1:], dtype=torch.float64)
    for view in logits:
        total += view
    return total / len(logits)


def as_scores(logits: Tensor, multi_label: bool) -> Tensor:
    """(N, C) logits -> (N, C) scores."""
    return logits.sigmoid() if multi_label else logits.softmax(dim=-1)


def _key(word: str, task: str) -> str:
    return f"{word}.{task}" if task else word


def _texts(texts: Any) -> np.ndarray:
    return np.array(list(texts), dtype=np.str_)
