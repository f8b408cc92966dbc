"""The classes of a data set: their names and number, and whether the lists of videos agree on them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pv_sparse.data.annotations import VideoList
from pv_sparse.errors import PvSparseError
from pv_sparse.models.logits import NumClasses

Classes = tuple[str, ...] | dict[str, tuple[str, ...]]
Lists = Mapping[str, VideoList]


def find_classes(lists: Lists, names: Sequence[str] | Mapping[str, Sequence[str]] | None = None) -> Classes:
    """The names of the classes: those given, those of the lists, or numbers up to the highest label.

    Args:
        lists: by the name of the split; the training videos first.
        names: in the order of the labels; of several tasks, a dict. They take the place of those of the lists.

    Raises:
        PvSparseError: an empty list, videos without labels, labels beyond the classes, lists whose classes differ.
    """
    for split, videos in lists.items():
        _check_labels(split, videos)
    told = _plain(names) if names else _told_by(lists)
    highest = _highest_label(lists)
    numbered = _numbered(highest)
    if not told:
        return numbered
    if isinstance(told, dict) and isinstance(numbered, dict) and told.keys() == numbered.keys():
        told = {task: own or numbered[task] for task, own in told.items()}
    if isinstance(told, dict) != isinstance(highest, dict):
        raise PvSparseError("the classes are of several tasks and the labels of one, or the reverse: give both alike")
    for task, count, most in _by_task(told, highest):
        if most >= count:
            raise PvSparseError(
                f"the lists have the label {most}{task}, and there are {count} classes, 0 to {count - 1}"
            )
    return told


def count_classes(classes: Classes) -> NumClasses:
    """How many there are; of several tasks, a dict."""
    return {task: len(names) for task, names in classes.items()} if isinstance(classes, dict) else len(classes)


def multi_hot(labels: Sequence[Sequence[int]], num_classes: int) -> Tensor:
    """Lists of right classes -> (N, num_classes) float32 of ones and zeros."""
    hot = torch.zeros(len(labels), num_classes)
    for row, label in zip(hot, labels, strict=True):
        row[list(label)] = 1
    return hot


def _check_labels(split: str, videos: VideoList) -> None:
    if not videos.samples:
        raise PvSparseError(f"the {split} list has no videos")
    bare = [path for path, info in videos.samples if "label" not in info]
    if bare:
        raise PvSparseError(f"{len(bare)} of {len(videos)} {split} videos have no label, such as {bare[0]}")


def _told_by(lists: Lists) -> Classes:
    named = {split: videos.classes for split, videos in lists.items() if videos.classes}
    for split, classes in named.items():
        first = next(iter(named))
        if classes != named[first]:
            raise PvSparseError(
                f"the {split} videos have other classes than the {first} videos "
                f"({_difference(named[first], classes)}): give both lists the same classes"
            )
    return next(iter(named.values()), ())


def _difference(first: Classes, second: Classes) -> str:
    ours, theirs = _flat(first), _flat(second)
    missing, further = [n for n in ours if n not in theirs], [n for n in theirs if n not in ours]
    told = [f", without {name!r}" for name in missing[:1]] + [f", with {name!r}" for name in further[:1]]
    return f"{len(theirs)} in place of {len(ours)}{''.join(told)}"


def _flat(classes: Classes) -> list[str]:
    return [name for names in classes.values() for name in names] if isinstance(classes, dict) else list(classes)


def _plain(names: Sequence[str] | Mapping[str, Sequence[str]]) -> Classes:
    if isinstance(names, Mapping):
        return {task: tuple(map(str, own)) for task, own in names.items()}
    return tuple(map(str, names))


def _highest_label(lists: Lists) -> int | dict[str, int]:
    labels = [info["label"] for videos in lists.values() for _, info in videos.samples]
    if isinstance(labels[0], Mapping):
        return {task: max(label[task] for label in labels) for task in labels[0]}
    return max((max(label, default=0) if _is_list(label) else label) for label in labels)


def _is_list(label: Any) -> bool:
    return isinstance(label, Sequence)


def _numbered(highest: int | dict[str, int]) -> Classes:
    if isinstance(highest, dict):
        return {task: tuple(map(str, range(most + 1))) for task, most in highest.items()}
    return tuple(map(str, range(highest + 1)))


def _by_task(told: Classes, highest: int | dict[str, int]) -> list[tuple[str, int, int]]:
    """(for people, how many classes, highest label) of each task."""
    if isinstance(told, dict) and isinstance(highest, dict):
        if told.keys() != highest.keys():
            raise PvSparseError(f"there are classes for {', '.join(told)}, and labels for {', '.join(highest)}")
        return [(f" of the task {task}", len(names), highest[task]) for task, names in told.items()]
    return [("", len(told), int(highest))]  # type: ignore[arg-type]
