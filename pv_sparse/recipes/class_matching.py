"""Whether the classes of a list of videos are those of the weights, and the labels in the weights' numbers."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pv_sparse.data.annotations import VideoList
from pv_sparse.data.label_tables import UNLABELLED
from pv_sparse.errors import PvSparseError, WeightsError
from pv_sparse.recipes.classes import multi_hot
from pv_sparse.recipes.scores import ONE_TASK
from pv_sparse.zoo.weights import Weights

logger = logging.getLogger(__name__)
# What stands for names where there are none: of checkpoints of the originals, and of lists of numbers.
PLACEHOLDER = re.compile(r"(class )?\d+")


def match_labels(videos: VideoList, weights: Weights, *, warn: bool = True) -> dict[str, np.ndarray]:
    """By task, what the videos are in the numbers of the weights: labels as in `TaskScores`; of one task under "".

    Labels go by name where the weights have every class of the data (case, and space or underscore, do not matter).
    Where some names differ, the others have the same numbers, and there are as many, they go by number, and a warning
    is logged.

    Args:
        videos: `label` in the info of each, if any: a number, -1 where there is none, a list of all right ones, or
            `{task: number}`.
        weights: their `categories`.
        warn: whether to log it.

    Raises:
        WeightsError: classes that do not fit those of the weights.
        PvSparseError: no videos; labels of other tasks, or of several classes where the weights know one; a label that
            the weights have no class for.
    """
    if not videos.samples:
        raise PvSparseError("the list of videos is empty: there is nothing to evaluate")
    categories = weights.categories if isinstance(weights.categories, Mapping) else {ONE_TASK: weights.categories}
    classes = videos.classes if isinstance(videos.classes, Mapping) else {ONE_TASK: videos.classes}
    labels = {}
    for task, names in categories.items():
        given = [_of_task(path, info.get("label"), task, categories) for path, info in videos.samples]
        numbers = _numbers(classes.get(task, ()), names, weights.name, warn)
        told = [
            _renumbered(path, label, numbers, names) for (path, _), label in zip(videos.samples, given, strict=True)
        ]
        labels[task] = _as_array(told, len(names), weights.multi_label)
    return labels


def in_classes_of(videos: VideoList, weights: Weights, *, warn: bool = True) -> VideoList:
    """The same videos with labels in the numbers of the weights, less those without; errors as of `match_labels`.

    The label is a number, the list of all right ones, or `{task: number}`, where -1 stands for none.
    """
    labels = match_labels(videos, weights, warn=warn)
    samples = []
    for number, (path, info) in enumerate(videos.samples):
        of_tasks = {task: rows[number] for task, rows in labels.items()}
        if not all((row == UNLABELLED).any() for row in of_tasks.values()):
            own = {task: np.flatnonzero(row).tolist() if row.ndim else int(row) for task, row in of_tasks.items()}
            samples.append((path, {**info, "label": own.get(ONE_TASK, own)}))
    return VideoList(samples, weights.categories)


def _of_task(path: str, label: Any, task: str, tasks: Mapping[str, Any]) -> Any:
    if label is None:
        return None
    if isinstance(label, Mapping) and label.keys() == tasks.keys():
        return label[task]
    if isinstance(label, Mapping) or task != ONE_TASK:
        given = ", ".join(label) if isinstance(label, Mapping) else "one task"
        wanted = ", ".join(tasks) if task else "one task"
        raise PvSparseError(f"{path}: its label is of {given}, the weights are of {wanted}")
    return label


def _numbers(given: Sequence[str], names: Sequence[str], weights: str, warn: bool) -> list[int] | None:
    """For each class of the data, that of the weights; None where they are the same or have no names."""
    if not _are_names(given) or not _are_names(names):
        return None
    ours, theirs = [_plain(name) for name in names], [_plain(name) for name in given]
    place = {name: number for number, name in enumerate(ours)}
    if place.keys() >= set(theirs):
        return [place[name] for name in theirs]
    unknown = [number for number, name in enumerate(theirs) if name not in place]
    told = f"{len(unknown)} of the {len(given)} classes of the data are not among the {len(names)} of {weights}"
    first = f"such as {given[unknown[0]]!r}"
    moved = [name for number, name in enumerate(theirs) if place.get(name, number) != number]
    if len(unknown) == len(given):
        raise WeightsError(
            f"{told}, {first}: choose weights of these classes; if they are the same, give them the names of the "
            f"weights, such as {names[0]!r}, in the list or by data.classes="
        )
    if len(given) != len(names) or moved:
        raise WeightsError(f"{told}, {first}: choose weights of these classes, or train some")
    if warn:
        logger.warning("%s, %s: classes go by their numbers", told, first)
    return None


def _are_names(names: Sequence[str]) -> bool:
    return not all(PLACEHOLDER.fullmatch(name) for name in names)


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ")


def _renumbered(path: str, label: Any, numbers: Sequence[int] | None, names: Sequence[str]) -> list[int] | None:
    """The classes of a video; None where it has no label."""
    if label is None or (not isinstance(label, Sequence) and label == UNLABELLED):
        return None
    given = [int(own) for own in label] if isinstance(label, Sequence) else [int(label)]
    count = len(names if numbers is None else numbers)
    wrong = [own for own in given if not 0 <= own < count]
    if wrong:
        raise PvSparseError(
            f"{path}: its label {wrong[0]} is none of the {count} classes, 0 to {count - 1}: choose weights for these "
            "labels"
        )
    return given if numbers is None else [numbers[own] for own in given]


def _as_array(labels: Sequence[list[int] | None], num_classes: int, multi_label: bool) -> np.ndarray:
    if multi_label:
        hot = multi_hot([label or [] for label in labels], num_classes).numpy().astype(np.int8)
        hot[[label is None for label in labels]] = UNLABELLED
        return hot
    several = next((label for label in labels if label is not None and len(label) != 1), None)
    if several is not None:
        raise PvSparseError(f"a video has {len(several)} labels, and the weights know one right class for each video")
    return np.array([UNLABELLED if label is None else label[0] for label in labels], dtype=np.int64)
