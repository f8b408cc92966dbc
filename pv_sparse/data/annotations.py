"""The lists that people have of their videos, each read into the host's form: (path, {"label": class number}).

A `VideoList` goes into `SparseVideoDataset`, and its `samples` into the host's `LabeledVideoDataset`.
"""

import csv
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pv_sparse.data.frame_folder import NUMBERED_PICTURE
from pv_sparse.data.video_files import VIDEO_SUFFIXES
from pv_sparse.errors import PvSparseError

KINETICS_FILES = "{label}/{youtube_id}_{time_start:06d}_{time_end:06d}.mp4"
HMDB51_TRAIN, HMDB51_TEST = "1", "2"

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class VideoList:
    """Videos with their labels.

    Attributes:
        samples: (path, info) of each; info has `label`, the class number, where the list tells it.
        classes: names of the classes in the order of their numbers; of several tasks, a dict; empty where the list does
            not name them.
    """

    samples: list[tuple[str, dict[str, Any]]]
    classes: tuple[str, ...] | dict[str, tuple[str, ...]] = ()

    def __len__(self) -> int:
        return len(self.samples)


def read_path_list(path: StrPath, root: StrPath = "") -> VideoList:
    """A line for each video: mmaction2's and the host's `path label`, TSN's and TRN's `path num_frames label`.

    Paths may hold spaces; a comma or a tab before the numbers is taken too. Where every line ends in two numbers, the
    first is the number of frames, kept in the info as `num_frames_listed`.

    Args:
        path: the text file.
        root: folder before relative paths.

    Raises:
        PvSparseError: a line without a label, with the file and the line's number.
    """
    lines = list(_lines(path))
    with_counts = all(re.search(r"\S[\s,]+\d+[\s,]+\d+$", text) for _, text in lines)
    return VideoList([_path_and_label(path, number, text, root, with_counts) for number, text in lines])


def read_kinetics_csv(
    path: StrPath, root: StrPath = "", files: str = KINETICS_FILES, classes: Sequence[str] | None = None
) -> VideoList:
    """Kinetics' own csv: the columns label, youtube_id, time_start, time_end (and split, not used).

    Args:
        path: the csv file.
        root: folder of the videos.
        files: where below `root` a video lies, a format string of the columns; times are in whole seconds.
        classes: in the order of their numbers; None takes those of the file, sorted. Give the training set's to others.

    Raises:
        PvSparseError: a column missing, or a class that `classes` lacks.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = {"youtube_id", "time_start", "time_end"} - set(rows[0] if rows else ())
    if missing:
        raise PvSparseError(f"{path}: no column {', '.join(sorted(missing))}: the first line names the columns")
    names = tuple(classes or sorted({row["label"] for row in rows if row.get("label")}))
    samples = []
    for row in rows:
        times = {key: int(float(row[key])) for key in ("time_start", "time_end")}
        place = files.format(**{**row, **times})
        samples.append((str(Path(root) / place), _label(path, row.get("label"), names)))
    return VideoList(samples, names)


def read_something_json(path: StrPath, labels: StrPath, root: StrPath = "", suffix: str = ".webm") -> VideoList:
    """Something-Something: v2's json files, a list of {"id", "template"}; v1's csv files of `id;template` too.

    Args:
        path: the split; a test split has no templates, and its samples no labels.
        labels: v2's labels json {"template": "number"}, or v1's list of templates, one a line, sorted as it is.
        root: folder of the videos, or of v1's folders of pictures.
        suffix: of the videos; "" for v1's folders.

    Raises:
        PvSparseError: a template that `labels` lacks.
    """
    names = _something_classes(labels)
    samples = []
    for identity, template in _something_entries(path):
        plain = None if template is None else template.replace("[", "").replace("]", "")
        samples.append((str(Path(root) / f"{identity}{suffix}"), _label(path, plain, names)))
    return VideoList(samples, names)


def read_ucf101_split(path: StrPath, classes: StrPath | None = None, root: StrPath = "") -> VideoList:
    """UCF101's `trainlist01.txt` (`Class/video.avi 1`) and `testlist01.txt` (`Class/video.avi`); labels count from 0.

    Args:
        path: the split.
        classes: `classInd.txt`; None takes the one beside `path`.
        root: folder of the class folders.

    Raises:
        PvSparseError: a class that `classInd.txt` lacks.
    """
    listed = classes or Path(path).with_name("classInd.txt")
    names = tuple(text.split(maxsplit=1)[1] for _, text in _lines(listed))
    places = [text.split()[0] for _, text in _lines(path)]
    return VideoList([(str(Path(root) / place), _label(path, place.split("/")[0], names)) for place in places], names)


def read_hmdb51_split(folder: StrPath, split: int = 1, is_training: bool = True, root: StrPath = "") -> VideoList:
    """HMDB51's `<class>_test_split<1|2|3>.txt`, a line for each video: 1 for training, 2 for test, 0 for neither.

    Args:
        folder: of the split files.
        split: 1, 2 or 3.
        is_training: whether to take the training videos, or those of the test.
        root: folder of the class folders.

    Raises:
        PvSparseError: no file of this split in the folder.
    """
    ending, flag = f"_test_split{split}.txt", HMDB51_TRAIN if is_training else HMDB51_TEST
    files = sorted(Path(folder).glob(f"*{ending}"))
    if not files:
        raise PvSparseError(f"{folder}: no files <class>{ending}: give the folder of splits, and split 1, 2 or 3")
    names = tuple(file.name.removesuffix(ending) for file in files)
    samples = []
    for label, (name, file) in enumerate(zip(names, files, strict=True)):
        chosen = [text.rsplit(maxsplit=1) for _, text in _lines(file)]
        samples += [(str(Path(root) / name / video), {"label": label}) for video, mark in chosen if mark == flag]
    return VideoList(samples, names)


def read_class_folders(root: StrPath) -> VideoList:
    """A folder for each class, of videos or of folders of pictures; classes and videos in the order of their names.

    Raises:
        PvSparseError: a folder without class folders, or class folders without videos.
    """
    folders = sorted(folder for folder in Path(root).iterdir() if folder.is_dir()) if Path(root).is_dir() else []
    found = [(folder, [str(video) for video in sorted(folder.iterdir()) if _is_video(video)]) for folder in folders]
    samples = [(video, {"label": label}) for label, (_, videos) in enumerate(found) for video in videos]
    if not samples:
        raise PvSparseError(f"{root}: no videos: give a folder that holds a folder of videos for each class")
    return VideoList(samples, tuple(folder.name for folder, _ in found))


def read_videos(path: StrPath) -> VideoList:
    """A folder as `read_class_folders`, a text file as `read_path_list`, Kinetics' csv as itself."""
    if Path(path).is_dir():
        return read_class_folders(path)
    first = next(_lines(path), (0, ""))[1]
    return read_kinetics_csv(path) if "youtube_id" in first else read_path_list(path)


def frame_folders_of(videos: VideoList) -> VideoList:
    """The same list for folders of pictures, named like the videos without their suffix, as `pv-sparse flow` does."""
    return VideoList([(str(Path(path).with_suffix("")), info) for path, info in videos.samples], videos.classes)


def spread_over(videos: VideoList, count: int) -> VideoList:
    """So many of a list, spread over it: all where it has no more. `count` is at least 1."""
    taken = min(count, len(videos))
    return replace(videos, samples=[videos.samples[i * len(videos) // taken] for i in range(taken)])


def _lines(path: StrPath) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of each line that is neither empty nor a comment."""
    text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield number, line.strip()


def _path_and_label(
    path: StrPath, number: int, text: str, root: StrPath, with_counts: bool
) -> tuple[str, dict[str, Any]]:
    match = re.fullmatch(r"(.*\S)[\s,]+(\d+)", text)
    if match is None:
        raise PvSparseError(f"{path}, line {number}: {text!r} has no label: a line is a path and a class number")
    place, info = match[1], {"label": int(match[2])}
    if with_counts:
        place, count = re.split(r"[\s,]+(?=\d+$)", place)
        info["num_frames_listed"] = int(count)
    return str(Path(root) / place.rstrip(",")), info


def _label(path: StrPath, name: str | None, classes: Sequence[str]) -> dict[str, Any]:
    if not name:
        return {}
    if name not in classes:
        raise PvSparseError(f"{path}: the class {name!r} is not among the {len(classes)} classes given")
    return {"label": classes.index(name)}


def _something_classes(labels: StrPath) -> tuple[str, ...]:
    if Path(labels).suffix != ".json":
        return tuple(text for _, text in _lines(labels))
    numbers = json.loads(Path(labels).read_text(encoding="utf-8"))
    return tuple(sorted(numbers, key=lambda name: int(numbers[name])))


def _something_entries(path: StrPath) -> Iterator[tuple[str, str | None]]:
    if Path(path).suffix == ".json":
        for entry in json.loads(Path(path).read_text(encoding="utf-8")):
            yield str(entry["id"]), entry.get("template")
    else:
        for _, text in _lines(path):
            identity, _, template = text.partition(";")
            yield identity, template or None


def _is_video(path: Path) -> bool:
    if path.is_dir():
        return any(NUMBERED_PICTURE.fullmatch(file.name) for file in path.iterdir())
    return path.suffix.lower() in VIDEO_SUFFIXES
