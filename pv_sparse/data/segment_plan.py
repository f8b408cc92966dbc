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
    def num_frames(self) -> int: ...
    @property
    def packets(self) -> Packets: ...
    @property
    def frame_times_seconds(self) -> Tensor: ...
    @property
    def duration_seconds(self) -> Fraction: ...
    def frames_at(self, indices: Iterable[int] | Tensor | np.ndarray, size: Size | None = None) -> Tensor: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class SegmentPlan:
    """The arguments of `segment_indices` for one clip, its random draw included, before the video's length is known."""

    num_segments: int = 8
    frames_per_segment: int = 1
    rule: str = "center"
    short: str | None = None
    seed: int = 0
    snap: str | None = None
    decode_budget: int | None = None

    def indices(self, video: FrameSource) -> Tensor:
        """The T frame numbers for this video, (T,) int64; the same on every call."""
        return self.indices_of(video.num_frames, video.packets)

    def indices_of(self, num_frames: int, packets: Packets) -> Tensor:
        """As `indices`, for a video of which only this is known."""
        return segment_indices(
            num_frames,
            self.num_segments,
            self.frames_per_segment,
            self.rule,
            torch.Generator().manual_seed(self.seed),
            self.short,
            snap=self.snap,
            decode_budget=self.decode_budget,
            packets=packets,
        ).flatten()
