"""Which videos somebody means by a path: a file, all videos below a folder, or those named in a list."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from pv_sparse.errors import VideoDecodeError

VIDEO_SUFFIXES = frozenset(
    [
        ".3gp",
        ".avi",
        ".flv",
        ".gif",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".ogv",
        ".ts",
        ".webm",
        ".wmv",
    ]
)
LIST_SUFFIXES = frozenset({".csv", ".list", ".lst", ".txt"})
# A label at the end of a list's line, as in Kinetics' csv files and mmaction2's txt files.
TRAILING_LABEL = re.compile(r"[\s,]+-?\d+$")


def find_videos(path: str | os.PathLike[str]) -> list[str]:
    """The videos that `path` stands for.

    A folder stands for every video below it, sorted; a text file (.txt, .csv, .lst, .list) for the paths in it, one a
    line, relative to the working directory or to the list's own folder, labels after them ignored; any other path for
    itself, there or not.

    Raises:
        VideoDecodeError: a folder or a list without videos.
    """
    if Path(path).is_dir():
        return _below(Path(path))
    if Path(path).is_file() and Path(path).suffix.lower() in LIST_SUFFIXES:
        return _listed_in(Path(path))
    return [os.fspath(path)]


def find_all_videos(arguments: Iterable[str]) -> list[str]:
    """The videos of all arguments, each once. A video of a list may be missing, an argument may not."""
    found: dict[str, None] = {}
    for argument in arguments:
        if "://" not in argument and not os.path.exists(argument):
            raise FileNotFoundError(f"{argument}: no such file or folder")
        found |= dict.fromkeys(find_videos(argument))
    return list(found)


def _below(folder: Path) -> list[str]:
    videos = sorted(str(path) for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    if not videos:
        raise VideoDecodeError(folder, f"no video in the folder (files named {', '.join(sorted(VIDEO_SUFFIXES))})")
    return videos


def _listed_in(path: Path) -> list[str]:
    lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()]
    videos = [_resolve(line, path.parent) for line in lines if line and not line.startswith("#")]
    if not videos:
        raise VideoDecodeError(path, "the list names no video")
    return videos


def _resolve(line: str, folder: Path) -> str:
    """The line as a path; without its label, and beside the list, where that is where the file is."""
    unlabelled = TRAILING_LABEL.sub("", line)
    choices = [Path(line), folder / line, Path(unlabelled), folder / unlabelled]
    return str(next((choice for choice in choices if choice.is_file()), Path(unlabelled)))
