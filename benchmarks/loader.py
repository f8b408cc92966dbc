"""How many clips a second does a DataLoader give, 8 frames from all over the video, with 2 workers?

200 entries of a stock `LabeledVideoDataset` (20 generated videos of 30 s, 340x256, each listed ten times), as float32
clips. `ours` and `snap`: `SegmentClipSampler(8)`, exact and with snap="keyframe", and `SparseVideoPathHandler`.
`whole`: the host's way to the same frames, the whole clip and then `UniformTemporalSubsample(8)`. `window`: the
tutorial's cheaper habit, one random window of 2 s, subsampled, which sees a fifteenth of the video. `windows`: one
window of a frame for each segment, on the stock decoder.

Two kinds of video, with x264's defaults: `cut`, a new shot every 2 to 6 s, as edited videos have, and `one shot`. CPU
seconds of all processes, from starting the workers to their end, in turns; prints a table and writes loader.json.
"""

import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import torch
from clips import RATE, generated_clip
from pytorchvideo.data import LabeledVideoDataset
from pytorchvideo.data.clip_sampling import ClipInfoList, ClipSampler, make_clip_sampler
from torch.utils.data import DataLoader, SequentialSampler

from pv_sparse import SegmentClipSampler, SparseVideoPathHandler

SECONDS, SIZE, FRAMES, VIDEOS, ENTRIES, WORKERS, ROUNDS = 30, (340, 256), 8, 20, 200, 2, 3
WHOLE_ENTRIES = 20  # A whole clip takes so long that a tenth of the list is enough.
KINDS = {"cut": (2, 6), "one shot": None}


class SegmentWindows(ClipSampler):
    """A window of one frame in the middle of each segment."""

    def __call__(self, last: object, duration: Fraction, annotation: dict) -> ClipInfoList:
        starts = [duration * (2 * i + 1) / (2 * FRAMES) for i in range(FRAMES)]
        ends = [start + Fraction(1, RATE) for start in starts]
        return ClipInfoList(starts, ends, [0] * FRAMES, [0] * FRAMES, [i == FRAMES - 1 for i in range(FRAMES)])


def stack_windows(sample: dict) -> dict:
    return {"video": torch.cat([clip[:, :1] for clip in sample["video"]], 1), "label": sample["label"]}


def keep_video(sample: dict) -> dict:
    return {"video": sample["video"], "label": sample["label"]}


def cases() -> dict[str, tuple[ClipSampler, Callable, bool, int]]:
    """Sampler, transform, whether the decoder is ours, entries."""
    from pytorchvideo.transforms import ApplyTransformToKey, UniformTemporalSubsample  # importable by now, with ours

    subsample = ApplyTransformToKey("video", UniformTemporalSubsample(FRAMES))
    return {
        "ours": (SegmentClipSampler(FRAMES), keep_video, True, ENTRIES),
        "snap": (SegmentClipSampler(FRAMES, snap="keyframe"), keep_video, True, ENTRIES),
        "whole": (make_clip_sampler("constant_clips_per_video", SECONDS, 1), subsample, False, WHOLE_ENTRIES),
        "window": (make_clip_sampler("random", 2), subsample, False, ENTRIES),
        "windows": (SegmentWindows(0), stack_windows, False, ENTRIES),
    }


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for kind, shot_seconds in KINDS.items():
        paths = [str(generated_clip(SECONDS, SIZE, number, shot_seconds)) for number in range(1, VIDEOS + 1)]
        taken = {name: [] for name in cases()}
        for _ in range(ROUNDS):
            for name, case in cases().items():
                taken[name].append(run(paths, *case))
        rows += [row(kind, name, times, cases()[name][3], taken) for name, times in taken.items()]
    names = ("torch", "av", "pytorchvideo", "numpy")
    versions = {"python": platform.python_version(), "cores": os.cpu_count()} | {name: version(name) for name in names}
    Path(__file__).with_suffix(".json").write_text(json.dumps({"versions": versions, "rows": rows}, indent=1))


def run(
    paths: list[str], sampler: ClipSampler, transform: Callable, is_ours: bool, entries: int
) -> tuple[float, float]:
    """CPU and wall seconds for each clip."""
    listed = [(paths[number % len(paths)], {"label": number}) for number in range(entries)]
    dataset = LabeledVideoDataset(listed, sampler, SequentialSampler, transform, decode_audio=False)
    if is_ours:
        dataset.video_path_handler = SparseVideoPathHandler()
    started, wall = cpu_seconds(), time.perf_counter()
    count = sum(len(batch["label"]) for batch in DataLoader(dataset, batch_size=8, num_workers=WORKERS))
    if count != entries:
        raise RuntimeError(f"{count} clips came of {entries}")
    return (cpu_seconds() - started) / entries, (time.perf_counter() - wall) / entries


def cpu_seconds() -> float:
    """Of this process and of the workers that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in used)


def row(kind: str, name: str, times: list[tuple[float, float]], entries: int, taken: dict) -> dict:
    cpu = statistics.median(cpu for cpu, _ in times)
    spread = (min(cpu for cpu, _ in times), max(cpu for cpu, _ in times))
    ours = {which: statistics.median(cpu for cpu, _ in taken[which]) for which in ("ours", "snap")}
    rate = 1 / statistics.median(wall for _, wall in times)
    print(
        f"{kind:9} {name:8} {cpu * 1e3:7.1f} CPU ms a clip ({spread[0] * 1e3:.1f} to {spread[1] * 1e3:.1f}), "
        f"{rate:6.1f} clips/s; {cpu / ours['ours']:5.2f} of ours, {cpu / ours['snap']:5.2f} of snap",
        flush=True,
    )
    return {
        "kind": kind,
        "case": name,
        "entries": entries,
        "cpu_seconds": cpu,
        "spread": spread,
        "clips_per_second": rate,
    }


if __name__ == "__main__":
    main()
