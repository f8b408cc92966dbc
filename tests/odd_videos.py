"""Damaged and odd video files, made by formula: `write_all(folder)` gives their paths by name."""

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from index_video import bars, write_index_video
from PIL import Image

TENTHS = range(1, 10)
FRAMES = 40


def write_all(folder: Path) -> dict[str, Path]:
    bases = _bases(folder)
    odd = dict(_odd_but_whole(folder))
    files = {**{f"whole_{name}": path for name, path in bases.items()}, **odd}
    for name, content, suffix in _damaged({name: path.read_bytes() for name, path in bases.items()}):
        files[name] = folder / f"{name}{suffix}"
        files[name].write_bytes(content)
    return files


def _bases(folder: Path) -> dict[str, Path]:
    exact = {"fflags": "bitexact"}  # the same bytes every time
    front = exact | {"movflags": "faststart"}
    pieces = exact | {"movflags": "frag_keyframe+empty_moov"}
    return {
        "mp4": write_index_video(folder / "base.mp4", FRAMES, container_options=exact),
        "front": write_index_video(folder / "front.mp4", FRAMES, container_options=front),
        "pieces": write_index_video(folder / "pieces.mp4", FRAMES, container_options=pieces),
        "mkv": write_index_video(folder / "base.mkv", FRAMES, container_options=exact),
        "ts": write_index_video(folder / "base.ts", FRAMES, container_options=exact),
        "avi": write_index_video(folder / "base.avi", FRAMES, codec="mpeg4", container_options=exact),
    }


def _damaged(bases: dict[str, bytes]) -> Iterator[tuple[str, bytes, str]]:
    """(name, content, suffix)."""
    suffixes = {"mkv": ".mkv", "ts": ".ts", "avi": ".avi"}
    for name in ("front", "pieces", "mkv", "ts", "avi"):
        for tenth in TENTHS:
            yield f"cut_{name}_{tenth}", bases[name][: len(bases[name]) * tenth // 10], suffixes.get(name, ".mp4")
    for tenth in (2, 6):
        yield f"without_moov_{tenth}", bases["mp4"][: len(bases["mp4"]) * tenth // 10], ".mp4"
    for name, base in bases.items():
        for seed in range(3):
            yield f"flipped_{name}_{seed}", _flipped(base, seed), suffixes.get(name, ".mp4")
    mp4, ts = bases["mp4"], bases["ts"]
    yield "zero_length", b"", ".mp4"
    yield "text", b"this is no video\n" * 100, ".mp4"
    yield "mp4_signature_alone", mp4[:32] + random.Random(0).randbytes(5000), ".mp4"
    yield "garbage_after", mp4 + random.Random(1).randbytes(3000), ".mp4"
    yield "mp4_named_avi", mp4, ".avi"
    yield "mkv_named_mp4", bases["mkv"], ".mp4"
    yield "without_suffix", mp4, ""
    yield "ts_from_the_middle", ts[188 * (len(ts) // 188 // 3) :], ".ts"
    yield "ts_after_garbage", random.Random(2).randbytes(500) + ts, ".ts"
    yield (
        "ts_with_lost_packets",
        b"".join(ts[i : i + 188] for i in range(0, len(ts), 188) if i // 188 % 29 != 17),
        ".ts",
    )
    yield "huge_duration", _patched(_patched(mp4, b"mvhd", 16, 2**31 - 1), b"mdhd", 16, 2**31 - 1), ".mp4"
    yield "zero_timescale", _patched(mp4, b"mdhd", 12, 0), ".mp4"
    yield "offsets_past_the_end", _patched(mp4, b"stco", 8, 2**30), ".mp4"
    yield "more_samples_than_there_are", _patched(mp4, b"stsz", 8, FRAMES + 500), ".mp4"
    yield "times_of_more_samples", _patched(mp4, b"stts", 8, FRAMES * 9), ".mp4"
    yield "trimmed_by_an_edit_list", _patched(mp4, b"elst", 12, 15 * 512), ".mp4"
    yield "edit_list_of_a_moment", _patched(mp4, b"elst", 8, 400), ".mp4"
    for quarter, matrix in {1: (0, 1, -1, 0), 2: (-1, 0, 0, -1), 3: (0, -1, 1, 0)}.items():
        yield f"rotated_{quarter}", _turned(mp4, matrix), ".mp4"


def _odd_but_whole(folder: Path) -> Iterator[tuple[str, Path]]:
    def video(name: str, suffix: str = ".mp4", num_frames: int = 12, **arguments) -> tuple[str, Path]:
        return name, write_index_video(folder / f"{name}{suffix}", num_frames, **arguments)

    yield video("one_frame", num_frames=1)
    yield video("two_frames", num_frames=2)
    yield video("odd_size", size=(97, 161), pix_fmt="yuv444p")
    yield video("ten_bits", pix_fmt="yuv420p10le")
    yield video("ten_bits_hevc", codec="libx265", pix_fmt="yuv420p10le")
    yield video("full_range", pix_fmt="yuvj420p")
    yield video("all_intra", gop=1)
    yield video("one_keyframe", num_frames=FRAMES, gop=250)
    yield video("variable_rate", variable_rate=True)
    yield video("late_start", start_seconds=3.5)
    yield video("audio_longer", audio_seconds=3.0)
    yield video("vp8", ".webm", codec="libvpx")
    yield video("vp9", ".webm", codec="libvpx-vp9")
    yield video("ffv1", ".mkv", codec="ffv1")
    yield video("mjpeg", ".avi", codec="mjpeg", pix_fmt="yuvj420p")
    yield video("mpeg2", ".mpg", codec="mpeg2video")
    yield video("flv", ".flv", codec="flv")
    yield video("mpeg4_b_frames", ".avi", codec="mpeg4", options={"bf": "2"})
    yield video("h264_in_avi", ".avi")
    yield "gif", _write_gif(folder / "animated.gif")
    yield "picture", _write_picture(folder / "picture.mp4")
    yield "audio_alone", _write_audio(folder / "audio.m4a")
    yield "changing_size", _write_changing_size(folder)


def _flipped(content: bytes, seed: int) -> bytes:
    draw = random.Random(seed)
    damaged = bytearray(content)
    for _ in range(12):
        damaged[draw.randrange(len(content) // 10, len(content))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def _patched(content: bytes, box: bytes, place: int, value: int) -> bytes:
    """With the 32-bit number `place` bytes after the box's name replaced."""
    start = content.rindex(box) + len(box) + place
    return content[:start] + struct.pack(">I", value) + content[start + 4 :]


def _turned(content: bytes, matrix: tuple[int, int, int, int]) -> bytes:
    """With this matrix in the track's header."""
    start = content.rindex(b"tkhd") + 4 + 40  # after version, times, numbers and volume
    a, b, c, d = (value << 16 for value in matrix)
    return content[:start] + struct.pack(">5i", a, b, 0, c, d) + content[start + 20 :]


def _write_gif(path: Path) -> Path:
    pictures = [Image.fromarray(bars(number)) for number in range(6)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
    return path


def _write_picture(path: Path) -> Path:
    Image.fromarray(bars(1)).save(path, "JPEG")
    return path


def _write_audio(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        for start in range(0, 16000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _write_changing_size(folder: Path) -> Path:
    parts = [write_index_video(folder / f"part{i}.ts", 12, size=size) for i, size in enumerate([(96, 160), (64, 128)])]
    path = folder / "changing_size.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path
