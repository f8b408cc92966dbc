"""Tables of videos with several labels each: of several tasks, or several right classes of one."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pv_sparse.data.annotations import VideoList
from pv_sparse.errors import PvSparseError

StrPath = str | os.PathLike[str]
ClassNames = Sequence[str] | StrPath
UNLABELLED = -1
Row = dict[str, str]


def read_label_table(
    path: StrPath,
    root: StrPath = "",
    *,
    label: str | Mapping[str, str] = "label",
    video: str = "path",
    classes: ClassNames | Mapping[str, ClassNames] | None = None,
    multi_label: bool = False,
    separator: str = ";",
) -> VideoList:
    """A csv whose first line names its columns: one has the videos, others have the labels, as numbers or names.

    info["label"] is the class number; with `multi_label` the list of all right ones; of several tasks a dict of numbers
    by task, where an empty cell is -1: not labelled for this task.

    Args:
        path: the csv file.
        root: folder before relative paths.
        label: the column of the labels; of several tasks the column of each: `{"verb": "verb_class", "noun": "noun"}`.
        video: the column of the videos' paths.
        classes: names in the order of their numbers, or a file with one on each line; of several tasks, a dict. None
            takes the names in the file, sorted; numbers then have no names.
        multi_label: whether a cell holds several classes, with `separator` between them.

    Raises:
        PvSparseError: a column that is missing, a class that `classes` lacks, a video without a label.
        ValueError: `multi_label` of several tasks.
    """
    if not isinstance(label, str):
        if multi_label:
            raise ValueError("multi_label=True goes with one column of labels, not with several tasks")
        return _read_tasks(path, root, label, video, classes)
    split = separator if multi_label else None
    rows = _rows(path, [video, label])
    names = _names(rows, label, classes, split)
    samples = []
    for number, row in enumerate(rows, 2):
        found = [_number(path, number, cell, names) for cell in _cells(row[label], split)]
        if not found and not multi_label:
            raise PvSparseError(f"{path}, line {number}: no label in the column {label!r}")
        samples.append((str(Path(root) / row[video]), {"label": found if multi_label else found[0]}))
    return VideoList(samples, names)


def _read_tasks(path: StrPath, root: StrPath, columns: Mapping[str, str], video: str, classes: object) -> VideoList:
    if classes is not None and not isinstance(classes, Mapping):
        raise ValueError(f"classes={classes!r} does not fit the tasks {', '.join(columns)}: give a dict by task")
    rows = _rows(path, [video, *columns.values()])
    names = {task: _names(rows, column, (classes or {}).get(task), None) for task, column in columns.items()}
    samples = []
    for number, row in enumerate(rows, 2):
        labels = dict.fromkeys(columns, UNLABELLED)
        for task, column in columns.items():
            if row[column].strip():
                labels[task] = _number(path, number, row[column].strip(), names[task])
        samples.append((str(Path(root) / row[video]), {"label": labels}))
    return VideoList(samples, names if any(names.values()) else ())


def _rows(path: StrPath, columns: Sequence[str]) -> list[Row]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = [column for column in columns if rows and column not in rows[0]]
    if missing:
        raise PvSparseError(f"{path}: no column {', '.join(missing)}: it has {', '.join(rows[0])}")
    return rows


def _names(rows: list[Row], column: str, given: object, separator: str | None) -> tuple[str, ...]:
    if isinstance(given, (str, os.PathLike)):
        return tuple(Path(given).read_text(encoding="utf-8").splitlines())
    if given is not None:
        return tuple(given)  # type: ignore[arg-type]
    cells = {cell for row in rows for cell in _cells(row[column], separator)}
    return () if all(cell.isdecimal() for cell in cells) else tuple(sorted(cells))


def _cells(text: str, separator: str | None) -> list[str]:
    parts = [text] if separator is None else text.split(separator)
    return [part.strip() for part in parts if part.strip()]


def _number(path: StrPath, line: int, cell: str, names: tuple[str, ...]) -> int:
    if cell in names:
        return names.index(cell)
    if cell.isdecimal() and (not names or int(cell) < len(names)):
        return int(cell)
    raise PvSparseError(f"{path}, line {line}: the class {cell!r} is not among the {len(names)} classes given")
