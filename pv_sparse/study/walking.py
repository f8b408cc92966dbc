"""People who walk left or right, cut from OpenCV's vtest.avi: real videos whose classes differ in order alone."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pv_sparse.data.annotations import VideoList
from pv_sparse.data.encoding import write_video
from pv_sparse.data.video import SparseVideo
from pv_sparse.errors import PvSparseError
from pv_sparse.study.walking_tracks import Track, find_tracks
from pv_sparse.whole_files import whole_file

CLASSES = ("walks left", "walks right")
# Lists the clips; written last, so that where it is, they are.
CLIPS_FILE = "clips.json"
SPLITS = ("train", "val")
# Tracks that start here or later are of `val`; clips of `train` end before.
FIRST_OF_VAL = 500
# The video is read at this height, so that a person fits into a window.
HEIGHT, SIZE, MARGIN = 432, 96, 2
# A clip: so many frames, every so many, whose walker gets at least so many pixels on.
NUM_FRAMES, STEP, MIN_MOTION = 8, 2, 16
SPAN = (NUM_FRAMES - 1) * STEP + 1
# From one clip of a track to the next.
STRIDE = 8
# In pixels: what somebody else may go the other way.
MAX_CROSSING = 2
# Of two clips: the share of frames and window that both may show.
MAX_OVERLAP = 0.5
RATE = 5
CHUNK = 100
WHERE = "vtest.avi is in Debian's package opencv-doc, usr/share/doc/opencv-doc/examples/data/vtest.avi"


@dataclass(frozen=True)
class Clip:
    """A window that stands still, while somebody walks through it.

    Attributes:
        split: `train` or `val`.
        track: number of the person.
        start: number of the first frame.
        left, top: of the window of `SIZE` pixels, in a picture of `HEIGHT` pixels.
        motion: pixels to the right from the first frame to the last; below 0 to the left.
    """

    split: str
    track: int
    start: int
    left: int
    top: int
    motion: int

    @property
    def numbers(self) -> range:
        """Of its frames."""
        return range(self.start, self.start + SPAN, STEP)

    def path(self, root: Path, is_reversed: bool, frames: bool) -> Path:
        """Of the video, or of its frames; both directions of a clip differ in class and last word alone."""
        name = f"{self.track:03d}_{self.start:04d}_{'reversed' if is_reversed else 'forward'}"
        kind = root / f"frames_{SIZE}" if frames else root
        return kind / self.split / CLASSES[self.label(is_reversed)] / f"{name}{'.npy' if frames else '.mp4'}"

    def label(self, is_reversed: bool) -> int:
        """The number of its class."""
        return int((self.motion > 0) != is_reversed)


def walking(
    root: str | os.PathLike[str], split: str, source: str | os.PathLike[str] | None = None, frames: bool = False
) -> VideoList:
    """The clips of a split, made below `root` where they are missing.

    Each clip is there twice: as it was, and reversed in time with the other label. Both classes so hold the same
    frames, and whatever reads them without their order is right for half of them. Nothing is drawn. The labels are a
    tracker's; scene and camera are the same in both splits, whose clips share neither people's tracks nor frames.

    Args:
        root: folder of the data: root/split/class holds clips of 8 frames of 96x96 pixels, root/clips.json lists them.
        split: `train`, of tracks that start before frame 500, or `val`, of those that start later.
        source: vtest.avi; it is read only where root/clips.json is missing.
        frames: list the frames as they were cut, files .npy of (8, 3, 96, 96) uint8, in place of the videos. The
            reversed clip holds exactly the frames of the other, which h264 does not keep to the last bit.

    Raises:
        ModuleNotFoundError: OpenCV is not installed.
        PvSparseError: clips must be made, and `source` is missing, or shows nobody who walks.
        ValueError: an unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"split={split!r} is unknown: choose one of {', '.join(SPLITS)}")
    index = Path(root) / CLIPS_FILE
    if not index.exists():
        _make(Path(root), _checked(source), index)
    clips = [Clip(**entry) for entry in json.loads(index.read_text())]
    samples = [
        (str(clip.path(Path(root), is_reversed, frames)), {"label": clip.label(is_reversed)})
        for clip in clips
        if clip.split == split
        for is_reversed in (False, True)
    ]
    return VideoList(samples, CLASSES)


def find_clips(tracks: Sequence[Track], height: int, width: int) -> list[Clip]:
    """Windows through which somebody walks all of a clip's time; along each track, every 8 frames.

    Left out is where the walker hardly moves sideways, or does not fit into the window; where somebody walks the other
    way in it; and what shows mostly the same as another clip, such as a couple's second half.

    Args:
        tracks: of `find_tracks`.
        height, width: of the picture, in pixels.
    """
    kept: list[Clip] = []
    for clip in _candidates(tracks, height, width):
        is_crossed = any(_crosses(clip, track) for track in tracks)
        if not is_crossed and all(_overlap(clip, other) <= MAX_OVERLAP for other in kept):
            kept.append(clip)
    return kept


def _candidates(tracks: Sequence[Track], height: int, width: int) -> Iterator[Clip]:
    for number, track in enumerate(tracks):
        split = "train" if track.start < FIRST_OF_VAL else "val"
        for start in range(track.start, track.end - SPAN + 1, STRIDE):
            boxes = track.boxes[start - track.start :][:SPAN]
            motion = round(float(boxes[-1, [0, 2]].mean() - boxes[0, [0, 2]].mean()))
            low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
            corner = ((low + high - SIZE) / 2).round().clip(0, (width - SIZE, height - SIZE))
            is_inside = (low >= corner + MARGIN).all() and (high <= corner + SIZE - MARGIN).all()
            is_of_both = split == "train" and start + SPAN > FIRST_OF_VAL
            if abs(motion) >= MIN_MOTION and is_inside and not is_of_both:
                yield Clip(split, number, start, int(corner[0]), int(corner[1]), motion)


def _crosses(clip: Clip, track: Track) -> bool:
    """Whether somebody else goes the other way in it."""
    centers = track.centers[max(clip.start - track.start, 0) : max(clip.start + SPAN - track.start, 0)]
    corner = np.array([clip.left, clip.top])
    seen = centers[((centers > corner) & (centers < corner + SIZE)).all(axis=1)]
    return len(seen) > 1 and (seen[-1, 0] - seen[0, 0]) * np.sign(clip.motion) < -MAX_CROSSING


def _overlap(one: Clip, other: Clip) -> float:
    """The share of its frames' pixels that are the other's too."""
    pairs = ((one.start, other.start, SPAN), (one.left, other.left, SIZE), (one.top, other.top, SIZE))
    return float(np.prod([max(0, length - abs(first - second)) / length for first, second, length in pairs]))


def _checked(source: str | os.PathLike[str] | None) -> Path:
    if source is None or not Path(source).is_file():
        raise PvSparseError(f"source={source} is no file, and the clips must be cut from one: {WHERE}")
    return Path(source)


def _make(root: Path, source: Path, index: Path) -> None:
    pictures = _read(source)
    clips = find_clips(find_tracks(pictures), *pictures.shape[1:3])
    missing = [split for split in SPLITS if split not in {clip.split for clip in clips}]
    if missing:
        raise PvSparseError(f"source={source} shows nobody who walks in its part {missing[0]}: {WHERE}")
    for clip in clips:
        _write(clip, root, pictures)
    with whole_file(index) as file:
        file.write(json.dumps([asdict(clip) for clip in clips], indent=1).encode())


def _read(source: Path) -> np.ndarray:
    """(frames, HEIGHT, width, 3) uint8."""
    with SparseVideo.from_path(source, threads=1) as video:
        width = round(video.width * HEIGHT / video.height)
        pictures = np.empty((video.num_frames, HEIGHT, width, 3), np.uint8)
        for start in range(0, len(pictures), CHUNK):
            part = range(len(pictures))[start : start + CHUNK]
            pictures[start : start + CHUNK] = video.frames_at(part, (HEIGHT, width)).permute(0, 2, 3, 1).numpy()
    return pictures


def _write(clip: Clip, root: Path, pictures: np.ndarray) -> None:
    """Videos and frames, in both directions. Every frame is a keyframe: its quality tells no direction."""
    window = pictures[list(clip.numbers), clip.top : clip.top + SIZE, clip.left : clip.left + SIZE]
    for is_reversed, shown in ((False, window), (True, window[::-1])):
        write_video(clip.path(root, is_reversed, frames=False), shown, RATE, keyframe_interval=1)
        path = clip.path(root, is_reversed, frames=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            np.save(file, np.ascontiguousarray(shown.transpose(0, 3, 1, 2)), allow_pickle=False)
