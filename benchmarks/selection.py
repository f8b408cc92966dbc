"""What does it cost to choose frames, against looking at them, and what does it bring?

`cost`: a selector says what the frames of a video are worth (the file is opened, up to 64 cheap looks are decoded at
64x64 and scored), against one look with ResNet-50 (the file is opened, the middle frames of 8 segments are decoded,
scaled and cropped to 224, and go through TSN). `open` and `glance` are parts of `saliency`: opening alone, and opening
and decoding the looks, without the scorer. Generated h264 videos with a cut every 5 to 20 s and at most 250 frames from
a keyframe to the next, kept where those of clips.py are. Weights are random. One thread, decoder included; all sides in
turns, CPU seconds, medians and quartiles of the rounds, and of the ratios to the look of the same round. `chosen` is a
look at the 8 frames that `saliency` chooses, all of it, and `many` a look at 32 even ones.

`worth`: the zoo's small TSN and its scorer on 100 generated videos of 60 to 240 s: what 8 chosen frames say, and 8 and
32 even ones, and their CPU seconds from opening the file to the answer, in turns on each video.

`exit`: at what share of the cost of 16 segments the zoo's small models stop when they are sure.

`study`: what the rows of `study_selection` in a study's results.json say: accuracy, cost, and the aims.

Prints tables and writes selection.json; `--only` one part replaces that part there.
"""

import argparse
import json
import os
import platform
import statistics
import time
from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from clips import RATE, SIZES, kept, scene
from selection_study import CPU_SHARE, SELECTED, study, told_verdict, verdict
from selection_worth import exits, worth
from torch import Tensor, nn

import pv_sparse as pvs
from pv_sparse.data.encoding import write_video
from pv_sparse.data.selection import NUM_LOOKS, glance_indices
from pv_sparse.data.selectors import LOOK_SIZE, Diverse, Motion, Saliency, glance
from pv_sparse.models.selection import LookScorer

SECONDS, SHOTS, KEYFRAMES, SEGMENTS, MANY, ROUNDS = (60, 240), (5.0, 20.0), 250, 8, 32, 7
AIMED_SIZE, LARGEST_SHARE = (340, 256), 0.25  # of the look
STUDY = Path(__file__).parents[1] / "docs" / "study"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("cost", "worth", "exit", "study"), help="one part")
    parser.add_argument("--study", type=Path, default=STUDY, metavar="DIR", help="of results.json, or the file itself")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    path = Path(__file__).with_suffix(".json")
    parts = {"cost": cost, "worth": worth, "exit": exits, "study": partial(study, options.study)}
    for name, part in parts.items():
        if options.only in (None, name):
            print(f"\n{name}", flush=True)
            before = json.loads(path.read_text()) if path.exists() else {}
            path.write_text(json.dumps(before | {name: part()}, indent=1) + "\n")


@torch.inference_mode()
def cost() -> dict:
    model = randomised(pvs.create_tsn(num_classes=400, backbone="resnet50"))
    transform, scorer = pvs.EvaluationTransform(), LookScorer().eval()
    sides = {
        "look": partial(look, model, transform),
        "many": partial(look, model, transform, count=MANY),
        "chosen": partial(look, model, transform, selector=Saliency(scorer)),
        "saliency": partial(weigh, Saliency(scorer)),
        "diverse": partial(weigh, Diverse()),
        "motion": partial(weigh, Motion()),
        "open": lambda path: opened(path).close(),
        "glance": only_glance,
    }
    rows = [row for size in SIZES for seconds in SECONDS for row in compare(seconds, size, sides)]
    print("all are decoded at full size: FFmpeg can decode h264 in no other (lowres, as of mpeg4, is not for it)")
    return {"versions": versions(), "rounds": ROUNDS, "rows": rows}


def compare(seconds: int, size: tuple[int, int], sides: dict[str, Callable[[Path], object]]) -> list[dict]:
    """A row for each side, of one video."""
    path = film(seconds, size)
    found = {"video": f"{size[0]}x{size[1]}, {seconds} s", **looks_of(path)}
    print("{video}: {looks} looks, {keyframes} keyframes, {reached} frames from these to the looks".format(**found))
    taken: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(ROUNDS + 1):
        for side, run in sides.items():
            started = time.process_time()
            run(path)
            if number:  # the first is not counted
                taken[side].append(time.process_time() - started)
    shares = [chosen / many for chosen, many in zip(taken["chosen"], taken["many"], strict=True)]
    told = verdict(statistics.median(shares) <= CPU_SHARE, f"at most {CPU_SHARE}")
    print(f"  chosen {SEGMENTS} of many {MANY}: {statistics.median(shares):.3f}{told_verdict(told)}")
    rows = [found | cost_row(side, taken, size == AIMED_SIZE) for side in sides]
    return [*rows, found | {"side": "chosen of many", "share": quartiles(shares), **told}]


def cost_row(side: str, taken: dict[str, list[float]], is_aimed: bool) -> dict:
    seconds, shares = taken[side], [own / whole for own, whole in zip(taken[side], taken["look"], strict=True)]
    row = {"side": side, "seconds": quartiles(seconds), "share": quartiles(shares)}
    if is_aimed and side in SELECTED:
        row |= verdict(row["share"]["median"] <= LARGEST_SHARE, f"at most {LARGEST_SHARE}")
    first, median, third = (1e3 * value for value in row["seconds"].values())
    low, share, high = row["share"].values()
    print(f"  {side:9} {median:7.1f} ms ({first:.1f} to {third:.1f}), ", end="")
    print(f"{share:.3f} of the look ({low:.3f} to {high:.3f}){told_verdict(row)}", flush=True)
    return row


def opened(path: Path) -> pvs.SparseVideo:
    return pvs.SparseVideo(path, threads=1)


def look(
    model: nn.Module, transform: nn.Module, path: Path, count: int = SEGMENTS, selector: Saliency | None = None
) -> Tensor:
    with opened(path) as video:
        weights = selector.weights(video, count) if selector else None
        frames = video.frames_at(pvs.segment_indices(video.num_frames, count, weights=weights))
    return model(transform(frames.transpose(0, 1))[None])


def weigh(selector: Saliency | Diverse | Motion, path: Path) -> object:
    with opened(path) as video:
        return selector.weights(video, SEGMENTS)


def only_glance(path: Path) -> object:
    with opened(path) as video:
        return glance(video, NUM_LOOKS, LOOK_SIZE)


def looks_of(path: Path) -> dict[str, int]:
    """How many looks there are, keyframes, and frames from a keyframe on to the last look before the next keyframe."""
    with opened(path) as video:
        looks, keyframes = glance_indices(video.num_frames, video.packets).tolist(), video.keyframes
    starts = [keyframes[bisect_right(keyframes, each) - 1] for each in looks]
    last = dict(zip(starts, looks, strict=True))
    reached = sum(each - start + 1 for start, each in last.items())
    return {"looks": len(looks), "keyframes": len(keyframes), "reached": reached}


def film(seconds: int, size: tuple[int, int]) -> Path:
    """The video of this length and (width, height), made where it is missing."""
    path = kept() / f"selection_{size[0]}x{size[1]}_{seconds}s.mp4"
    if not path.exists():
        print(f"making {path.name}", flush=True)
        write_video(path, scene(seconds * RATE, size, 0, SHOTS), RATE, KEYFRAMES)
    return path


def randomised(model: nn.Module) -> nn.Module:
    """With statistics of batch norms that are not those of an untrained network."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def quartiles(values: list[float]) -> dict[str, float]:
    return dict(zip(("first", "median", "third"), statistics.quantiles(values, n=4), strict=True))


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "pv_sparse": pvs.__version__, "cores": str(os.cpu_count())}
    found["units"] = torch.backends.cpu.get_cpu_capability()
    return found | {name: version(name) for name in ("torch", "torchvision", "av", "numpy")}


if __name__ == "__main__":
    main()
