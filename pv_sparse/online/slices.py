"""Layers over a sliding window of frames, slice by slice in time, of which only new slices are computed.

A convolution of 3 frames in time with zeros at both ends makes the slice at time t of its output from the slices at
t-1, t and t+1 of its input. What a slice in any layer depends on is thus a range of frames, of which those outside the
window are zeros: slices of two windows with the same range are the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pv_sparse.online.heads import Key, Slices

Slice = tuple[Tensor, ...]  # what a layer gives at one time, each (1, C, H, W)
Compute = Callable[[Sequence[Slice], Sequence[int]], list[Slice]]  # all input slices, times -> output slices there


@dataclass(frozen=True)
class SliceConv:
    """A 3x3x3 convolution, for chosen times: `weight` (C', 3*C, 3, 3) has the three input slices one after another."""

    weight: Tensor
    bias: Tensor
    stride: int

    def __call__(self, slices: Sequence[Tensor], times: Sequence[int]) -> Tensor:
        """Slices (1, C, H, W) of all times -> those of the output at `times`, (n, C', H', W')."""
        like = slices[0]
        _, channels, height, width = like.shape
        shape = (len(times), 3 * channels, height, width)
        threes = torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)
        for row, time in enumerate(times):
            for tap, place in enumerate(range(time * self.stride - 1, time * self.stride + 2)):
                part = threes[row, tap * channels : (tap + 1) * channels]
                if 0 <= place < len(slices):
                    part.copy_(slices[place][0])
                else:
                    part.zero_()
        return F.conv2d(threes, self.weight, self.bias, self.stride, padding=1)


@dataclass(frozen=True)
class SliceLayer:
    """One layer over the whole window.

    Attributes:
        compute: from all input slices to the output slices at the chosen times.
        reach: how many frames before and after its own a slice depends on.
        step: frames from one slice to the next.
    """

    compute: Compute
    reach: int
    step: int

    def __call__(self, recent: Sequence[Slices], frames: Sequence[int], inputs: Sequence[Slice]) -> Slices:
        """The output slices of the window of these frames; those that recent windows had are taken from there."""
        keys = [self._key(frames, time) for time in range(len(frames) // self.step)]
        known = {key: slices[key] for slices in reversed(recent) for key in keys if key in slices}
        missing = [time for time, key in enumerate(keys) if key not in known]
        made = dict(
            zip((keys[time] for time in missing), self.compute(inputs, missing) if missing else (), strict=True)
        )
        return {key: made[key] if key in made else known[key] for key in keys}

    def _key(self, frames: Sequence[int], time: int) -> Key:
        centre = time * self.step
        places = range(centre - self.reach, centre + self.reach + 1)
        return tuple(frames[place] if 0 <= place < len(frames) else None for place in places)

    def num_shared(self, num_frames: int) -> int:
        """How many slices of a window stay, when it has moved by one slice."""
        inside = [t for t in range(0, num_frames, self.step) if self.reach <= t < num_frames - self.reach]
        return max(0, len(inside) - 1)
