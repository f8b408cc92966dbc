"""How much memory of a GPU a work takes, and what is said where a batch takes more than there is."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pv_sparse.bench.timing import Work

PEAK_NOTE = (
    "GPU MiB: the most that tensors held in one more run, after the rounds. The plain network, the optimized one and a "
    "batch are on the GPU all the while; what CUDA graphs set aside is not counted."
)
# How torch's allocators say it: of the CPU, of the CPU on Windows, of other devices, and of sizes beyond counting.
TOO_LARGE = ("can't allocate memory", "not enough memory", "out of memory", "overflow")


def peak_memory_mib(work: Work, device: str) -> float | None:
    """The most MiB that tensors held on a CUDA device during one run, models included; None on other devices."""
    if not _has_peak(device):
        return None
    torch.cuda.reset_peak_memory_stats(device)
    work()
    torch.cuda.synchronize(device)
    return float(torch.cuda.max_memory_allocated(device) / 2**20)


def peak_notes(device: str) -> tuple[str, ...]:
    """What must be known of the peaks of `device`; empty where there are none."""
    return (PEAK_NOTE,) if _has_peak(device) else ()


@contextmanager
def enough_memory(batch_size: int, device: str) -> Iterator[None]:
    """Where what is done meanwhile does not fit into memory, `ValueError` says so in a line."""
    try:
        yield
    except RuntimeError as error:
        text = str(error).lower()
        if not isinstance(error, torch.OutOfMemoryError) and not any(words in text for words in TOO_LARGE):
            raise
        advice = "a smaller one" if batch_size > 1 else "another device"
        raise ValueError(f"batch_size={batch_size} does not fit into the memory of {device}: try {advice}") from error


def _has_peak(device: str) -> bool:
    return torch.device(device).type == "cuda"
