"""Optical flow of the study's videos, small enough to be made in a minute or two."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from pv_sparse.data.annotations import VideoList
from pv_sparse.data.flow import write_flow_folder
from pv_sparse.study.generated import appearance20, order20, untrimmed_appearance, untrimmed_order

# Of dense inverse search: TV-L1 takes a hundred times as long.
METHOD = "dis"
SIZE = (64, 64)
# Pixels of motion from one frame to the next that are white; the fastest shapes of the study move about 3.
BOUND = 5.0
FOLDER = "flow"
GENERATED = {
    "order20": order20,
    "appearance20": appearance20,
    "untrimmed_appearance": untrimmed_appearance,
    "untrimmed_order": untrimmed_order,
}


class FlowTask(NamedTuple):
    """A video, and the folder of its flow."""

    video: Path
    folder: Path

    def make(self) -> None:
        """Compute what is missing. Several processes may do so at once: each writes into a folder of its own."""
        if self.folder.exists():
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.folder.parent, prefix=f".{self.folder.name}.", suffix=".part") as place:
            own = Path(place) / self.folder.name
            write_flow_folder(self.video, own, method=METHOD, size=SIZE, bound=BOUND, rgb=False)
            try:
                own.rename(self.folder)
            except OSError:
                if not self.folder.exists():  # else another process was quicker
                    raise


def flow_of(name: str, root: str | os.PathLike[str], split: str, num_videos: int, seed: int = 0) -> VideoList:
    """The flow of a generated data set's videos, made where it is missing: folders of pictures of 64x64 pixels.

    Args:
        name: of the data set, one of `GENERATED`.
        root: of its videos; the flow of root/split/class/name.mp4 is in root/flow/split/class/name.
        split, num_videos, seed: as of the data set.

    Raises:
        ModuleNotFoundError: OpenCV is not installed.
        ValueError: an unknown name, or a number of videos that the data set does not allow.
    """
    if name not in GENERATED:
        raise ValueError(f"name={name!r} is unknown: choose one of {', '.join(GENERATED)}")
    videos = GENERATED[name](root, split, num_videos, seed)
    tasks = flow_tasks(videos, Path(root))
    for task in tasks:
        task.make()
    samples = [(str(task.folder), info) for task, (_, info) in zip(tasks, videos.samples, strict=True)]
    return VideoList(samples, videos.classes)


def flow_tasks(videos: VideoList, root: Path) -> list[FlowTask]:
    """One for each of the videos below `root`, to be made in several processes."""
    return [_task(Path(path), root) for path, _ in videos.samples]


def _task(video: Path, root: Path) -> FlowTask:
    return FlowTask(video, root / FOLDER / video.relative_to(root).with_suffix(""))
