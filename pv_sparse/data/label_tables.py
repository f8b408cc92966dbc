"""Tables of videos with several labels each: of several tasks, or several right classes of one."""

import csv
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pv_sparse.data.annotations import VideoList
from pv_sparse.errors import PvSparseError

StrPath = str | os.PathLike[str]
ClassNames = Sequence[str] | StrPath
UNLABELLED = -1
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")


@dataclass(frozen=True)
class Row:
    """A line of a table; `place` is where it stands, for errors."""

    place: str
    cells: dict[str, str]


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
    by task, where an empty cell, or -1, is -1: not labelled for this task.

    Args:
        path: the csv file.
        root: folder before relative paths.
        label: the column of the labels; of several tasks the column of each: `{"verb": "verb_class", "noun": "noun"}`.
        video: the column of the videos' paths.
        classes: names in the order of their numbers, or a file with one on each line; of several tasks, a dict. None
            takes the names in the file, sorted; numbers then have no names.
        multi_label: whether a cell holds several classes, with `separator` between them.

    Raises:
        PvSparseError: a column or a cell that is missing, a class that `classes` lacks or that is no whole number among
            numbers, a video without a label.
        ValueError: `multi_label` of several tasks.
    """
    if not isinstance(label, str):
        if multi_label:
            raise ValueError("multi_label=True goes with one column of labels, not with several tasks")
        return _read_tasks(path, root, label, video, classes)
    return _read_one_task(path, root, label, video, classes, separator if multi_label else None)


def _read_one_task(
    path: StrPath, root: StrPath, label: str, video: str, classes: object, separator: str | None
) -> VideoList:
    rows = _rows(path, [video, label])
    names = _names(rows, label, classes, separator)
    samples = []
    for row in rows:
        cells = _cells(row.cells[label], separator)
        if str(UNLABELLED) in cells or (not cells and separator is None):
            raise PvSparseError(f"{row.place}: no label in the column {label!r}: give it, or leave the video out")
        found = [_number(row.place, cell, names) for cell in cells]
        samples.append((str(Path(root) / row.cells[video]), {"label": found[0] if separator is None else found}))
    return VideoList(samples, names)


def _read_tasks(path: StrPath, root: StrPath, columns: Mapping[str, str], video: str, classes: object) -> VideoList:
    if classes is not None and not isinstance(classes, Mapping):
        raise ValueError(f"classes={classes!r} does not fit the tasks {', '.join(columns)}: give a dict by task")
    rows = _rows(path, [video, *columns.values()])
    names = {task: _names(rows, column, (classes or {}).get(task), None) for task, column in columns.items()}
    samples = []
    for row in rows:
        labels = dict.fromkeys(columns, UNLABELLED)
        for task, column in columns.items():
            cell = row.cells[column].strip()
            if cell not in ("", str(UNLABELLED)):
                labels[task] = _number(row.place, cell, names[task])
        samples.append((str(Path(root) / row.cells[video]), {"label": labels}))
    return VideoList(samples, names if any(names.values()) else ())


def _rows(path: StrPath, columns: Sequence[str]) -> list[Row]:
    with Path(path).open(newline="", encoding="utf-8-sig") as file:  # Excel's csv begins with a byte order mark
        reader = csv.DictReader(file)
        given = reader.fieldnames or ()
        missing = [column for column in columns if column not in given]
        if missing:
            raise PvSparseError(f"{path}: no column {', '.join(missing)}: it has {', '.join(given) or 'no first line'}")
        return [_row(f"{path}, line {reader.line_num}", cells) for cells in reader]


def _row(place: str, cells: dict[Any, Any]) -> Row:
    further = "".join(cells.pop(None, ())).strip()  # commas may end a line
    if further or None in cells.values():
        raise PvSparseError(f"{place}: it has {'more' if further else 'fewer'} cells than the first line")
    return Row(place, cells)


def _names(rows: Sequence[Row], column: str, given: object, separator: str | None) -> tuple[str, ...]:
    if isinstance(given, (str, os.PathLike)):
        return tuple(Path(given).read_text(encoding="utf-8-sig").splitlines())
    if given is not None:
        return tuple(map(str, given))  # type: ignore[call-overload]
    cells = {cell for row in rows for cell in _cells(row.cells[column], separator)} - {str(UNLABELLED)}
    return () if all(NUMBER.fullmatch(cell) for cell in cells) else tuple(sorted(cells))


def _cells(text: str, separator: str | None) -> list[str]:
    parts = [text] if separator is None else text.split(separator)
    return [part.strip() for part in parts if part.strip()]


def _number(place: str, cell: str, names: tuple[str, ...]) -> int:
    if cell in names:
        return names.index(cell)
    if cell.isdecimal() and (not names or int(cell) < len(names)):
        return int(cell)
    if not names:
        raise PvSparseError(f"{place}: the class {cell!r} is no whole number of at least 0, as class numbers must be")
    raise PvSparseError(f"{place}: the class {cell!r} is not among the {len(names)} classes given")
