"""What a clip sampler decides before the video is open, and what it needs of the video then."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pv_sparse.data.segments import Packets, segment_indices

Size = int | tuple[int, int]


class FrameSource(Protocol):
    """Frames by number: a video file (`SparseVideo`), or a folder of pictures (`FrameFolder`)."""

    @property
    def path(self) -> str: ...
    @property
    def num_frames(self) -> int: ...
    @property
    def packets(self) -> Packets: ...
    @property
    def frame_times_seconds(self) -> Tensor: ...
    @property
    def duration_seconds(self) -> Fraction: ...
    @property
    def average_rate(self) -> Fraction: ...
    def frames_at(self, indices: Iterable[int] | Tensor | np.ndarray, size: Size | None = None) -> Tensor: ...
    def frames_between(self, start_seconds: float | Fraction, end_seconds: float | Fraction) -> range: ...
    def close(self) -> None: ...


class Selector(Protocol):
    """Says what each frame of a video is worth (`pv_sparse.data.selectors`).

    It can be pickled, and says the same of the same video every time.
    """

    def weights(self, video: FrameSource, num_segments: int) -> np.ndarray | None:
        """(num_frames,) float64, 0 or more, for a clip of so many segments; None: all alike."""


@dataclass(frozen=True)
class SegmentPlan:
    """The arguments of `segment_indices` for one clip, its random draw included, before the video's length is known.

    `num_segments` None: as many segments as the video has times `every_seconds`, rounded, at least one; without
    `every_seconds`, as many as it has frames.

    `select` glances at the video and says what its frames are worth; None divides it evenly.

    Of `num_clips` clips this is number `clip`: the video is divided into `num_clips * num_segments` segments, which are
    dealt out in turn. Each clip spans the video, and no two look at the same place unless the rule repeats itself (in
    short videos); of `center`, clip c of n looks at the part (c + 1/2) / n of each of `num_segments` segments.
    """

    num_segments: int | None = 8
    frames_per_segment: int = 1
    rule: str = "center"
    short: str | None = None
    seed: int = 0
    snap: str | None = None
    decode_budget: int | None = None
    every_seconds: float | None = None
    clip: int = 0
    num_clips: int = 1
    select: Selector | None = None

    def indices(self, video: FrameSource) -> Tensor:
        """The T frame numbers for this video, (T,) int64; the same on every call."""
        return self.indices_and_weights(video)[0]

    def indices_and_weights(self, video: FrameSource) -> tuple[Tensor, np.ndarray | None]:
        """`indices`, and what the selector says of each frame, (num_frames,) float64; None where all are alike."""
        num_segments = self.num_clips * self._segments_in(video.num_frames, video.duration_seconds)
        weights = self.select.weights(video, num_segments) if self.select else None
        return self.indices_of(video.num_frames, video.packets, video.duration_seconds, weights), weights

    def indices_of(
        self,
        num_frames: int,
        packets: Packets,
        duration_seconds: float | Fraction = 0,
        weights: np.ndarray | None = None,
    ) -> Tensor:
        """As `indices`, for a video of which only this is known; `weights` are what its selector says."""
        indices = segment_indices(
            num_frames,
            self.num_clips * self._segments_in(num_frames, duration_seconds),
            self.frames_per_segment,
            self.rule,
            torch.Generator().manual_seed(self.seed),
            self.short,
            snap=self.snap,
            decode_budget=self.decode_budget,
            packets=packets,
            weights=weights,
        )
        return indices[self.clip :: self.num_clips].flatten()

    def _segments_in(self, num_frames: int, duration_seconds: float | Fraction) -> int:
        if self.num_segments is not None:
            return self.num_segments
        return num_frames if self.every_seconds is None else max(1, round(duration_seconds / self.every_seconds))
