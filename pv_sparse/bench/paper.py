"""The speed table of ECO's paper, measured again: the networks alone, of 4, 8, 16 and 32 frames."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from pv_sparse.bench.columns import Cell, columns
from pv_sparse.bench.published import CARDS, UNCHECKED, published, unchecked
from pv_sparse.bench.sides import OPTIMIZED, PLAIN, Measured, measure_sides
from pv_sparse.bench.timing import needed_warm_ups
from pv_sparse.inference import Optimization, optimize
from pv_sparse.models.eco import create_eco, create_eco_lite

KINETICS_CLASSES = 400
BUDGET_SECONDS = 6.0  # of a row


@dataclass(frozen=True)
class Side:
    """One network, plain or optimised, in one row; its figures mean what they do in `rows.Row`."""

    videos_per_second: float
    frames_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    rounds: int
    warm_ups: int
    peak_memory_mib: float | None


@dataclass(frozen=True)
class PaperRow:
    """One line of the paper's table.

    Attributes:
        network: `ECO` or `ECO-Lite`.
        frames: of a video.
        batch_size: videos of a run.
        plain: float32, as built.
        optimized: what `pv_sparse.inference.optimize` makes of it.
        published: videos a second by card; empty for a line that the paper does not have.
        unchecked: the cards whose figure is recalled, and confirmed by nobody.
    """

    network: str
    frames: int
    batch_size: int
    plain: Side
    optimized: Side
    published: Mapping[str, float]
    unchecked: tuple[str, ...]

    @property
    def speed_up(self) -> float:
        """How many times faster the optimised network is, by the medians of the wall clock."""
        return self.plain.p50_ms / self.optimized.p50_ms

    @property
    def cpu_speed_up(self) -> float:
        """The same by CPU time, which suffers less where the machine does other things too."""
        return self.plain.cpu_ms / self.optimized.cpu_ms


def paper_networks() -> dict[str, Callable[[], nn.Module]]:
    """By the paper's names: what builds the networks for Kinetics, which take any multiple of 4 frames."""
    return {
        "ECO": lambda: create_eco(num_classes=KINETICS_CLASSES),
        "ECO-Lite": lambda: create_eco_lite(num_classes=KINETICS_CLASSES),
    }


def measure_paper(
    networks: Mapping[str, Callable[[], nn.Module]],
    *,
    frames: Sequence[int] = (4, 8, 16, 32),
    size: int = 224,
    batch_size: int = 1,
    rounds: int = 20,
    budget_seconds: float = BUDGET_SECONDS,
    device: str = "cpu",
    precision: str = "float32",
    compiled: bool = False,
    tell: Callable[[str], object] = lambda _: None,
) -> tuple[list[PaperRow], dict[str, Optimization]]:
    """The rows, network by network, and by network what `optimize` did to it.

    Args:
        networks: what builds each; `paper_networks` at their own size.
        frames: of a video, a row each.
        size: pixels of a frame's sides.
        batch_size: videos of a run.
        rounds: measured runs of each side, plain and optimised in turns, after warm-ups; fewer where both would take
            longer than `budget_seconds` together, but never less than `timing.LEAST_ROUNDS`.
        device, precision, compiled: of the optimised side; the plain one is float32 on the same device.
        tell: hears what is measured next.

    Raises:
        ValueError: a precision that the device does not have.
        PvSparseError: a compilation without a compiler.
    """
    rows: list[PaperRow] = []
    done: dict[str, Optimization] = {}
    limits = rounds, needed_warm_ups(device, compiled), budget_seconds
    for network, build in networks.items():
        tell(f"{network}: optimize")
        sides = _sides(build, _videos(batch_size, min(frames), size), device, precision, compiled)
        done[network] = cast(Optimization, sides[OPTIMIZED].optimization)
        for count in frames:
            tell(f"{network}: {count} frames")
            rows.append(_row(network, sides, _videos(batch_size, count, size).to(device), device, limits))
        del sides  # the next network finds the memory free
    return rows, done


def _sides(
    build: Callable[[], nn.Module], videos: Tensor, device: str, precision: str, compiled: bool
) -> dict[str, nn.Module]:
    """Both on `device`; compared on `videos`, the shortest that are measured: others would take as long as a row."""
    plain = build().eval().to(device)
    return {PLAIN: plain, OPTIMIZED: optimize(plain, precision, compiled, videos.to(device))}


def _row(
    network: str, sides: Mapping[str, nn.Module], videos: Tensor, device: str, limits: tuple[int, int, float]
) -> PaperRow:
    batch_size, frames = len(videos), videos.shape[2]
    found = measure_sides({name: partial(model, videos) for name, model in sides.items()}, device, *limits)
    own = {name: _side(measured, batch_size, frames) for name, measured in found.items()}
    told = published(network, frames), unchecked(network, frames)
    return PaperRow(network, frames, batch_size, own[PLAIN], own[OPTIMIZED], *told)


def _videos(batch_size: int, frames: int, size: int) -> Tensor:
    """(N, 3, T, H, W) normal random numbers, about as normalised frames have them."""
    return torch.randn(batch_size, 3, frames, size, size, generator=torch.Generator().manual_seed(frames))


def _side(measured: Measured, batch_size: int, frames: int) -> Side:
    timing = measured.timing
    return Side(
        videos_per_second=timing.per_second(batch_size),
        frames_per_second=timing.per_second(batch_size * frames),
        p50_ms=timing.percentile_ms(50),
        p99_ms=timing.percentile_ms(99),
        cpu_ms=timing.cpu_ms,
        rounds=timing.rounds,
        warm_ups=timing.warm_ups,
        peak_memory_mib=measured.peak_memory_mib,
    )


def geometric_mean(ratios: Iterable[float]) -> float:
    logarithms = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logarithms) / len(logarithms))


def paper_table(rows: Iterable[PaperRow]) -> list[str]:
    """For people: both sides, how many times faster the optimised one is, rounds, and what was published.

    With a GPU its memory is shown, and the CPU's speed-up is left out.
    """
    rows = list(rows)
    has_gpu = any(row.plain.peak_memory_mib is not None for row in rows)
    measures = ["videos/s", "p50 ms", "CPU ms", *(["GPU MiB"] if has_gpu else [])]
    ratios = ["times", *([] if has_gpu else ["by CPU"])]
    header = ["", "frames", *(word for name in measures for word in (name, OPTIMIZED)), *ratios, "rounds"]
    # A blank stands for the mark of what is unchecked, so that the digits lie below each other.
    return columns([*header, *(f"{card} " for card in CARDS)], [_cells(row, has_gpu) for row in rows])


def _cells(row: PaperRow, has_gpu: bool) -> list[Cell]:
    cells: list[Cell] = [row.network, row.frames]
    for name in ("videos_per_second", "p50_ms", "cpu_ms", *(["peak_memory_mib"] if has_gpu else [])):
        cells += [getattr(row.plain, name), getattr(row.optimized, name)]
    ratios = [row.speed_up, *([] if has_gpu else [row.cpu_speed_up])]
    return [*cells, *ratios, row.plain.rounds, *(_published(row, card) for card in CARDS)]


def _published(row: PaperRow, card: str) -> str | None:
    if card not in row.published:
        return None
    return f"{row.published[card]:.1f}{UNCHECKED if card in row.unchecked else ' '}"
