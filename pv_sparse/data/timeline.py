"""When the frames of a video are shown."""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Timeline:
    """Frame i is shown `ticks[i]` ticks after the first.

    Attributes:
        ticks: (num_frames,) int64, ascending from 0.
        tick_seconds: how long a tick is; 0 where neither the frames nor the header tell.
        average_rate: frames per second over the whole video; 0 where one frame and no header tell it.
    """

    ticks: np.ndarray
    tick_seconds: Fraction
    average_rate: Fraction

    @classmethod
    def of_timestamps(cls, timestamps: np.ndarray, time_base: Fraction, declared_rate: Fraction) -> "Timeline":
        """Of frames with these timestamps, (num_frames,) int64 ascending, in units of `time_base` seconds."""
        ticks = timestamps - timestamps[0]
        return cls(ticks, time_base, _average_rate(int(ticks[-1]) * time_base, len(ticks), declared_rate))

    @classmethod
    def at_rate(cls, num_frames: int, rate: Fraction) -> "Timeline":
        """Of frames that have no timestamps: the header's rate tells their times."""
        return cls(np.arange(num_frames), 1 / rate if rate else Fraction(0), rate)

    @property
    def seconds(self) -> Tensor:
        """(num_frames,) float64, when each frame is shown."""
        step = self.tick_seconds
        return torch.from_numpy(self.ticks * float(step.numerator) / step.denominator)

    @property
    def duration_seconds(self) -> Fraction:
        """From the start of the first frame to the end of the last."""
        span = int(self.ticks[-1]) * self.tick_seconds
        return span + (1 / self.average_rate if self.average_rate else 0)

    def frames_between(self, start_seconds: float | Fraction, end_seconds: float | Fraction) -> range:
        """The numbers of the frames that start in [start_seconds, end_seconds)."""
        if not self.tick_seconds:
            return range(start_seconds <= 0 < end_seconds)
        bounds = [math.ceil(seconds / self.tick_seconds) for seconds in (start_seconds, end_seconds)]
        return range(*np.searchsorted(self.ticks, bounds).tolist())


def _average_rate(span_seconds: Fraction, num_frames: int, declared: Fraction) -> Fraction:
    """The header's rate where it agrees with the frames' times within a hundredth, else the times' own."""
    if not span_seconds:
        return declared
    measured = (num_frames - 1) / Fraction(span_seconds)
    return declared if abs(declared - measured) * 100 <= measured else measured
