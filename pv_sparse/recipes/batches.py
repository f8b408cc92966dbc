"""The order of the samples in training: a function of seed and epoch alone, so that a run can go on in mid-epoch."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from pv_sparse.data.dataset import Sample, SparseVideoDataset
from pv_sparse.errors import PvSparseError


class EpochBatches(Sampler[list[int]]):
    """The batches of one process, epoch after epoch.

    An epoch's order depends on the seed and the epoch's number. Each batch of the whole run is cut into the parts of
    its processes, so that two processes with batches of 4 see together what one with batches of 8 sees.

    Args:
        dataset: told of the epoch that begins.
        batch_size: of each process.
        seed: of the order.
        batches_done: how many batches this process has done in all epochs, asked whenever an iterator starts: it begins
            after them.
        rank, world_size: which process of how many.
        drop_last: leave out what does not fill the last batch of the run, where there is a full one; else its samples
            are shared out, some twice where all processes need as many.
    """

    def __init__(
        self,
        dataset: SparseVideoDataset,
        batch_size: int,
        *,
        seed: int = 0,
        batches_done: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = True,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} is not allowed: it must be at least 1")
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.batches_done, self.rank, self.world_size = batches_done, rank, world_size
        self.drop_last = drop_last and len(dataset) >= batch_size * world_size

    def __len__(self) -> int:
        """Batches of a whole epoch, also where an iterator begins in its middle."""
        full, rest = divmod(len(self.dataset), self.batch_size * self.world_size)
        return full if self.drop_last or not rest else full + 1

    def __iter__(self) -> Iterator[list[int]]:
        epoch, start = divmod(self.batches_done(), len(self))
        self.dataset.set_epoch(epoch)
        batches = torch.split(self._order(epoch), self.batch_size * self.world_size)[: len(self)]
        for batch in batches[start:]:
            share = math.ceil(len(batch) / self.world_size)
            yield [int(batch[place % len(batch)]) for place in range(self.rank * share, (self.rank + 1) * share)]

    def _order(self, epoch: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * epoch)
        return torch.randperm(len(self.dataset), generator=generator)


class EvaluationPart(Sampler[int]):
    """Every `world_size`-th sample, in order; some twice where all processes need as many (`Predictions` knows)."""

    def __init__(self, dataset: SparseVideoDataset, rank: int = 0, world_size: int = 1):
        share = math.ceil(len(dataset) / world_size)
        self.numbers = [(rank + turn * world_size) % len(dataset) for turn in range(share)]

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers)


class TrainLoader(DataLoader[Sample]):
    """A DataLoader whose sampler knows where to go on; Lightning asks loaders for a state."""

    def state_dict(self) -> dict[str, Any]:
        """What must be the same where a run goes on."""
        return {"batches_per_epoch": len(self)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `PvSparseError` where the epochs were cut into other batches."""
        if state["batches_per_epoch"] != len(self):
            raise PvSparseError(
                f"the run had {state['batches_per_epoch']} batches in an epoch, and would have {len(self)} now: go on "
                "with the same batch size, data and number of devices, or start anew with another out="
            )
