"""What does a prediction with each frame of a stream cost, against running the model on the window again?

`recompute`: the newest frame is transformed, and the whole model runs on the last N. `update`: ours, which keeps what
the 2-D network made of each frame. `update, 3-D whole`: ours for ECO without its sliding 3-D network, which computes
only what is new in a window; both are `memory="window"`. Full-size models with random weights, frames of 340x256, 224
pixels, one thread, the sides in turns; CPU seconds, medians and extremes of the rounds. Then: images through the 2-D
network, counted; and a stream of 20,000 small frames, whose memory is looked at after 1,000 and at the end. Prints
tables and writes online.json.
"""

import dataclasses
import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

import pv_sparse as pvs
from pv_sparse.online import OnlineRecognizer, step
from pv_sparse.online.heads import WholeHead

CLASSES, ROUNDS = 400, 5
MODELS: dict[str, tuple[Callable[[], nn.Module], float]] = {  # and the share of `recompute` that is wanted
    "TSN 8, ResNet-50": (lambda: pvs.create_tsn(num_classes=CLASSES), 0.25),
    "TRN 8, BN-Inception": (lambda: pvs.create_trn(num_classes=CLASSES, backbone="bn_inception"), 0.25),
    "ECO-Lite 16": (lambda: pvs.create_eco_lite(num_classes=CLASSES), 0.8),
    "ECO 16": (lambda: pvs.create_eco(num_classes=CLASSES), 0.8),
}
STREAM, EARLY = 20_000, 1_000
MOST_MEGABYTES, MOST_OBJECTS = 8, 1_000  # that a stream may leave behind between the two
STREAMS = {  # of small models
    "TSN 8, window": (lambda: pvs.create_tsn(num_classes=5, backbone="tiny"), "window"),
    "ECO-Lite 8, window": (
        lambda: pvs.create_eco_lite(num_classes=5, backbone="tiny", num_segments=8, width=0.0625),
        "window",
    ),
    "ECO 16, paper": (lambda: pvs.create_eco(num_classes=5, backbone="tiny", width=0.0625), "paper"),
}


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    memory = [stream(name) for name in STREAMS]  # first, while nothing else has used memory
    rows = [row for name in MODELS for row in compare(name)]
    result = {"versions": versions(), "rounds": ROUNDS, "rows": rows, "streams": memory}
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1))


def compare(name: str) -> list[dict]:
    """All sides of one model, fed the same frames."""
    build, wanted = MODELS[name]
    model = lively(build())
    online = OnlineRecognizer(model, memory="window")
    count = Count(model, online)
    sides = {"recompute": Recompute(model, online), "update": online.update}
    if not isinstance(online.network.head, WholeHead):
        sides["update, 3-D whole"] = Whole(model, online).update
    for _ in range(online.network.memory.num_frames + 2):  # the last two fill the caches of the slices
        frame = picture()
        for side in sides.values():
            side(frame)
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    passes = dict.fromkeys(sides, 0)
    moved = dict.fromkeys(sides, 0.0)
    for _ in range(ROUNDS):
        frame, logits = picture(), {}
        for side, run in sides.items():
            count.images = 0
            start = time.process_time()
            logits[side] = run(frame).logits
            seconds[side].append(time.process_time() - start)
            passes[side] += count.images
        spread = logits["recompute"].std()
        for side, found in logits.items():
            moved[side] = max(moved[side], float((found - logits["recompute"]).abs().max() / spread))
    return [row(name, side, seconds, passes[side] / ROUNDS, moved[side], wanted) for side in sides]


class Recompute:
    """The plain way: the last N images, and the whole model on them."""

    def __init__(self, model: nn.Module, online: OnlineRecognizer):
        self.model, self.network, self.images = model, online.network, []

    @torch.inference_mode()
    def __call__(self, frame: Tensor) -> object:
        self.images = [*self.images, self.network.transform(frame[:, None])][-self.network.memory.num_frames :]
        is_full = len(self.images) == self.network.memory.num_frames
        return Answer(self.model(torch.cat(self.images, dim=1)[None])[0]) if is_full else None


@dataclasses.dataclass
class Answer:
    logits: Tensor


class Whole:
    """Ours, with the model's head as it is."""

    def __init__(self, model: nn.Module, online: OnlineRecognizer):
        self.network = dataclasses.replace(online.network, head=WholeHead(model.head))
        self.state = online.state

    def update(self, frame: Tensor) -> object:
        self.state, prediction = step(self.network, self.state, frame)
        return prediction


class Count:
    """Images that went through the model's backbone, or the recogniser's, which may be a copy."""

    def __init__(self, model: nn.Module, online: OnlineRecognizer):
        self.images = 0
        for backbone in {model.backbone, online.network.backbone}:
            backbone.register_forward_hook(self.add)

    def add(self, module: nn.Module, images: tuple[Tensor, ...], maps: object) -> None:
        self.images += len(images[0])


def row(name: str, side: str, seconds: dict, passes: float, moved: float, wanted: float) -> dict:
    medians = {each: statistics.median(times) for each, times in seconds.items()}
    share = medians[side] / medians["recompute"]
    times = {"median": medians[side], "least": min(seconds[side]), "most": max(seconds[side])}
    told = f"{times['median'] * 1e3:7.0f} ms  ({times['least'] * 1e3:.0f} to {times['most'] * 1e3:.0f})"
    is_missed = side != "recompute" and share > wanted
    aim = "" if side == "recompute" else f", at most {wanted} wanted{': missed' if is_missed else ''}"
    print(f"{name:20} {side:18} {told:26} {share:5.2f} of recompute{aim}; ", end="")
    print(f"{passes:g} images through the 2-D network; logits within {moved:.1e} of their deviation", flush=True)
    if side != "recompute" and (passes != 1 or moved > 1e-5):
        raise RuntimeError(f"{name}, {side}: {passes} images, logits moved by {moved}")
    found = {"model": name, "side": side, "seconds": times, "share": share, "images": passes, "moved": moved}
    return found if side == "recompute" else {**found, "wanted": wanted, "verdict": "missed" if is_missed else "met"}


def stream(name: str) -> dict:
    """What 20,000 frames leave behind."""
    build, memory = STREAMS[name]
    model = lively(build())
    online = OnlineRecognizer(model, memory=memory, transform=pvs.EvaluationTransform(32, 32))
    count = Count(model, online)
    frames = [picture((32, 32)) for _ in range(64)]
    marks, start = {}, time.process_time()
    for number in range(STREAM):
        online.update(frames[number % len(frames)])
        if number + 1 in (EARLY, STREAM):
            marks[number + 1] = resident()
    milliseconds = (time.process_time() - start) / STREAM * 1e3
    (early, objects_early), (late, objects_late) = marks[EARLY], marks[STREAM]
    passes = count.images / STREAM
    print(f"{name:20} {STREAM} frames, {milliseconds:.1f} ms and {passes:.2f} images of the 2-D network each; ", end="")
    print(f"after {EARLY} {early:.1f} MB and {objects_early} objects, at the end {late:.1f} MB and {objects_late}")
    if late - early > MOST_MEGABYTES or objects_late - objects_early > MOST_OBJECTS:
        raise RuntimeError(f"{name}: it grew by {late - early:.1f} MB and {objects_late - objects_early} objects")
    return {
        "stream": name,
        "images_a_frame": passes,
        "megabytes": {"early": early, "late": late},
        "objects": {"early": objects_early, "late": objects_late},
    }


def resident() -> tuple[float, int]:
    """Megabytes of this process, and its Python objects."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(gc.get_objects())


def lively(model: nn.Module) -> nn.Module:
    """With statistics and weights in its BNs that are not those of a new one, and classes that differ."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.5)
            nn.init.normal_(module.weight, mean=1, std=0.1)
            nn.init.normal_(module.bias, std=0.1)
    return model.eval()


def picture(size: tuple[int, int] = (256, 340)) -> Tensor:
    return torch.randint(0, 256, (3, *size), dtype=torch.uint8)


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "pv_sparse": pvs.__version__, "cores": str(os.cpu_count())}
    found["units"] = torch.backends.cpu.get_cpu_capability()
    return found | {name: version(name) for name in ("torch", "torchvision")}


if __name__ == "__main__":
    main()
