"""What do 8 frames of a video cost? CPU time and bytes read, against the decoders that people use.

Every peer is asked for the same frames, the middles of S segments, of the same file, opened afresh; one thread; in
turns. `ours`: SparseVideo. `snap`: the same with snap="keyframe", other frames. `torchcodec`: exact; `approximate`:
its other mode. `decord2`. `dense`: PyTorchVideo's whole clip, then the frames of it. `windows`: PyTorchVideo, one
window a frame. Peers that are not installed are left out (pip install torchcodec decord2; torchcodec needs FFmpeg's
libraries, Debian's `ffmpeg`).

Prints tables and writes decode.json: for each clip and S the median and the quartiles of the CPU milliseconds, bytes
read, the largest difference to our frames; then the ratios that are claimed. `--quick` takes S = 8 and 3 rounds.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import av
import torch
from clips import all_clips
from torch import Tensor

import pv_sparse
from pv_sparse import SegmentClipSampler, SparseVideo, segment_indices
from pv_sparse.data.decoder import Decoder

SEGMENTS = (3, 8, 16, 25)
CLOSE = 3  # of 255: conversions from YUV differ so much between libraries
MOST_DENSE_BYTES = 2e9  # the host holds a whole clip as float32
Frames = Callable[[str, list[int]], Tensor]  # (path, indices) -> (T, 3, H, W) uint8


def ours(path: str, indices: list[int]) -> Tensor:
    with SparseVideo(path, threads=1) as video:
        return video.frames_at(indices)


def snap(path: str, indices: list[int]) -> Tensor:
    plan = SegmentClipSampler(len(indices), snap="keyframe").plan(seed=0)
    with SparseVideo(path, threads=1) as video:
        return video.frames_at(plan.indices(video))


def torchcodec(path: str, indices: list[int], seek_mode: str = "exact") -> Tensor:
    from torchcodec.decoders import VideoDecoder

    return VideoDecoder(path, num_ffmpeg_threads=1, seek_mode=seek_mode).get_frames_at(indices).data


def approximate(path: str, indices: list[int]) -> Tensor:
    return torchcodec(path, indices, "approximate")


def decord2(path: str, indices: list[int]) -> Tensor:
    import decord

    return torch.from_numpy(decord.VideoReader(path, num_threads=1).get_batch(indices).asnumpy()).permute(0, 3, 1, 2)


def dense(path: str, indices: list[int]) -> Tensor:
    from pytorchvideo.data.encoded_video import EncodedVideo

    with SparseVideo(path) as video:
        size = 4 * video.num_frames * video.frames_at([0]).numel()
    if size > MOST_DENSE_BYTES:
        raise MemoryError(f"{size / 1e9:.0f} GB")
    video = EncodedVideo.from_path(path, decode_audio=False)
    return video.get_clip(0, video.duration)["video"][:, indices].transpose(0, 1).to(torch.uint8)


def windows(path: str, indices: list[int]) -> Tensor:
    from pytorchvideo.data.encoded_video import EncodedVideo

    with SparseVideo(path) as ours:
        times, half = ours.frame_times_seconds[indices].tolist(), Fraction(1, 2) / ours.average_rate
    video = EncodedVideo.from_path(path, decode_audio=False)
    clips = [video.get_clip(Fraction(t) - half, Fraction(t) + half)["video"] for t in times]
    return torch.cat(clips, 1).transpose(0, 1).to(torch.uint8)


PEERS: dict[str, Frames] = {f.__name__: f for f in (ours, snap, torchcodec, approximate, decord2, dense, windows)}


HOST = ("dense", "windows")  # slow: with S = 8 alone, and at most three rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="S = 8 alone, fewer rounds")
    parser.add_argument("--clips", nargs="*", help="names of clips; all by default")
    options = parser.parse_args()
    torch.set_num_threads(1)
    clips = {name: path for name, path in all_clips().items() if not options.clips or name in options.clips}
    rows = []
    for num_segments in (8,) if options.quick else SEGMENTS:
        for name, path in clips.items():
            rows.append({"clip": name, "num_segments": num_segments, **measure(str(path), num_segments, options.quick)})
            print(table_row(rows[-1]), flush=True)
    work = {name: work_row(str(path)) for name, path in clips.items()}
    result = {"versions": versions(), "rows": rows, "work": work, "claims": claims(rows)}
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1))
    for name, row in work.items():
        print(
            f"{name[:24]:24} decoded {row['decoded']}, needed {row['needed']}: {row['decoded'] / row['needed']:.2f}; "
            f"{row['peak_mb']} MB"
        )
    print(*(f"{name}: {value}" for name, value in result["claims"].items()), sep="\n")


def measure(path: str, num_segments: int, is_quick: bool) -> dict:
    """By peer: `ms` [first quartile, median, third], `bytes`, and `difference` or `error`."""
    with SparseVideo(path) as video:
        indices = segment_indices(video.num_frames, num_segments).flatten().tolist()
        expected = video.frames_at(indices)
    times: dict[str, list[float]] = {}
    results: dict[str, dict] = {}
    for name, peer in PEERS.items():
        if name in HOST and num_segments != 8:
            continue
        try:
            read = bytes_read()
            frames = peer(path, indices)
            results[name] = {"bytes": bytes_read() - read}
        except Exception as error:
            results[name] = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:90]}"}
            continue
        times[name] = []
        if name != "snap" and frames.shape == expected.shape:
            results[name]["difference"] = int((frames.short() - expected.short()).abs().max())
        elif name != "snap":
            results[name]["difference"] = f"shape {tuple(frames.shape)}"
    for round_number in range(rounds(path, indices, is_quick or num_segments != 8)):
        for name, taken in times.items():
            if name in HOST and round_number >= 3:
                continue
            started = time.process_time()
            PEERS[name](path, indices)
            taken.append((time.process_time() - started) * 1e3)
    for name, taken in times.items():
        results[name]["ms"] = [round(t, 3) for t in statistics.quantiles(taken, n=4)]
    return results


def rounds(path: str, indices: list[int], is_quick: bool) -> int:
    """More of what is short: about 2 seconds of ours, 5 to 15 rounds."""
    started = time.process_time()
    ours(path, indices)
    taken = time.process_time() - started
    return 3 if is_quick else max(5, min(15, round(2 / max(taken, 1e-3))))


def bytes_read() -> int:
    """Through read calls of this process, caches of the system included (Linux)."""
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


def work_row(path: str) -> dict:
    """Frames decoded over frames that had to be decoded, S = 8, and memory."""
    with SparseVideo(path, threads=1) as video:
        indices = segment_indices(video.num_frames, 8).flatten().tolist()
    decoded, needed = frames_decoded(path, indices), frames_needed(path, indices)
    return {"decoded": decoded, "needed": needed, "peak_mb": peak_memory_mb(path)}


def frames_decoded(path: str, indices: list[int]) -> int:
    count, original = 0, Decoder.frames_of

    def counting(*arguments: object) -> Iterator[av.VideoFrame]:
        nonlocal count
        for frame in original(*arguments):
            count += 1
            yield frame

    Decoder.frames_of = counting
    try:
        ours(path, indices)
    finally:
        Decoder.frames_of = original
    return count


def frames_needed(path: str, indices: list[int]) -> int:
    """The wanted frames, and what they can depend on: the reference frames from their keyframes on, as coded."""
    with av.open(path, metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.codec_context.skip_frame = "NONREF"
        packets = [(packet.pts, packet.is_keyframe) for packet in container.demux(stream) if packet.size]
        container.seek(0)
        references = {frame.pts for frame in container.decode(stream)}
    places = sorted(range(len(packets)), key=lambda place: packets[place][0])
    needed = set()
    for index in indices:
        stop = places[index]
        key = max(k for k in range(stop + 1) if packets[k][1] and packets[k][0] <= packets[stop][0])
        needed |= {stop, *(place for place in range(key, stop) if packets[place][0] in references)}
    return len(needed)


def peak_memory_mb(path: str) -> float:
    """By how much reading 8 frames raises the memory of a process that has imported everything (Linux)."""
    code = (
        "import re, sys\nfrom pathlib import Path\nfrom pv_sparse import SparseVideo, segment_indices\n"
        "def now(what): return int(re.search(what + r':\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "Path('/proc/self/clear_refs').write_text('5')\n"  # the peak starts anew
        "before = now('VmRSS')\n"
        "with SparseVideo(sys.argv[1], threads=1) as v: v.frames_at(segment_indices(v.num_frames, 8))\n"
        "print((now('VmHWM') - before) / 1024)"
    )
    return round(float(subprocess.check_output([sys.executable, "-W", "ignore", "-c", code, path])), 1)


def median(row: dict, peer: str) -> float | None:
    return row[peer]["ms"][1] if "ms" in row.get(peer, {}) else None


def table_row(row: dict) -> str:
    cells = [f"{row['clip'][:24]:24} S={row['num_segments']:<3}"]
    for name in (name for name in PEERS if name in row):
        taken = median(row, name)
        cells.append(f"{name} {taken:.1f}" if taken is not None else f"{name} - ({row[name]['error'][:40]})")
        if "difference" in row[name] and not is_equal(row[name]):
            cells[-1] += f" (other frames: {row[name]['difference']})"
    return " | ".join(cells)


def is_equal(result: dict) -> bool:
    return isinstance(result.get("difference"), int) and result["difference"] <= CLOSE


def claims(rows: list[dict]) -> dict[str, str]:
    """The figures of README.md, from S = 8."""
    eight = {row["clip"]: row for row in rows if row["num_segments"] == 8}
    both = {
        n: (median(r, "ours"), median(r, "torchcodec")) for n, r in eight.items() if is_equal(r.get("torchcodec", {}))
    }
    ratios = {name: mine / theirs for name, (mine, theirs) in both.items()}
    if not ratios:
        return {"torchcodec": "not installed, or it failed on every clip"}
    worst = max(ratios, key=ratios.__getitem__)
    mean = math.exp(statistics.fmean(map(math.log, ratios.values())))
    told = {
        "ours / torchcodec exact, geometric mean": f"{mean:.3f} over {len(ratios)} clips",
        "worst clip": f"{worst}: {ratios[worst]:.2f}, {both[worst][0] - both[worst][1]:+.1f} ms",
    }
    for name, row in eight.items():
        if name in both and name.endswith(("_60s", "_240s")):
            told[f"snap / torchcodec exact, {name}"] = f"{median(row, 'snap') / both[name][1]:.3f}"
        if median(row, "dense"):
            told[f"dense / ours, {name}"] = f"{median(row, 'dense') / median(row, 'ours'):.1f}"
    for size in ("340x256", "1280x720"):
        if {f"{size}_10s", f"{size}_240s"} <= set(eight):
            growth = median(eight[f"{size}_240s"], "snap") / median(eight[f"{size}_10s"], "snap")
            told[f"snap, 240 s / 10 s, {size}"] = f"{growth:.2f}"
    return told


def versions() -> dict[str, str]:
    names = ("torch", "torchcodec", "decord2", "av", "pytorchvideo", "numpy")
    found = {"python": platform.python_version(), "pv_sparse": pv_sparse.__version__, "cores": str(os.cpu_count())}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
            print(f"left out: {name} is not installed")
    return found


if __name__ == "__main__":
    main()
