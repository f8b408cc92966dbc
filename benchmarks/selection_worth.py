"""The zoo's small models: what chosen frames bring in long videos, and where looking stops. Called by selection.py."""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from clips import kept
from selection_study import CPU_SHARE, FEWER_POINTS, MORE_POINTS, told_verdict, verdict

import pv_sparse as pvs
from pv_sparse.bench.early_exit_report import measure_early_exit
from pv_sparse.data.annotations import VideoList
from pv_sparse.looking import Viewer
from pv_sparse.recognition import Recognizer
from pv_sparse.study.generated import appearance20, order20, untrimmed_appearance
from pv_sparse.zoo.weights import Weights

NAME, VIDEOS, FEW, MANY, FEWER_LOOKS = "tsn_tiny.appearance20", 100, 8, 32, 32
CONFIDENCE, LARGEST_SHARE = 0.9, 0.6
# What they were trained on, how many held-out videos, and whether the aim is for them: TSN and TRN that can be sure.
EXITS = {
    "tsn_tiny.appearance20": (appearance20, 300, True),
    "trn_tiny.order20": (order20, 400, True),
    "eco_lite_tiny.order20": (order20, 400, False),
    "tsn_tiny.order20": (order20, 400, False),
}


def worth() -> dict:
    """Every side sees a video before the next video comes; they take turns at being first."""
    weights, videos = pvs.get_weights(NAME), made(untrimmed_appearance, VIDEOS)
    saliency = pvs.load_selector(NAME)
    sides = {
        f"even {FEW}": side(weights, FEW, None),
        f"even {MANY}": side(weights, MANY, None),
        f"saliency {FEW}": side(weights, FEW, saliency),
        f"saliency of {FEWER_LOOKS} looks {FEW}": side(weights, FEW, replace(saliency, num_looks=FEWER_LOOKS)),
    }
    right: dict[str, list[bool]] = {name: [] for name in sides}
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number, (path, info) in enumerate([videos.samples[0], *videos.samples]):
        for name in turned(list(sides), number):
            started = time.process_time()
            answer = sides[name](path)
            if number:  # the first is not counted
                taken[name].append(time.process_time() - started)
                right[name].append(answer == info["label"])
    return {"weights": NAME, "rows": [row(name, right, taken) for name in sides]}


def side(weights: Weights, num_segments: int, select: pvs.data.selectors.Saliency | None) -> Callable[[str], int]:
    own = replace(weights, sampling={"rule": "center", "num_segments": num_segments})
    viewer, recognizer = Viewer(own, threads=1, select=select), Recognizer(own, "cpu")
    return lambda path: int(recognizer.scores(viewer.look(path)).argmax())


def turned(names: list[str], number: int) -> list[str]:
    first = number % len(names)
    return names[first:] + names[:first]


def row(name: str, right: dict[str, list[bool]], taken: dict[str, list[float]]) -> dict:
    top1 = {own: 100 * statistics.fmean(told) for own, told in right.items()}
    of_many = [own / many for own, many in zip(taken[name], taken[f"even {MANY}"], strict=True)]
    share = sum(taken[name]) / sum(taken[f"even {MANY}"])
    low, median, high = statistics.quantiles(of_many, n=4)
    found = {"side": name, "top1": top1[name], "cpu_ms": 1e3 * statistics.fmean(taken[name]), "of_many": share}
    found |= {"of_many_quartiles": [low, median, high]}
    print(f"  {name:24} top-1 {top1[name]:5.1f} %, {found['cpu_ms']:6.1f} CPU ms a video, ", end="")
    print(f"{share:.2f} of even {MANY} ({low:.2f} to {high:.2f})")
    if name.startswith("saliency"):
        told = {
            f"over even {FEW}": verdict(top1[name] - top1[f"even {FEW}"] >= MORE_POINTS, f"{MORE_POINTS:+} points"),
            f"over even {MANY}": verdict(top1[name] - top1[f"even {MANY}"] >= FEWER_POINTS, f"{FEWER_POINTS:+} points"),
            f"cost of even {MANY}": verdict(share <= CPU_SHARE, f"at most {CPU_SHARE}"),
        }
        print(*(f"    {what}{told_verdict(each)}" for what, each in told.items()), sep="\n", flush=True)
        found["aims"] = told
    return found


def exits() -> dict:
    """`pv-sparse bench --early-exit` of the zoo's small weights, on videos that they were not trained on."""
    return {"rows": [exit_row(name, make, count, is_aimed) for name, (make, count, is_aimed) in EXITS.items()]}


def exit_row(name: str, make: Callable[..., VideoList], count: int, is_aimed: bool) -> dict:
    videos = made(make, count)
    report = measure_early_exit(pvs.get_weights(name), str(Path(videos.samples[0][0]).parents[1]))
    (sure,) = (own for own in report.rows if own.confidence == CONFIDENCE)
    fixed = report.rows[-1]
    found = {"weights": name, "top1": 100 * sure.top1, "fixed_top1": 100 * fixed.top1, "segments": sure.mean_segments}
    found |= {"of_fixed": sure.ratio, "calibration_error": report.calibration.error_after}
    if is_aimed:
        is_met = sure.ratio <= LARGEST_SHARE and sure.top1 >= fixed.top1
        found |= verdict(is_met, f"at most {LARGEST_SHARE} at the same accuracy")
    print(
        f"  {name:24} stops at {CONFIDENCE}: top-1 {found['top1']:.1f} % of {report.calibration.num_held}, "
        f"{sure.mean_segments:.1f} segments, {sure.ratio:.2f} of fixed {report.max_segments}, which has "
        f"{found['fixed_top1']:.1f} %{told_verdict(found)}",
        flush=True,
    )
    return found


def made(make: Callable[..., VideoList], count: int) -> VideoList:
    """Held-out videos, where those of clips.py are kept."""
    return make(kept() / make.__name__, "val", count)
