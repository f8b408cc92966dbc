"""The clip sampler: it plans frames for the host's datasets, before the video is open.

A stock `LabeledVideoDataset` asks its sampler for a start and an end time and hands both to the video. Our sampler
returns as start a number that also carries a `SegmentPlan`; our video (`encoded_video`) reads the plan and decodes all
of its frames in one pass. The sample stays an ordinary (C, T, H, W) tensor, so collating and transforms work
unchanged; a stock decoder sees a plain number and gives the whole video, which `SegmentSubsample` can thin.
"""

from fractions import Fraction
from typing import Any

import torch
from pytorchvideo.data.clip_sampling import ClipInfo, ClipSampler

from pv_sparse.data.segment_plan import SegmentPlan
from pv_sparse.data.segments import Packets, get_rule


class PlannedStart(Fraction):
    """A clip's start in seconds, 0, that carries the clip's plan and its sample's annotation to the decoder."""

    plan: SegmentPlan
    annotation: dict[str, Any]

    def __new__(cls, plan: SegmentPlan, annotation: dict[str, Any] | None = None) -> "PlannedStart":
        start = super().__new__(cls, 0)
        start.plan = plan
        start.annotation = annotation if annotation is not None else {}
        return start

    def __reduce__(self) -> tuple[Any, ...]:
        return PlannedStart, (self.plan, self.annotation)


class SegmentClipSampler(ClipSampler):
    """Frames from segments spread over the whole video, as one clip a video or several.

    For `clip_sampler=` of the host's datasets, together with `SparseVideoPathHandler`. A sample gains the keys
    `frame_indices` ((T,) int64), `frame_times_seconds` ((T,) float64, from the video's first frame) and
    `video_num_frames` (int). Random rules draw from torch's global generator, which DataLoader seeds in each worker.

    Args:
        num_segments: S.
        frames_per_segment: L, consecutive frames in each; T = S * L, times the views of a rule that has several.
        rule: of `segment_indices`: `center` for evaluation, `random` for training, or an original's.
        mode: another word for `rule`.
        snap: `keyframe` takes a keyframe of each segment that has one: cheaper, see `segment_indices`.
        decode_budget: at most so many frames past a keyframe, where a segment has such frames.
        short: for videos with too few frames, see `segment_indices`.
        clips_per_video: clips of each video, samples of their own with `clip_index` 0, 1, ... Under random rules each
            is drawn anew; under the others they share out the segments' parts: clip c takes the c-th part of each.
        augs_per_clip: samples of each clip, the same frames under other draws of the transform, with `aug_index`.
        clip_duration: taken and not used, since recipes of the host pass it to every sampler: segments span the video.

    Raises:
        ValueError: a count below 1, an unknown rule or policy, or a `rule` and a `mode` that differ.
    """

    def __init__(
        self,
        num_segments: int = 8,
        frames_per_segment: int = 1,
        rule: str = "center",
        *,
        mode: str | None = None,
        snap: str | None = None,
        decode_budget: int | None = None,
        short: str | None = None,
        clips_per_video: int = 1,
        augs_per_clip: int = 1,
        clip_duration: float | Fraction | None = None,
    ):
        super().__init__(clip_duration or 0)
        if mode is not None and rule not in ("center", mode):
            raise ValueError(f"rule={rule!r} and mode={mode!r} mean the same: give one of them")
        self.rule = mode or rule
        self.num_segments = num_segments
        self.frames_per_segment = frames_per_segment
        self.snap, self.decode_budget = snap, decode_budget
        self.short = short
        if clips_per_video < 1 or augs_per_clip < 1:
            raise ValueError(f"{clips_per_video=} and {augs_per_clip=} must be at least 1")
        self.clips_per_video, self.augs_per_clip = clips_per_video, augs_per_clip
        self.reset()
        # Wrong arguments are told here, not in a worker in mid-epoch.
        self.plan(seed=0).indices_of(max(1, num_segments + frames_per_segment), Packets())

    def __call__(
        self,
        last_clip_end_time: float | Fraction | None,
        video_duration: float | Fraction,
        annotation: dict[str, Any] | None = None,
    ) -> ClipInfo:
        """The next clip of a video; `last_clip_end_time` is not used. The annotation receives the keys named above."""
        clip_index, aug_index = divmod(self._num_given, self.augs_per_clip)
        if aug_index == 0:
            self._seed = self._draw_seed()
        start = PlannedStart(self.plan(self._seed, clip_index), annotation)
        self._num_given += 1
        is_last = self._num_given == self.clips_per_video * self.augs_per_clip
        if is_last:
            self.reset()
        return ClipInfo(start, video_duration, clip_index, aug_index, is_last)

    def reset(self) -> None:
        """Start over with a video's first clip, as the host asks after each video; allowed at any time."""
        self._num_given, self._seed = 0, 0

    def plan(self, seed: int, clip_index: int = 0) -> SegmentPlan:
        """The plan of one clip; random rules draw from `seed`."""
        return SegmentPlan(
            self.num_segments,
            self.frames_per_segment,
            self.rule,
            self.short,
            seed,
            self.snap,
            self.decode_budget,
            clip_index,
            self.clips_per_video,
        )

    def _draw_seed(self) -> int:
        """Rules without chance leave the random state of the user's program alone."""
        return int(torch.randint(2**62, ())) if get_rule(self.rule).is_random else 0

    def __repr__(self) -> str:
        return f"SegmentClipSampler({self.num_segments}, {self.frames_per_segment}, rule={self.rule!r})"
