"""Videos whose frames spell their own number, so that decoding tests compare integers and no file is stored.

A frame shows its number as vertical black and white bars, one a bit, the lowest bit on the left. The bars survive every
codec used here, lossy ones with B-frames at low quality included.
"""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

BITS = 10
WIDTH, HEIGHT = 160, 96


def bars(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """The picture of a frame number: (height, width, 3) uint8."""
    bits = (number >> np.arange(BITS)) & 1
    row = bits[np.arange(width) * BITS // width] * 219 + 16
    return np.broadcast_to(row[None, :, None], (height, width, 3)).astype(np.uint8)


def read_number(frame: np.ndarray | torch.Tensor) -> int:
    """The number that a decoded frame, (3, height, width) uint8, shows."""
    frame = np.asarray(frame)
    edges = np.linspace(0, frame.shape[2], BITS + 1)
    centres = ((edges[:-1] + edges[1:]) / 2).astype(int)
    level = frame[:, frame.shape[1] // 4 : -(frame.shape[1] // 4) or None, centres].mean(axis=(0, 1))
    return int(((level > 128).astype(int) << np.arange(BITS)).sum())


def read_numbers(frames: torch.Tensor) -> list[int]:
    return [read_number(frame) for frame in frames]


def write_index_video(
    path: Path,
    num_frames: int = 60,
    codec: str = "libx264",
    gop: int = 12,
    variable_rate: bool = False,
    start_seconds: float = 0.0,
    rate: int | Fraction = 25,
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (HEIGHT, WIDTH),
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    audio_seconds: float = 0.0,
) -> Path:
    """Write frames 0 .. num_frames - 1, each showing its number; returns `path`."""
    height, width = size
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.gop_size = gop
        stream.options = {**_quiet(codec, gop), **(options or {})}
        time_base = Fraction(1, 1000) if variable_rate else 1 / Fraction(rate)
        stream.codec_context.time_base = time_base
        if audio_seconds:
            tone = container.add_stream("aac", rate=16000)
        start = round(start_seconds / time_base)
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(bars(number, width, height), format="rgb24")
            frame.pts = start + (_uneven_milliseconds(number) if variable_rate else number)
            frame.time_base = time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio_seconds:
            _write_silence(container, tone, audio_seconds)
    return path


def _uneven_milliseconds(number: int) -> int:
    """Steps of 20, 50 and 110 ms in turn: no two neighbours alike, no step below a time base of 1/90000."""
    return 180 * (number // 3) + (0, 20, 70)[number % 3]


def _quiet(codec: str, gop: int) -> dict[str, str]:
    if codec == "libx264":
        return {"crf": "28", "bf": "3", "keyint_min": "1", "sc_threshold": "0", "preset": "veryfast"}
    if codec == "libx265":
        return {
            "crf": "28",
            "x265-params": f"log-level=none:keyint={gop}:min-keyint=1:scenecut=0",
            "preset": "ultrafast",
        }
    if codec.startswith("libvpx"):
        return {"crf": "30", "b": "0", "deadline": "realtime", "cpu-used": "8"}
    return {}


def _write_silence(container, stream, seconds: float) -> None:
    for start in range(0, int(seconds * 16000), 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
