"""Real clips spliced into long distracting footage, and what a recogniser still sees of them without any training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from pv_sparse.data.annotations import VideoList
from pv_sparse.data.encoding import write_video
from pv_sparse.data.video import SparseVideo

RATE = 12
HEIGHT, WIDTH = 256, 340
# A keyframe at least every four seconds; at a cut comes one too.
KEYFRAME_INTERVAL = 4 * RATE
# Seconds.
LENGTHS = (60.0, 240.0)
PIECE_SECONDS = (5.0, 20.0)
# Share of the video that the clip takes.
SHARES = (0.03, 0.1)
# Of a seed, in the study.
VIDEOS_OF_A_CLIP = 3
# Frames that are decoded at a time.
AT_ONCE = 32


@dataclass(frozen=True)
class Plan:
    """Frames of a spliced video, and of the clip in it: from `begin` on, `end` not included."""

    num_frames: int
    begin: int
    end: int


def splice(
    clips: Sequence[Path],
    distractors: Sequence[Path],
    folder: Path,
    num_videos: int,
    seed: int = 0,
    piece_seconds: tuple[float, float] | None = PIECE_SECONDS,
) -> VideoList:
    """Videos of 60 to 240 s, each of distracting footage with one clip at a random place, made where they are missing.

    The clip takes 3 to 10 % of the time: a short one comes in a short video, of one of more than 24 s the beginning is
    taken. The footage goes on after it where it was. 340x256 pixels, to which all is scaled and cut around the middle,
    12 frames a second, h264, a keyframe at least every 4 s.

    Args:
        clips: video files of 1.8 s or more, each with a name of its own; they take turns.
        distractors: video files, of which the footage is made, drawn one after the other.
        folder: the videos lie in folder/clip's name.
        num_videos: 1 or more.
        seed: of all draws.
        piece_seconds: of the pieces of footage, cut from anywhere, at least and at most; None plays every file whole.

    Returns:
        The label is the number of the clip; the infos also tell `event_seconds` (start, end).

    Raises:
        ValueError: no clips, no distractors, two clips of a name, or a clip that is too short.
        VideoDecodeError: a file that cannot be read.
    """
    names = tuple(clip.stem for clip in clips)
    if not clips or not distractors:
        raise ValueError(f"{len(clips)} clips and {len(distractors)} distractors are too few: give one or more of each")
    if len(set(names)) < len(names):
        raise ValueError(f"clips={', '.join(names)}: two have one name: give clips of different names")
    durations = [_duration(clip) for clip in clips]
    samples = []
    for number in range(num_videos):
        label = number % len(clips)
        random = np.random.default_rng([seed, number])
        plan = plan_of(durations[label], clips[label], random)
        path = folder / names[label] / f"{seed}_{number:04d}.mp4"
        if not path.exists():
            pictures = _spliced(plan, clips[label], distractors, piece_seconds, random)
            write_video(path, pictures, RATE, KEYFRAME_INTERVAL)
        samples.append((str(path), {"label": label, "event_seconds": (plan.begin / RATE, plan.end / RATE)}))
    return VideoList(samples, names)


def plan_of(clip_seconds: float, clip: Path, random: np.random.Generator) -> Plan:
    """Where a clip of this length lies; drawn first.

    Raises:
        ValueError: a clip that is too short for the shortest video.
    """
    least, most = SHARES[0] * LENGTHS[0], SHARES[1] * LENGTHS[1]
    length = round(min(clip_seconds, most) * RATE)
    if length < least * RATE:
        raise ValueError(f"{clip}: {clip_seconds:.2f} s are too short: give clips of {least:g} s or more")
    shortest = max(int(np.ceil(length / SHARES[1])), round(LENGTHS[0] * RATE))
    longest = min(int(length / SHARES[0]), round(LENGTHS[1] * RATE))
    num_frames = int(random.integers(shortest, longest + 1))
    begin = int(random.integers(0, num_frames - length + 1))
    return Plan(num_frames, begin, begin + length)


def write_excerpt(video: Path, folder: Path, seconds: float = SHARES[1] * LENGTHS[1]) -> Path:
    """The beginning of a video alone, encoded as it is in spliced videos: folder/name.mp4; made where it is missing."""
    path = folder / f"{video.stem}.mp4"
    if not path.exists():
        write_video(path, pictures_of(video, 0, seconds), RATE, KEYFRAME_INTERVAL)
    return path


def pictures_of(path: Path, start: float = 0, seconds: float = float("inf")) -> Iterator[np.ndarray]:
    """(HEIGHT, WIDTH, 3) uint8 RGB pictures of a video, 12 a second, in seconds from its beginning on."""
    with SparseVideo(path, threads=1) as video:
        scale = max(HEIGHT / video.height, WIDTH / video.width)
        size = max(round(scale * video.height), HEIGHT), max(round(scale * video.width), WIDTH)
        top, left = (size[0] - HEIGHT) // 2, (size[1] - WIDTH) // 2
        seconds = min(seconds, float(video.duration_seconds) - start)
        times = start + np.arange(max(round(seconds * RATE), 1)) / RATE
        shown = np.searchsorted(np.asarray(video.frame_times_seconds), times + 1e-6, side="right") - 1
        for first in range(0, len(shown), AT_ONCE):
            frames = video.frames_at(shown[first : first + AT_ONCE].clip(min=0), size)
            yield from frames[..., top : top + HEIGHT, left : left + WIDTH].permute(0, 2, 3, 1).contiguous().numpy()


def _spliced(
    plan: Plan,
    clip: Path,
    distractors: Sequence[Path],
    piece_seconds: tuple[float, float] | None,
    random: np.random.Generator,
) -> Iterator[np.ndarray]:
    footage, length = _footage(distractors, piece_seconds, random), plan.end - plan.begin
    yield from islice(footage, plan.begin)
    yield from islice(pictures_of(clip), length)
    yield from islice(footage, plan.num_frames - plan.end)


def _footage(
    distractors: Sequence[Path], piece_seconds: tuple[float, float] | None, random: np.random.Generator
) -> Iterator[np.ndarray]:
    """Without end."""
    durations = [_duration(distractor) for distractor in distractors]
    while True:
        number = int(random.integers(len(distractors)))
        seconds = durations[number] if piece_seconds is None else random.uniform(*piece_seconds)
        start = random.uniform(0, max(durations[number] - seconds, 0))
        yield from pictures_of(distractors[number], start, seconds)


def _duration(path: Path) -> float:
    with SparseVideo(path, threads=1) as video:
        return float(video.duration_seconds)
