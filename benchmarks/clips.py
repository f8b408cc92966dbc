"""The videos of the decoding benchmarks: real ones of the `demo` extra and of a folder, and generated ones.

Generated: one shot of a camera that pans over a large picture, with things that move across it and film grain; x264
with its defaults, which place a keyframe every 250 frames where nothing is cut, 25 frames a second. They are kept
in the folder `PV_SPARSE_BENCH_CLIPS`, or in the system's temporary folder. To make them: python benchmarks/clips.py.
"""

import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from pv_sparse.study import sample_clips as samples

RATE = 25
SECONDS = (10, 60, 240)
SIZES = ((340, 256), (1280, 720))
THINGS, GRAINS = 6, 8


def all_clips() -> dict[str, Path]:
    """By name: the samples, those of the folder `PV_SPARSE_SHARED`/clips where there is one, the generated ones."""
    clips = {path.name: path for path in sample_clips()}
    shared = Path(os.environ.get("PV_SPARSE_SHARED", Path(__file__).parents[2] / "shared")) / "clips"
    clips |= {path.name: path for path in sorted(shared.glob("*.*"))}
    return clips | {path.stem: path for path in generated_clips()}


def sample_clips() -> list[Path]:
    clips = samples.sample_clips()
    if not clips:
        print('left out: the sample clips; pip install "pv-sparse[demo]"')
    return list(clips)


def kept() -> Path:
    """The folder of what benchmarks generate."""
    return Path(os.environ.get("PV_SPARSE_BENCH_CLIPS", Path(tempfile.gettempdir()) / "pv_sparse_bench_clips"))


def generated_clips() -> list[Path]:
    return [generated_clip(seconds, size) for size in SIZES for seconds in SECONDS]


def generated_clip(
    seconds: int, size: tuple[int, int], number: int = 0, shot_seconds: tuple[float, float] | None = None
) -> Path:
    """The clip of this length and (width, height), made where it is missing; `number` seeds what it shows."""
    folder = kept()
    folder.mkdir(parents=True, exist_ok=True)
    kind = f"_{number}{'_cut' if shot_seconds else ''}" if number or shot_seconds else ""
    path = folder / f"{size[0]}x{size[1]}_{seconds}s{kind}.mp4"
    if not path.exists():
        print(f"making {path.name}", flush=True)
        unfinished = path.with_suffix(f".{os.getpid()}.mp4")
        write_video(unfinished, scene(seconds * RATE, size, number, shot_seconds))
        unfinished.replace(path)
    return path


def write_video(path: Path, pictures: Iterator[np.ndarray]) -> None:
    first = next(pictures)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.height, stream.width, stream.pix_fmt = *first.shape[:2], "yuv420p"
        for picture in itertools.chain([first], pictures):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def scene(
    num_frames: int, size: tuple[int, int], seed: int, shot_seconds: tuple[float, float] | None = None
) -> Iterator[np.ndarray]:
    """(height, width, 3) uint8 pictures: one shot, or shots as long as `shot_seconds` says, each elsewhere."""
    width, height = size
    random = np.random.default_rng(seed)
    backdrop = _backdrop(2 * height, 2 * width, random)
    grain = random.integers(-2, 3, (GRAINS, height, width, 1), dtype=np.int16)
    things, periods, phases, next_cut = _things(random, height, width), random.uniform(300, 900, 2), np.zeros(2), 0.0
    for number in range(num_frames):
        if shot_seconds and number >= next_cut:
            next_cut = number + RATE * random.uniform(*shot_seconds)
            phases, things = random.uniform(0, 6, 2), _things(random, height, width)
        top, side = ((1 + np.sin(number / periods + phases)) / 2 * (height - 1, width - 1)).astype(int)
        picture = backdrop[top : top + height, side : side + width].astype(np.int16)
        for colour, start, speed, extent in things:
            y, x = (start + speed * number).astype(int) % (height, width)
            picture[y : y + extent, x : x + extent] = colour
        yield np.clip(picture + grain[random.integers(GRAINS)], 0, 255).astype(np.uint8)


def _backdrop(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """Noise of several scales, as natural pictures have."""
    picture = np.zeros((height, width, 3))
    for scale in (4, 8, 16, 32, 64):
        coarse = random.normal(size=(height // scale + 1, width // scale + 1, 3))
        picture += np.kron(coarse, np.ones((scale, scale, 1)))[:height, :width] * scale**0.5
    return np.clip(128 + picture * 7, 0, 255).astype(np.uint8)


def _things(random: np.random.Generator, height: int, width: int) -> list[tuple]:
    return [
        (
            random.integers(0, 255, 3),
            random.random(2) * (height, width),
            random.normal(0, 4, 2),
            int(random.integers(height // 12, height // 4)),
        )
        for _ in range(THINGS)
    ]


if __name__ == "__main__":
    print(*all_clips().values(), sep="\n")
