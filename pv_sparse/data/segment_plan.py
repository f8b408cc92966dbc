"""What a clip sampler decides before the video is open, and what it needs of the video then."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pv_sparse.data.segments import Packets, get_rule, segment_indices

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
    def frames_between(self, start_seconds: float | Fraction, end_seconds: float | Fraction) -> range: ...
    def frames_at(self, indices: Iterable[int] | Tensor | np.ndarray, size: Size | None = None) -> Tensor: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class SegmentPlan:
    """The arguments of `segment_indices` for one clip, its random draw included, before the video's length is known.

    Clip `clip_index` of `num_clips`: under a rule without chance, each segment is divided into as many parts as there
    are clips, and the clip takes its own part of each. Random rules draw each clip from its own `seed`.
    """

    num_segments: int = 8
    frames_per_segment: int = 1
    rule: str = "center"
    short: str | None = None
    seed: int = 0
    snap: str | None = None
    decode_budget: int | None = None
    clip_index: int = 0
    num_clips: int = 1

    def indices(self, video: FrameSource) -> Tensor:
        """The T frame numbers for this video, (T,) int64; the same on every call."""
        return self.indices_of(video.num_frames, video.packets)

    def indices_of(self, num_frames: int, packets: Packets) -> Tensor:
        """As `indices`, for a video of which only this is known."""
        parts = 1 if get_rule(self.rule).is_random else self.num_clips
        indices = segment_indices(
            num_frames,
            self.num_segments * parts,
            self.frames_per_segment,
            self.rule,
            torch.Generator().manual_seed(self.seed),
            self.short,
            snap=self.snap,
            decode_budget=self.decode_budget,
            packets=packets,
        )
        return indices[self.clip_index % parts :: parts].flatten()
