"""How much of a GPU does training keep busy, and how much of it waits for data?

TSN with ResNet-50, 8 frames of 224x224, batches of 16 clips, SGD in bfloat16 mixed precision, on one GPU; a
`DataLoader` with a worker for each core but two. Sides as in train.py: `ours`, and PyTorchVideo's random
`window` of 2 s; `no data` repeats one batch that is on the GPU: the most that can be. The `whole` clip is left out:
with 16 cores PyTorchVideo's decoder failed at it ("Resource temporarily unavailable").

Wall seconds from starting the workers to the last step; sides in turns, medians and extremes of the rounds. Prints a
table and writes train_gpu.json.
"""

import json
import os
import statistics
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from clips import generated_clip
from loader import SECONDS, SIZE, VIDEOS, cpu_seconds
from torch import nn
from torch.utils.data import DataLoader, IterableDataset
from train import CLASSES, CROP, FRAMES, dataset, entries, summary, versions

import pv_sparse as pvs

BATCH, ROUNDS = 16, 2
WORKERS = max(1, (os.cpu_count() or 1) - 2)
# In batches: enough that every worker has some in each round.
BATCHES = {"no data": 60, "ours": 4 * WORKERS, "window": 3 * WORKERS}


def main() -> None:
    if not torch.cuda.is_available():
        raise SystemExit("needs a GPU that torch sees")
    torch.backends.cudnn.benchmark = True
    paths = [str(generated_clip(SECONDS, SIZE, number)) for number in range(1, VIDEOS + 1)]
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in BATCHES}
    for _ in range(ROUNDS):
        for side, taken in runs.items():
            taken.append(train(batches(side, paths), BATCHES[side] * BATCH))
            print(side, taken[-1], flush=True)
    rows = [row(side, taken, runs["window"]) for side, taken in runs.items()]
    about = {"gpu": torch.cuda.get_device_name(), "workers": WORKERS, "batch": BATCH, **versions()}
    Path(__file__).with_suffix(".json").write_text(json.dumps({"versions": about, "rows": rows}, indent=1) + "\n")


def batches(side: str, paths: list[str]) -> Iterable[dict]:
    if side == "no data":
        return [one_batch()] * BATCHES[side]
    data = dataset(side, entries(paths, BATCHES[side] * BATCH))
    shuffle = None if isinstance(data, IterableDataset) else True  # the host's shuffles by itself
    return DataLoader(data, BATCH, shuffle=shuffle, num_workers=WORKERS, pin_memory=True, drop_last=True)


def one_batch() -> dict:
    video = torch.randn(BATCH, 3, FRAMES, CROP, CROP, device="cuda")
    return {"video": video, "label": torch.zeros(BATCH, dtype=torch.int64, device="cuda")}


def train(data: Iterable[dict], clips: int) -> dict[str, float]:
    """Clips a second, the share of the time that steps wait for batches, and CPU seconds a clip."""
    torch.manual_seed(0)
    model = pvs.create_tsn(num_classes=CLASSES, backbone="resnet50").cuda().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.train().parameters(), lr=0.01, momentum=0.9)
    for _ in range(3):  # what happens once is no part of it
        step(model, optimizer, one_batch())
    torch.cuda.synchronize()
    seen, waited, cpu, started = 0, 0.0, cpu_seconds(), time.perf_counter()
    mark = started
    for batch in data:
        waited += time.perf_counter() - mark
        seen += step(model, optimizer, batch)
        torch.cuda.synchronize()
        mark = time.perf_counter()
    wall = time.perf_counter() - started
    if seen < clips // 2:
        raise RuntimeError(f"{seen} clips came of {clips}")
    return {"clips_per_second": seen / wall, "waiting": waited / wall, "cpu_seconds": (cpu_seconds() - cpu) / seen}


def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: dict) -> int:
    """How many clips it took."""
    video, label = batch["video"].cuda(non_blocking=True), batch["label"].cuda(non_blocking=True)
    with torch.autocast("cuda", torch.bfloat16):
        loss = nn.functional.cross_entropy(model(video), label)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return len(label)


def row(side: str, taken: list[dict[str, float]], window: list[dict[str, float]]) -> dict:
    found = {name: summary([each[name] for each in taken]) for name in taken[0]}
    other = statistics.median(each["clips_per_second"] for each in window)
    clips, waiting, cpu = (found[name] for name in ("clips_per_second", "waiting", "cpu_seconds"))
    ratio = clips["median"] / other
    spread = f"({clips['least']:.1f} to {clips['most']:.1f})"
    print(
        f"{side:7} {clips['median']:7.1f} clips/s {spread}, {ratio:.1f} of window; "
        f"waits {waiting['median']:.0%} of the time; {cpu['median']:.3f} CPU s a clip"
    )
    return {"side": side, "clips": BATCHES[side] * BATCH, **found, "times_window": ratio}


if __name__ == "__main__":
    main()
