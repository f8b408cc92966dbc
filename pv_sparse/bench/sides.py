"""The same work of several models, side by side: its time in turns, then the memory that each takes."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch

from pv_sparse.bench.memory import peak_memory_mib
from pv_sparse.bench.timing import Timing, Work, device_clock, measure_in_turns

PLAIN, OPTIMIZED = "plain", "optimized"


class Measured(NamedTuple):
    """Of one side; `peak_memory_mib` is None on other devices than CUDA."""

    timing: Timing
    peak_memory_mib: float | None


@torch.inference_mode()
def measure_sides(
    works: Mapping[str, Work], device: str, rounds: int, warm_ups: int, budget_seconds: float = math.inf
) -> dict[str, Measured]:
    """By name, what each work takes on `device`; arguments as of `measure_in_turns`.

    The peak of memory is that of one more run of each, so that what is done only in first runs is not in it.
    """
    timings = measure_in_turns(works, rounds, warm_ups, budget_seconds, device_clock(device))
    return {name: Measured(timing, peak_memory_mib(works[name], device)) for name, timing in timings.items()}
