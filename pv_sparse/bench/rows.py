"""What weights cost on a video: the model alone, decoding alone, and both together."""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, cast

from torch import Tensor

from pv_sparse.bench.columns import Cell, columns
from pv_sparse.bench.sides import OPTIMIZED, PLAIN, Measured, measure_sides
from pv_sparse.bench.timing import Work, needed_warm_ups
from pv_sparse.inference import Optimization, optimize
from pv_sparse.recognition import Recognizer

COLUMNS = ("", "videos", "frames", "rounds", "p50 ms", "p99 ms", "CPU ms", "videos/s", "frames/s")
MODEL, DECODE, END_TO_END = "model", "decode", "end to end"


@dataclass(frozen=True)
class Row:
    """One thing measured.

    Attributes:
        what: `model`: the network alone, its input on its device; `decode`: open, sample, decode; `end to end`: look,
            transform, model, scores.
        weights: their name.
        device: where the model runs; of `decode`, "cpu".
        optimized: whether the model is the one that `pv_sparse.optimize` made; False of `decode`.
        batch_size: videos of a run.
        frames: read of each video.
        rounds: measured runs.
        warm_ups: runs before them, which do not count.
        p50_ms, p99_ms: wall milliseconds of a run, percentiles in proportion between neighbours.
        cpu_ms: milliseconds that the CPUs worked in a run, all threads together, the mean.
        videos_per_second, frames_per_second: over all rounds.
        peak_memory_mib: the most that tensors held on a CUDA device in one more run after the rounds, both models
            and the batch of `model` included; None elsewhere.
    """

    what: str
    weights: str
    device: str
    optimized: bool
    batch_size: int
    frames: int
    rounds: int
    warm_ups: int
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    videos_per_second: float
    frames_per_second: float
    peak_memory_mib: float | None


class Stage(NamedTuple):
    """What a row or two are about: where it runs, videos of a run, and the work of each side."""

    what: str
    device: str
    batch_size: int
    works: Mapping[str, Work]


def measure_weights(
    recognizer: Recognizer,
    path: str,
    batch_size: int = 1,
    rounds: int = 20,
    precision: str = "float32",
    compiled: bool = False,
    tell: Callable[[str], object] = lambda _: None,
) -> tuple[list[Row], Optimization]:
    """The rows of a recogniser for the video at `path`, and what `optimize` did to its model.

    They are `model`, plain and optimised in turns, `decode`, and `end to end`, plain and optimised in turns.

    Args:
        recognizer: with a plain model.
        path: of a video, which is in the system's cache when the rounds begin.
        batch_size: videos that `model` is shown at a time, copies of the one; the others take one.
        rounds: measured runs of each.
        precision, compiled: of the optimised model; the plain one is as it is.
        tell: hears what is measured next.

    Raises:
        ValueError: a precision that the device does not have.
        PvSparseError: a compilation without a compiler.
    """
    name, viewer = recognizer.weights.name, recognizer.viewer
    look = viewer.look(path)
    clip = viewer.clip(look)  # (C, T, H, W)
    videos = clip.expand(batch_size, *clip.shape).contiguous().to(recognizer.device)
    tell(f"{name}: optimize")
    optimized = copy.copy(recognizer)
    optimized.model = optimize(recognizer.model, precision, compiled, videos)
    rows = []
    for stage in _stages({PLAIN: recognizer, OPTIMIZED: optimized}, path, videos):
        tell(f"{name}: {stage.what}")
        found = measure_sides(stage.works, stage.device, rounds, needed_warm_ups(recognizer.device, compiled))
        rows += [_row(stage, name, side, len(look.frames), measured) for side, measured in found.items()]
    return rows, cast(Optimization, optimized.model.optimization)


def _stages(sides: Mapping[str, Recognizer], path: str, videos: Tensor) -> list[Stage]:
    plain = sides[PLAIN]
    models = {side: partial(own.model, videos) for side, own in sides.items()}
    wholes = {side: partial(_end_to_end, own, path) for side, own in sides.items()}
    return [
        Stage(MODEL, plain.device, len(videos), models),
        Stage(DECODE, "cpu", 1, {PLAIN: partial(plain.viewer.look, path)}),
        Stage(END_TO_END, plain.device, 1, wholes),
    ]


def _end_to_end(recognizer: Recognizer, path: str) -> object:
    return recognizer.scores_of(recognizer.viewer.clip(recognizer.viewer.look(path))[None])


def _row(stage: Stage, weights: str, side: str, frames: int, measured: Measured) -> Row:
    timing = measured.timing
    return Row(
        what=stage.what,
        weights=weights,
        device=stage.device,
        optimized=side == OPTIMIZED,
        batch_size=stage.batch_size,
        frames=frames,
        rounds=timing.rounds,
        warm_ups=timing.warm_ups,
        p50_ms=timing.percentile_ms(50),
        p99_ms=timing.percentile_ms(99),
        cpu_ms=timing.cpu_ms,
        videos_per_second=timing.per_second(stage.batch_size),
        frames_per_second=timing.per_second(stage.batch_size * frames),
        peak_memory_mib=measured.peak_memory_mib,
    )


def rows_table(rows: Iterable[Row]) -> list[str]:
    """For people; with the memory of a GPU where there is one."""
    rows = list(rows)
    if all(row.peak_memory_mib is None for row in rows):
        return columns(COLUMNS, [_cells(row) for row in rows])
    return columns([*COLUMNS, "GPU MiB"], [[*_cells(row), row.peak_memory_mib] for row in rows])


def _cells(row: Row) -> list[Cell]:
    what = f"{row.what}, optimized" if row.optimized else row.what
    own: list[Cell] = [what, row.batch_size, row.frames, row.rounds, row.p50_ms, row.p99_ms]
    return [*own, row.cpu_ms, row.videos_per_second, row.frames_per_second]
