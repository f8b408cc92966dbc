"""`pv-sparse flow`: optical flow of many videos in parallel processes, a folder for each, to be gone on with."""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from tqdm import tqdm

from pv_sparse.data.flow import check_installed, use_one_thread, write_flow_folder
from pv_sparse.data.video_files import find_videos
from pv_sparse.errors import one_line
from pv_sparse.parallel import for_each

OPTIONS_FILE = "flow.json"


@dataclass(frozen=True)
class FlowOptions:
    """How flow is computed and stored: `write_flow_folder`'s arguments."""

    method: str
    size: tuple[int, int] | None
    bound: float
    warped: bool
    rgb: bool


def run(arguments: Iterable[str], output: str, options: FlowOptions, jobs: int) -> int:
    """Compute what is not there yet; returns how many videos failed. One failing leaves the others be."""
    check_installed(options.method)
    folders = flow_folders(arguments, Path(output))
    _note_options(Path(output), options)
    tasks = [(video, folder, options) for video, folder in folders.items() if not folder.exists()]
    show_bar = len(tasks) > 1 and sys.stderr.isatty()
    outcomes = for_each(_compute, tasks, jobs, use_one_thread)
    failures = {}
    for (video, _, _), outcome in tqdm(outcomes, total=len(tasks), unit="video", disable=not show_bar):
        if outcome is not None:
            failures[video] = outcome if isinstance(outcome, str) else f"{video}: {outcome}"
    _summarize([failures[video] for video in folders if video in failures], len(folders), len(tasks), output)
    return len(failures)


def flow_folders(arguments: Iterable[str], output: Path) -> dict[str, Path]:
    """The folder of each video: its path below the folder that all arguments share, without its suffix.

    A folder counts as an argument itself, a list as the folders of its videos. A video whose folder would be another's,
    or would hold another's, keeps its suffix.

    Raises:
        ValueError: two videos whose folders are one all the same.
        VideoDecodeError: a folder or a list without videos.
    """
    places = _places(arguments)
    uses = Counter(place.with_suffix("") for place in places.values())
    uses.update({parent for place in places.values() for parent in place.parents})
    folders = {
        video: output / (place if uses[place.with_suffix("")] > 1 else place.with_suffix(""))
        for video, place in places.items()
    }
    shared = [str(folder) for folder, count in Counter(folders.values()).items() if count > 1]
    if shared:  # a.avi, a.mp4 and a.mp4.mkv
        raise ValueError(f"two videos would have the folder {shared[0]}: give them in two runs, or rename one")
    return folders


def parse_size(text: str) -> tuple[int, int] | None:
    """(height, width) of "340x256", which is width x height; None of "keep".

    Raises:
        ValueError: anything else.
    """
    if text == "keep":
        return None
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ValueError(f"--size {text}: give the width and the height in pixels, such as 340x256, or keep")
    return int(height), int(width)


def _places(arguments: Iterable[str]) -> dict[str, Path]:
    """Each video once, and where it is below the folder that all arguments share."""
    found: dict[str, str] = {}
    tops = []
    for argument in arguments:
        videos = {_absolute(video): video for video in find_videos(argument)}
        tops += [_absolute(argument)] if os.path.isdir(argument) else [str(Path(path).parent) for path in videos]
        found.update((path, video) for path, video in videos.items() if path not in found)
    top = os.path.commonpath(tops)
    return {video: Path(os.path.relpath(path, top)) for path, video in found.items()}


def _absolute(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100 (resolve() would follow links away from where the user keeps them)


def _note_options(output: Path, options: FlowOptions) -> None:
    """In OUT/flow.json, so that a run that goes on with it does not mix two kinds of flow."""
    note = output / OPTIONS_FILE
    text = json.dumps(asdict(options))
    if note.exists() and note.read_text(encoding="utf-8") != text:
        raise ValueError(f"{output} holds flow of other options, {note.read_text(encoding='utf-8')}: give a new folder")
    output.mkdir(parents=True, exist_ok=True)
    note.write_text(text, encoding="utf-8")


def _compute(task: tuple[str, Path, FlowOptions]) -> str | None:
    """What went wrong, on one line."""
    video, folder, options = task
    try:
        if not folder.exists():
            write_flow_folder(video, folder, **vars(options))
    except Exception as error:
        text = one_line(error)
        return text if video in text else f"{video}: {text}"
    return None


def _summarize(failures: list[str], num_videos: int, num_tried: int, output: str) -> None:
    for failure in failures:
        click.echo(_printable(f"Error: {failure}"), err=True)
    there = f", {num_videos - num_tried} were there" if num_videos > num_tried else ""
    failed = f", {len(failures)} failed" if failures else ""
    noun = "video" if num_videos == 1 else "videos"
    click.echo(_printable(f"{num_videos} {noun}{there}{failed}: flow in {output}"), err=True)


def _printable(text: str) -> str:
    """File names may hold bytes that are no text in any terminal's encoding."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
