"""From the cached maps of the frames that are read to logits: the head as it is. `sliding.py` has a quicker one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from pv_sparse.models.logits import Logits

Maps = tuple[Tensor, ...]  # of one frame: (1, C', H', W') for each tap
Key = tuple[int | None, ...]  # the frames that a slice depends on; None is before the first or after the last
Slices = Mapping[Key, tuple[Tensor, ...]]  # of one window, by key, in the order of time
SliceCache = tuple[tuple[Slices, ...], ...]  # for each layer, those of its last windows, newest first


class OnlineHead(Protocol):
    """What comes after the 2-D network. It keeps nothing itself: its cache goes in and comes out."""

    def __call__(self, cache: SliceCache, frames: Sequence[int], maps: Sequence[Maps]) -> tuple[Logits, SliceCache]:
        """From the frames' numbers and maps to logits (1, num_classes); `cache` is () at first."""


@dataclass(frozen=True)
class WholeHead:
    """The model's head, called anew for each window."""

    head: nn.Module

    def __call__(self, cache: SliceCache, frames: Sequence[int], maps: Sequence[Maps]) -> tuple[Logits, SliceCache]:
        """As `OnlineHead`; the cache stays empty."""
        taps = [torch.stack(of_tap, dim=1) for of_tap in zip(*maps, strict=True)]  # each (1, S, C', H', W')
        return self.head(*taps), ()
