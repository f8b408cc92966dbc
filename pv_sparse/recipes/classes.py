"""The classes of a data set: their names and number, and whether the lists of videos agree on them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pv_sparse.data.annotations import VideoList
from pv_sparse.errors import PvSparseError
from pv_sparse.models.logits import NumClasses
from pv_sparse.transforms import LABEL_FLIPS
from pv_sparse.zoo.weights import category_list

Classes = tuple[str, ...] | dict[str, tuple[str, ...]]
Lists = Mapping[str, VideoList]


def find_classes(lists: Lists, names: Sequence[str] | Mapping[str, Sequence[str]] | None = None) -> Classes:
    """The names of the classes: those given, those of the lists, or numbers up to the highest label.

    Args:
        lists: by the name of the split; the training videos first.
        names: in the order of the labels, where the lists have none (`in_order_of`); of several tasks, a dict.

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


def in_order_of(videos: VideoList, names: Sequence[str] | Mapping[str, Sequence[str]]) -> VideoList:
    """The same videos with labels in the order of these names; those of a list without names are so already.

    Raises:
        PvSparseError: a class of the list that is not among the names.
    """
    wanted = _plain(names)
    own = videos.classes
    if isinstance(own, dict) != isinstance(wanted, dict) or not own:
        return replace(videos, classes=wanted)
    numbers = {task: _numbers(known, ordered) for task, known, ordered in _pairs(own, wanted)}
    samples = [(path, _relabelled(info, numbers)) for path, info in videos.samples]
    return VideoList(samples, wanted)


def check_label_flips(flips: Any, classes: Classes) -> None:
    """That the classes of what a flip swaps are those that are meant.

    Args:
        flips: of `ClipInput`: None, pairs, a name of `LABEL_FLIPS`, or a dict of these by task.
        classes: of the data.

    Raises:
        PvSparseError: a class that there is not; a name whose classes are others, or in another order.
    """
    by_task = flips if isinstance(flips, Mapping) else {"": flips}
    for task, own in by_task.items():
        names = classes.get(task, ()) if isinstance(classes, dict) else classes
        pairs = LABEL_FLIPS.get(own, ()) if isinstance(own, str) else own or ()
        beyond = [number for pair in pairs for number in pair if not 0 <= number < len(names)]
        if beyond:
            raise PvSparseError(f"label_flips={own} has the class {beyond[0]}, and there are {len(names)} classes")
        meant = category_list(own) if isinstance(own, str) and pairs else names
        other = [number for pair in pairs for number in pair if _letters(names[number]) != _letters(meant[number])]
        if other:
            raise PvSparseError(
                f"label_flips={own} means {meant[other[0]]!r} by class {other[0]}, which is {names[other[0]]!r} here: "
                "give the pairs of numbers in the order of these classes"
            )


def _letters(name: str) -> str:
    """Without what lists write differently: brackets, capitals."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def count_classes(classes: Classes) -> NumClasses:
    """How many there are; of several tasks, a dict."""
    return {task: len(names) for task, names in classes.items()} if isinstance(classes, dict) else len(classes)


def multi_hot(labels: Sequence[Sequence[int]], num_classes: int) -> Tensor:
    """Lists of right classes -> (N, num_classes) float32 of ones and zeros."""
    hot = torch.zeros(len(labels), num_classes)
    for row, label in zip(hot, labels, strict=True):
        row[list(label)] = 1
    return hot


def _pairs(own: Classes, wanted: Classes) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """(task, names of the list, names in order); of one task, under ""."""
    if isinstance(own, dict) and isinstance(wanted, dict):
        return [(task, known, wanted.get(task, known)) for task, known in own.items()]
    return [("", own, wanted)]  # type: ignore[list-item]


def _numbers(own: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Of each name of the list, its number among those wanted."""
    missing = [name for name in own if name not in wanted]
    if missing:
        raise PvSparseError(
            f"the list has the class {missing[0]!r}, which is not among the {len(wanted)} classes given"
        )
    return [wanted.index(name) for name in own] or list(range(len(wanted)))


def _relabelled(info: Mapping[str, Any], numbers: Mapping[str, list[int]]) -> dict[str, Any]:
    label = info.get("label")
    if label is None:
        return dict(info)
    if isinstance(label, Mapping):
        return {**info, "label": {task: _moved(own, numbers[task]) for task, own in label.items()}}
    return {
        **info,
        "label": [_moved(own, numbers[""]) for own in label] if _is_list(label) else _moved(label, numbers[""]),
    }


def _moved(label: int, numbers: list[int]) -> int:
    return numbers[label] if 0 <= label < len(numbers) else label


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
