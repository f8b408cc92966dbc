"""The generated data sets as lists of videos, made below a folder where they are missing."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pv_sparse.data.annotations import VideoList
from pv_sparse.data.encoding import write_video
from pv_sparse.data.video import SparseVideo
from pv_sparse.study import appearance20 as appearance
from pv_sparse.study import order20 as order
from pv_sparse.study import untrimmed
from pv_sparse.whole_files import whole_file

RATE = 25
KEYFRAME_INTERVAL = 12
# Pixels of each side of the frames in `.npy` files.
FRAME_SIZE = 64


@dataclass(frozen=True)
class GeneratedData:
    """What a data set is made of: scenes, each filmed once, of which come one video or several.

    Attributes:
        classes: their names, by number.
        labels_of: of the number of a scene, the class numbers of its videos.
        films: of the number of a scene and a generator, the pictures of each of its videos.
        num_videos: of each split of the whole data set.
        rate: frames a second.
        info: of the number of a scene and a generator as of `films`, what lists tell of its videos besides the label.
    """

    classes: tuple[str, ...]
    labels_of: Callable[[int], tuple[int, ...]]
    films: Callable[[int, np.random.Generator], Sequence[Iterable[np.ndarray]]]
    num_videos: Mapping[str, int]
    rate: int = RATE
    info: Callable[[int, np.random.Generator], dict[str, Any]] | None = None


ORDER20 = GeneratedData(order.CLASSES, order.labels_of, order.films, {"train": 800, "val": 400})
APPEARANCE20 = GeneratedData(appearance.CLASSES, appearance.labels_of, appearance.films, {"train": 600, "val": 300})
UNTRIMMED_ORDER = GeneratedData(
    order.CLASSES,
    order.labels_of,
    untrimmed.order_films,
    {"train": 200, "val": 150},
    untrimmed.RATE,
    partial(untrimmed.event_info, len(order.TWINS)),
)
UNTRIMMED_APPEARANCE = GeneratedData(
    appearance.CLASSES,
    appearance.labels_of,
    untrimmed.appearance_films,
    {"train": 200, "val": 150},
    untrimmed.RATE,
    partial(untrimmed.event_info, len(appearance.CLASSES)),
)


@dataclass(frozen=True)
class Scene:
    """A scene of a data set, and its files below `root`; draws depend on its number, the seed and the split's name."""

    data: GeneratedData
    root: Path
    split: str
    number: int
    seed: int = 0

    @property
    def labels(self) -> tuple[int, ...]:
        return self.data.labels_of(self.number)

    @property
    def infos(self) -> list[dict[str, Any]]:
        """What lists tell of each of its videos."""
        told = {} if self.data.info is None else self.data.info(self.number, self._random())
        return [{"label": label, **told} for label in self.labels]

    @property
    def videos(self) -> list[Path]:
        """root/split/class/seed_number.mp4, one for each label."""
        return self._files(self.root, ".mp4")

    @property
    def arrays(self) -> list[Path]:
        """root/frames_64/split/class/seed_number.npy, one for each label."""
        return self._files(self.root / f"frames_{FRAME_SIZE}", ".npy")

    def make(self, frames: bool = False) -> None:
        """The videos that are missing, and with `frames` the arrays too.

        Each file appears whole, and is the same whoever makes it: several processes may make one scene at once.
        """
        missing = [not video.exists() for video in self.videos]
        if any(missing):
            films = self.data.films(self.number, self._random())
            for video, pictures, is_missing in zip(self.videos, films, missing, strict=True):
                if is_missing:
                    write_video(video, pictures, self.data.rate, KEYFRAME_INTERVAL)
        for video, array in zip(self.videos, self.arrays, strict=True):
            if frames and not array.exists():
                _decode(video, array)

    def _random(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.number, *self.split.encode()])

    def _files(self, root: Path, suffix: str) -> list[Path]:
        name = f"{self.seed}_{self.number:04d}{suffix}"
        return [root / self.split / self.data.classes[label] / name for label in self.labels]


def order20(
    root: str | os.PathLike[str], split: str, num_videos: int, seed: int = 0, frames: bool = False
) -> VideoList:
    """The videos of a split of `order20` (`pv_sparse.study.order20`), made below `root` where they are missing.

    Ten events, and the same ten backwards: each scene is written twice, so that twins show exactly the same pictures
    before encoding. 60 to 120 frames of 96x96 pixels, 25 a second, h264, a keyframe at least every 12.

    Args:
        root: folder of the data; the videos lie in root/split/class.
        split: its name, `train` or `val`.
        num_videos: two of each scene, an even number; classes are equally many in multiples of 20.
        seed: of all draws, together with the split's name.
        frames: list the frames, decoded once at 64 pixels to root/frames_64/split/class/*.npy (`FrameArray`).

    Raises:
        ValueError: `num_videos` below 2, or odd.
    """
    return _listed(ORDER20, Path(root), split, num_videos, seed, frames)


def appearance20(
    root: str | os.PathLike[str], split: str, num_videos: int, seed: int = 0, frames: bool = False
) -> VideoList:
    """The videos of a split of `appearance20` (`pv_sparse.study.appearance20`), made where they are missing.

    Circles and plus signs, plain or striped, of five colours, well to be seen in every frame, move in any way; the rest
    is as in `order20`.

    Args:
        root: folder of the data; the videos lie in root/split/class.
        split: its name, `train` or `val`.
        num_videos: one of each scene; classes are equally many in multiples of 20.
        seed: as in `order20`.
        frames: as in `order20`.

    Raises:
        ValueError: `num_videos` below 1.
    """
    return _listed(APPEARANCE20, Path(root), split, num_videos, seed, frames)


def untrimmed_order(
    root: str | os.PathLike[str], split: str, num_videos: int, seed: int = 0, frames: bool = False
) -> VideoList:
    """The videos of a split of `untrimmed_order`: the events of `order20`, each in a long video of distracting scenes.

    60 to 240 s of 96x96 pixels, 5 frames a second, h264, a keyframe at least every 12 frames. The event takes 3 to 10 %
    of the time, at a place that is drawn; every other one begins with a scene cut. Twins differ in the event alone.
    The infos tell where it lies: `event_seconds` (start, end).

    Args:
        root, split, num_videos, seed, frames: as of `order20`; frames of a video take about 9 MB.

    Raises:
        ValueError: `num_videos` below 2, or odd.
    """
    return _listed(UNTRIMMED_ORDER, Path(root), split, num_videos, seed, frames)


def untrimmed_appearance(
    root: str | os.PathLike[str], split: str, num_videos: int, seed: int = 0, frames: bool = False
) -> VideoList:
    """The videos of a split of `untrimmed_appearance`: the things of `appearance20` in videos as of `untrimmed_order`.

    Args:
        root, split, num_videos, seed, frames: as of `appearance20`; frames of a video take about 9 MB.

    Raises:
        ValueError: `num_videos` below 1.
    """
    return _listed(UNTRIMMED_APPEARANCE, Path(root), split, num_videos, seed, frames)


def scenes_of(data: GeneratedData, root: Path, split: str, num_videos: int, seed: int = 0) -> list[Scene]:
    """The scenes whose videos are the first `num_videos` of a split.

    Raises:
        ValueError: `num_videos` is not a multiple of the videos of a scene, from one scene on.
    """
    of_each = len(data.labels_of(0))
    if num_videos < 1 or num_videos % of_each:
        told = "give 1 or more" if of_each == 1 else f"give a multiple of {of_each}, since so many come of one scene"
        raise ValueError(f"num_videos={num_videos} is not allowed: {told}")
    return [Scene(data, root, split, number, seed) for number in range(num_videos // of_each)]


def _listed(data: GeneratedData, root: Path, split: str, num_videos: int, seed: int, frames: bool) -> VideoList:
    samples = []
    for scene in scenes_of(data, root, split, num_videos, seed):
        scene.make(frames)
        files = scene.arrays if frames else scene.videos
        samples += [(str(file), info) for file, info in zip(files, scene.infos, strict=True)]
    return VideoList(samples, data.classes)


def _decode(video: Path, array: Path) -> None:
    """(T, 3, 64, 64) uint8 to a `.npy` file."""
    with SparseVideo(video, threads=1) as source:
        decoded = source.frames_at(range(source.num_frames), FRAME_SIZE).numpy()
    array.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(array) as file:
        np.save(file, decoded, allow_pickle=False)
