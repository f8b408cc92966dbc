"""Work run again and again, and the time that it took."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

Work = Callable[[], object]
LEAST_ROUNDS = 3


def _nothing_to_wait_for() -> None:
    """A CPU has finished when the call returns."""


@dataclass(frozen=True)
class Clock:
    """What time is read from.

    Attributes:
        wall: seconds, of a clock on the wall.
        cpu: seconds that the CPUs worked for this process, all its threads together.
        wait: returns when the device has finished what it was given.
    """

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time
    wait: Work = _nothing_to_wait_for


@dataclass(frozen=True)
class Timing:
    """The measured runs of one work.

    Attributes:
        seconds: of each run, in order.
        cpu_seconds: of all runs together.
        warm_ups: runs before them, which do not count.
    """

    seconds: tuple[float, ...]
    cpu_seconds: float
    warm_ups: int

    @property
    def rounds(self) -> int:
        return len(self.seconds)

    def percentile_ms(self, percent: float) -> float:
        """Milliseconds that so many percent of the runs took at most."""
        return 1e3 * percentile(self.seconds, percent)

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds of a run, the mean."""
        return 1e3 * self.cpu_seconds / self.rounds

    def per_second(self, count: int) -> float:
        """What a second does of a thing that a run does `count` of."""
        return count * self.rounds / sum(self.seconds)


def percentile(values: Sequence[float], percent: float) -> float:
    """In the unit of `values`; between two of them, in proportion. Of 20 values, the 99th is nearly the largest."""
    if not values:
        raise ValueError("no values were given: a percentile needs at least one")
    return float(np.percentile(values, percent))


def measure(
    work: Work, rounds: int, warm_ups: int = 1, budget_seconds: float = math.inf, clock: Clock | None = None
) -> Timing:
    """How long `work` takes; see `measure_in_turns`."""
    return measure_in_turns({"work": work}, rounds, warm_ups, budget_seconds, clock)["work"]


def measure_in_turns(
    works: Mapping[str, Work],
    rounds: int,
    warm_ups: int = 1,
    budget_seconds: float = math.inf,
    clock: Clock | None = None,
) -> dict[str, Timing]:
    """How long each work takes, in turns, so that what else the machine does slows all of them alike.

    Args:
        works: by name, what to run.
        rounds: measured runs of each, at least 1.
        warm_ups: runs of each before them, which are not measured.
        budget_seconds: after `LEAST_ROUNDS` rounds, no further one starts when the last warm-ups (those before them may
            compile) and the measured runs took this together.
        clock: what time is read from.
    """
    if rounds < 1 or warm_ups < 0:
        raise ValueError(f"rounds={rounds} and warm_ups={warm_ups} are not allowed: at least 1 and 0")
    clock = clock or Clock()
    spent = 0.0
    for _ in range(warm_ups):
        spent = sum(_timed(work, clock)[0] for work in works.values())
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for number in range(rounds):
        if number >= LEAST_ROUNDS and spent >= budget_seconds:
            break
        for name, work in works.items():
            taken[name].append(_timed(work, clock))
            spent += taken[name][-1][0]
    return {
        name: Timing(tuple(wall for wall, _ in runs), sum(cpu for _, cpu in runs), warm_ups)
        for name, runs in taken.items()
    }


def _timed(work: Work, clock: Clock) -> tuple[float, float]:
    clock.wait()  # what came before is not counted
    wall, cpu = clock.wall(), clock.cpu()
    work()
    clock.wait()
    return clock.wall() - wall, clock.cpu() - cpu


def device_clock(device: str) -> Clock:
    """The clock of work on `device`, as torch names it."""
    if torch.device(device).type == "cuda":
        return Clock(wait=lambda: torch.cuda.synchronize(device))
    return Clock(wait=torch.get_device_module(torch.device(device)).synchronize)


def needed_warm_ups(device: str, compiled: bool) -> int:
    """A GPU's library chooses its algorithms in the first run; CUDA graphs are recorded in the third."""
    return 1 if torch.device(device).type == "cpu" and not compiled else 3
