"""A video to decode, where none is given: a camera pans over a textured scene that things move across."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

RATE = 25
THINGS = 6
KEYFRAME_EVERY = 250  # as x264 does by default where nothing is cut


def write_clip(path: Path, seconds: float = 10.0, size: tuple[int, int] = (340, 256), seed: int = 0) -> Path:
    """Write h264 of 25 frames a second, (width, height) `size`, a keyframe every 250 frames; returns `path`."""
    width, height = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = KEYFRAME_EVERY
        for picture in moving_pictures(round(seconds * RATE), size, seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def moving_pictures(num_frames: int, size: tuple[int, int], seed: int = 0) -> Iterator[np.ndarray]:
    """(height, width, 3) uint8 pictures of one shot: detail, motion and noise, which decoding takes its time for."""
    width, height = size
    random = np.random.default_rng(seed)
    scene = _texture(2 * height, 2 * width, random)
    starts, speeds = random.random((THINGS, 2)) * (height, width), random.normal(0, 4, (THINGS, 2))
    sides, colours = random.integers(height // 12, height // 4, THINGS), random.integers(0, 255, (THINGS, 3))
    phases, periods = random.uniform(0, 6, 2), random.uniform(50, 150, 2)
    for number in range(num_frames):
        top, left = ((1 + np.sin(number / periods + phases)) / 2 * (height, width)).astype(int)
        picture = scene[top : top + height, left : left + width] + random.integers(-2, 3, (height, width, 1))
        for (y, x), side, colour in zip(starts + speeds * number, sides, colours, strict=True):
            picture[int(y) % height :, int(x) % width :][:side, :side] = colour
        yield picture.clip(0, 255).astype(np.uint8)


def _texture(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """(height, width, 3): noise of several scales, the coarser the stronger, as natural pictures have it."""
    picture = np.full((height, width, 3), 128.0)
    for scale in (4, 16, 64):
        coarse = random.normal(0, 8 * scale**0.5, (height // scale + 1, width // scale + 1, 3))
        picture += coarse.repeat(scale, 0).repeat(scale, 1)[:height, :width]
    return picture.clip(0, 255).astype(np.int16)
