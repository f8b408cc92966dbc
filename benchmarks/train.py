"""What does a training step cost, and how much of it is waiting for data?

The same network, SGD step and batch of 2 clips, a `DataLoader` with 2 workers, generated videos of 30 s and 340x256
(one shot, x264's defaults). `ours`: `SparseVideoDataset`, `SegmentClipSampler(8, rule="random")` and our transform for
training. `whole`: PyTorchVideo's way to eight frames of the whole video: its `LabeledVideoDataset` on the pyav decoder,
one clip as long as the video, `UniformTemporalSubsample(8)`, and the transform of its tutorial. `window`: the same with
the tutorial's random window of 2 s, which sees a fifteenth of the video.

TSN on `tiny`, where decoding dominates, and on EfficientNet-Lite0; one thread computes. In turns; medians and extremes
of the rounds, each from starting the workers to their end. `data`: seconds a step waits for its batch, `compute`: the
rest. Prints a table and writes train.json. `--quick` takes `tiny` alone, once.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path

import torch
from clips import generated_clip
from loader import SECONDS, SIZE, VIDEOS, WORKERS, cpu_seconds
from pytorchvideo.data import LabeledVideoDataset
from pytorchvideo.data.clip_sampling import ClipSampler, make_clip_sampler
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torchvision.transforms import Compose, Lambda, RandomCrop, RandomHorizontalFlip

import pv_sparse as pvs

FRAMES, BATCH, CROP, CLASSES = 8, 2, 224, 400
ROUNDS = {"tiny": 3, "efficientnet_lite0": 2}
ENTRIES = {"ours": 16, "whole": 8, "window": 16}  # fewer of what takes long, as many batches for either worker
MEAN, STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
WANTED = 3.0  # times the clips a second of `whole`, where decoding dominates: on `tiny`


@dataclass(frozen=True)
class Run:
    """Seconds of one round."""

    data: float  # a step
    compute: float  # a step
    wall: float  # a clip
    cpu: float  # a clip, of all processes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smaller network alone, one round")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    paths = [str(generated_clip(SECONDS, SIZE, number)) for number in range(1, VIDEOS + 1)]
    rows = []
    for network, rounds in {"tiny": 1}.items() if quick else ROUNDS.items():
        runs: dict[str, list[Run]] = {side: [] for side in ENTRIES}
        for _ in range(rounds):
            for side, taken in runs.items():
                taken.append(train(network, dataset(side, entries(paths, ENTRIES[side])), side))
        rows += [row(network, side, runs) for side in runs]
    claims = {r["network"]: r["times_ours"] for r in rows if r["side"] == "whole"}
    for network, ratios in claims.items():
        print(f"{network}: {ratios['wall']:.1f} times the clips a second of `whole`, by CPU time {ratios['cpu']:.1f}")
    result = {"versions": versions(), "wanted": WANTED, "claims": claims, "rows": rows}
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1))


def entries(paths: list[str], count: int) -> list[tuple[str, dict]]:
    """The paths in turns."""
    return [(paths[number % len(paths)], {"label": number % CLASSES}) for number in range(count)]


def dataset(side: str, listed: list[tuple[str, dict]]) -> Dataset | IterableDataset:
    if side == "ours":
        sampler = pvs.SegmentClipSampler(FRAMES, rule="random")
        return pvs.SparseVideoDataset(listed, sampler, pvs.create_sparse_video_transform("train"))
    whole = make_clip_sampler("constant_clips_per_video", SECONDS, 1)
    return stock(listed, whole if side == "whole" else make_clip_sampler("random", 2))


def stock(listed: list[tuple[str, dict]], sampler: ClipSampler) -> LabeledVideoDataset:
    """With the training transform of PyTorchVideo's tutorial on classification."""
    return LabeledVideoDataset(listed, sampler, transform=stock_transform(), decode_audio=False, decoder="pyav")


def stock_transform() -> Callable[[dict], dict]:
    from pytorchvideo.transforms import (  # importable by now, with ours
        ApplyTransformToKey,
        Normalize,
        RandomShortSideScale,
        UniformTemporalSubsample,
    )

    steps = [UniformTemporalSubsample(FRAMES), Lambda(lambda clip: clip / 255.0), Normalize(MEAN, STD)]
    steps += [RandomShortSideScale(min_size=256, max_size=320), RandomCrop(CROP), RandomHorizontalFlip(p=0.5)]
    return ApplyTransformToKey("video", Compose(steps))


def train(network: str, data: Dataset | IterableDataset, side: str) -> Run:
    torch.manual_seed(0)
    model = pvs.create_tsn(num_classes=CLASSES, backbone=network).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    shuffle = None if isinstance(data, IterableDataset) else True  # the host's shuffles by itself
    waited, computed, clips = [], [], 0
    cpu, started = cpu_seconds(), time.perf_counter()
    batches = iter(DataLoader(data, BATCH, shuffle=shuffle, num_workers=WORKERS))
    mark = started
    while (batch := next(batches, None)) is not None:
        waited.append(time.perf_counter() - mark)
        step(model, optimizer, batch)
        mark = time.perf_counter()
        computed.append(mark - started - sum(waited) - sum(computed))
        clips += len(batch["label"])
    if clips != ENTRIES[side]:
        raise RuntimeError(f"{clips} clips came of {ENTRIES[side]}")
    del batches  # its workers have ended, and count
    wall = time.perf_counter() - started
    return Run(statistics.fmean(waited), statistics.fmean(computed), wall / clips, (cpu_seconds() - cpu) / clips)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: dict) -> None:
    if batch["video"].shape[1:] != (3, FRAMES, CROP, CROP):
        raise RuntimeError(f"clips of {tuple(batch['video'].shape)} came")
    loss = nn.functional.cross_entropy(model(batch["video"]), batch["label"])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def row(network: str, side: str, runs: dict[str, list[Run]]) -> dict:
    names = [field.name for field in fields(Run)]
    found = {name: summary([getattr(run, name) for run in runs[side]]) for name in names}
    ours = {name: statistics.median(getattr(run, name) for run in runs["ours"]) for name in ("wall", "cpu")}
    ratios = {name: found[name]["median"] / ours[name] for name in ours}
    data, compute, wall = (found[name]["median"] for name in ("data", "compute", "wall"))
    cells = [f"{network:18} {side:6} a step {data:5.2f} s data, {compute:5.2f} s compute", f"{1 / wall:5.2f} clips/s"]
    cells += [told(name, found[name], ratios[name]) for name in ours]
    print(*cells, sep="; ", flush=True)
    return {"network": network, "side": side, "clips": ENTRIES[side], **found, "times_ours": ratios}


def told(name: str, seconds: dict[str, float], ratio: float) -> str:
    spread = f"{seconds['median']:.3f} ({seconds['least']:.3f} to {seconds['most']:.3f})"
    return f"{spread} s {name} a clip, {ratio:5.2f} of ours"


def summary(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def versions() -> dict[str, str]:
    names = ("torch", "torchvision", "av", "pytorchvideo", "numpy")
    found = {"python": platform.python_version(), "pv_sparse": pvs.__version__, "cores": str(os.cpu_count())}
    return found | {name: version(name) for name in names}


if __name__ == "__main__":
    main()
