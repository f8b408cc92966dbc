"""The parts of `pv-sparse bench`: timing, memory, tables, the machine, and the video."""

import itertools
import math

import numpy as np
import pytest
import torch

from pv_sparse import SparseVideo
from pv_sparse.bench.clip import moving_pictures, write_clip
from pv_sparse.bench.columns import columns, three_digits
from pv_sparse.bench.machine import cpu_name, cpu_units, machine
from pv_sparse.bench.memory import enough_memory, peak_memory_mib, peak_notes
from pv_sparse.bench.sides import measure_sides
from pv_sparse.bench.timing import Clock, Timing, device_clock, measure, measure_in_turns, needed_warm_ups, percentile

X86 = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nflags\t: fpu amx_bf16 avx2 avx512_bf16\n\nmodel name\t: B\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd sve bf16\n"


class Ticks:
    """A clock that goes on by what the work says it took; the CPU's at half of it."""

    def __init__(self):
        self.now, self.waits = 0.0, 0

    def clock(self) -> Clock:
        return Clock(wall=lambda: self.now, cpu=lambda: self.now / 2, wait=self.wait)

    def wait(self):
        self.waits += 1

    def work(self, *seconds):
        return self.work_of(itertools.cycle(seconds))

    def work_of(self, taken):
        def run():
            self.now += next(taken)

        return run


def test_percentiles_lie_in_proportion_between_neighbours():
    assert percentile([3.0, 1.0, 2.0], 50) == 2
    assert percentile([1.0, 2.0], 50) == 1.5
    assert percentile(range(101), 99) == 99
    assert percentile(range(20), 99) == pytest.approx(18.81)
    assert percentile([7.0], 99) == 7
    with pytest.raises(ValueError, match="no values were given"):
        percentile([], 50)


def test_warm_ups_do_not_count():
    ticks = Ticks()
    timing = measure(ticks.work(100.0, 1.0, 2.0, 3.0), rounds=3, warm_ups=1, clock=ticks.clock())
    assert timing == Timing((1.0, 2.0, 3.0), cpu_seconds=3.0, warm_ups=1)
    assert (timing.rounds, timing.percentile_ms(50), timing.cpu_ms) == (3, 2000, 1000)
    assert timing.per_second(4) == 2
    assert ticks.waits == 8  # before and after each run


def test_a_budget_ends_the_rounds_but_not_before_three():
    ticks = Ticks()
    assert measure(ticks.work(5.0), 20, budget_seconds=1, clock=ticks.clock()).rounds == 3
    assert measure(ticks.work(5.0), 2, budget_seconds=1, clock=ticks.clock()).rounds == 2


def test_a_budget_has_the_last_warm_up_in_it():
    ticks = Ticks()
    assert measure(ticks.work(0.5), 20, 0, budget_seconds=4, clock=ticks.clock()).rounds == 8
    assert measure(ticks.work(0.5), 20, 1, budget_seconds=4, clock=ticks.clock()).rounds == 7
    compiles = itertools.chain([100.0], itertools.repeat(0.5))
    assert measure(ticks.work_of(compiles), 20, 3, budget_seconds=4, clock=ticks.clock()).rounds == 7


@pytest.mark.parametrize("peak", [None, 7.0])
def test_memory_is_asked_for_after_the_rounds(peak, monkeypatch):
    def ask(work, device):
        work()
        order.append(device)
        return peak

    order = []
    monkeypatch.setattr("pv_sparse.bench.sides.peak_memory_mib", ask)
    found = measure_sides({name: lambda name=name: order.append(name) for name in "ab"}, "cpu", rounds=2, warm_ups=1)
    assert order == [*"ababab", "a", "cpu", "b", "cpu"]
    assert [(own.timing.rounds, own.timing.warm_ups, own.peak_memory_mib) for own in found.values()] == [
        (2, 1, peak)
    ] * 2


def test_what_a_peak_of_memory_holds_is_said_where_there_is_one():
    assert peak_memory_mib(lambda: pytest.fail("it ran"), "cpu") is None
    assert peak_notes("cpu") == ()
    assert "plain network, the optimized one" in peak_notes("cuda:0")[0]


@pytest.mark.parametrize(
    ("error", "batch_size", "advice"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), 8, "a smaller one"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), 2, "a smaller one"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 1, "another device"),
    ],
)
def test_a_batch_that_does_not_fit_is_told(error, batch_size, advice):
    text = f"batch_size={batch_size} does not fit into the memory of cuda: try {advice}"
    with pytest.raises(ValueError, match=text), enough_memory(batch_size, "cuda"):
        raise error


def test_other_errors_are_not_taken_for_it():
    with pytest.raises(RuntimeError, match="sizes differ"), enough_memory(1, "cpu"):
        raise RuntimeError("sizes differ")


def test_works_take_turns():
    order = []
    works = {name: lambda name=name: order.append(name) for name in "ab"}
    timings = measure_in_turns(works, rounds=2, warm_ups=1, clock=Ticks().clock())
    assert "".join(order) == "ababab"
    assert timings.keys() == works.keys()
    with pytest.raises(ValueError, match="rounds=0 and warm_ups=1 are not allowed"):
        measure_in_turns(works, 0)


def test_a_real_clock_goes_forward():
    timing = measure(lambda: torch.ones(10).sum(), rounds=3, clock=device_clock("cpu"))
    assert all(0 < seconds < 1 for seconds in timing.seconds)
    assert timing.cpu_seconds > 0


def test_what_compiles_or_runs_elsewhere_is_warmed_up_longer():
    assert needed_warm_ups("cpu", compiled=False) == 1
    assert needed_warm_ups("cpu", compiled=True) == needed_warm_ups("cuda", compiled=False) == 3


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.012345, "0.0123"), (1.0, "1.00"), (12.345, "12.3"), (123.4, "123"), (12345.6, "12346"), (0.0, "0")],
)
def test_three_digits(value, text):
    assert three_digits(value) == text
    assert three_digits(math.inf) == "inf"


def test_columns_are_aligned():
    lines = columns(["", "ms", "MiB"], [["model", 12.0, None], ["end to end", 3, 4.0]])
    assert lines == ["              ms   MiB", "model       12.0     -", "end to end     3  4.00"]


def test_what_linux_tells_of_processors():
    assert cpu_name(X86) == "Some CPU @ 2.00GHz"
    assert cpu_units(X86) == ("avx2", "avx512_bf16", "amx_bf16")
    assert (cpu_name(ARM), cpu_units(ARM)) == ("", ("asimd", "bf16", "sve"))
    assert (cpu_name(""), cpu_units("")) == ("", ())


def test_the_machine_is_told():
    here = machine()
    assert here.cores >= 1
    assert here.threads == torch.get_num_threads()
    assert set(here.versions) == {"python", "torch", "torchvision", "av", "pv_sparse"}
    lines = "\n".join(here.lines())
    assert here.cpu in lines
    assert f"threads of torch: {here.threads}" in lines
    assert f"torch {here.versions['torch']}" in lines


def test_the_video_moves_and_is_the_same_each_time(tmp_path):
    first = write_clip(tmp_path / "a.mp4", seconds=0.6, size=(64, 48))
    with SparseVideo(first) as video:
        assert (video.num_frames, video.height, video.width, video.keyframes) == (15, 48, 64, [0])
        frames = video.frames_at([0, 14]).float()
    assert frames.std() > 10
    assert (frames[0] - frames[1]).abs().mean() > 1
    pictures = [np.stack(list(moving_pictures(3, (64, 48), seed))) for seed in (0, 0, 1)]
    assert pictures[0].shape == (3, 48, 64, 3)
    assert (pictures[0] == pictures[1]).all()
    assert (pictures[0] != pictures[2]).any()
