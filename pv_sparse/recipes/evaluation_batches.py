"""What an evaluation loads: whole batches, with what was seen of each video, and shared out between processes."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

from pv_sparse.data.dataset import SparseVideoDataset
from pv_sparse.errors import PvSparseError, one_line
from pv_sparse.recipes.evaluation_files import failed_look, look_of
from pv_sparse.recipes.evaluation_parts import Look

Batch = dict[str, Any]


class Batches(Dataset[Batch]):
    """Whole batches by number, so that processes share batches out, and none depends on how many they are.

    A batch is `video` (n, C, V * T, H, W) or None, `rows` (the numbers of its n videos) and `looks`; `problem` is what
    would go wrong with every video.
    """

    def __init__(self, dataset: SparseVideoDataset, batch_size: int):
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size={batch_size} is not allowed: it must be a number of at least 1")
        self.dataset, self.batch_size = dataset, batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / self.batch_size)

    def __getitem__(self, number: int) -> Batch:
        rows = range(len(self.dataset))[number * self.batch_size : (number + 1) * self.batch_size]
        clips: dict[int, Tensor] = {}
        looks: list[Look] = []
        for row in rows:
            try:
                sample = self.dataset[row]
            except (PvSparseError, OSError) as error:
                looks.append(failed_look(row, one_line(error)))
            except ValueError as error:  # as its text, since a worker's own way of telling it is many lines
                return {"problem": one_line(error)}
            else:
                clips[row] = sample["video"]
                looks.append(look_of(row, sample))
        return {"video": torch.stack([*clips.values()]) if clips else None, "rows": [*clips], "looks": looks}


class InTurn(DistributedSampler[int]):
    """Every `num_replicas`-th batch; a DistributedSampler, which Lightning does not replace by its own.

    A process for which there is none takes the first again, since Lightning ends without a word what has no batches;
    `merge_parts` counts its videos once.
    """

    def __init__(self, batches: Batches, rank: int, world_size: int):
        super().__init__(batches, world_size, rank, shuffle=False)
        self.numbers = range(rank, len(batches), world_size) or range(1)

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)
