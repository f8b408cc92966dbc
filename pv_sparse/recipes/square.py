"""Generated videos of a square that moves left or right: no single frame tells which, so that only order does."""

import os
from pathlib import Path

import numpy as np

from pv_sparse.data.annotations import VideoList
from pv_sparse.data.encoding import write_video

CLASSES = ("left", "right")
SIZE, SQUARE, RATE = 64, 16, 25


def square_videos(root: str | os.PathLike[str], split: str, num_videos: int, seed: int = 0) -> VideoList:
    """The videos of a split, made below `root` where they are missing.

    A bright square on a noisy ground crosses from one side to the other, in 32 to 63 frames of 64x64 pixels, h264; the
    height, the colours and the noise are drawn. Every video of one class is one of the other played backwards, with
    draws of its own: the classes show the same frames.

    Args:
        root: folder of the data; the videos lie in root/split/class.
        split: its name, `train` or `val`.
        num_videos: half of each class.
        seed: of all draws, together with the split's name.
    """
    samples = []
    for number in range(num_videos):
        label = number % len(CLASSES)
        path = Path(root) / split / CLASSES[label] / f"{seed}_{number:04d}.mp4"
        if not path.exists():
            random = np.random.default_rng([seed, number, *split.encode()])
            write_video(path, _pictures(random, is_right=CLASSES[label] == "right"), RATE)
        samples.append((str(path), {"label": label}))
    return VideoList(samples, CLASSES)


def _pictures(random: np.random.Generator, is_right: bool) -> np.ndarray:
    """(frames, SIZE, SIZE, 3) uint8."""
    num_frames = int(random.integers(32, 64))
    ground, colour = random.integers(0, 96, 3), random.integers(160, 256, 3)
    top = int(random.integers(0, SIZE - SQUARE + 1))
    places = np.linspace(0, SIZE - SQUARE, num_frames).round().astype(int)
    pictures = ground + random.normal(0, 12, (num_frames, SIZE, SIZE, 3))
    for picture, left in zip(pictures, places if is_right else places[::-1], strict=True):
        picture[top : top + SQUARE, left : left + SQUARE] = colour
    return pictures.clip(0, 255).astype(np.uint8)
