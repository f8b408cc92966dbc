"""The seam to the host's datasets: a clip sampler that plans, for a video that carries the plan out.

A stock `LabeledVideoDataset` asks its sampler for a start and an end time and hands both to the video. Our sampler
returns as start a number that also carries a `SegmentPlan`; our video (`pv_sparse.data.encoded_video`) reads the plan
and decodes all of its frames in one pass. The sample stays an ordinary (C, T, H, W) tensor, so collating and
transforms work unchanged; a stock decoder sees a plain number and gives the whole video, which
`UniformTemporalSubsample` can thin.
"""

from fractions import Fraction
from typing import Any

import numpy as np
import torch
from pytorchvideo.data.clip_sampling import ClipInfo, ClipSampler

from pv_sparse.data.rules import RULES, get_rule
from pv_sparse.data.segment_plan import SegmentPlan, Selector
from pv_sparse.data.segments import Packets
from pv_sparse.data.selectors import get_selector


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
    """Frames from segments spread over the whole video, as one clip or several.

    For `clip_sampler=` of the host's datasets, together with `SparseVideoPathHandler`. A sample gains the keys
    `frame_indices` ((T,) int64), `frame_times_seconds` ((T,) float64, from the video's first frame) and
    `video_num_frames` (int). Random rules draw from torch's global generator, which DataLoader seeds in each worker.

    Clips and augmentations come one after another, in the host's order: every augmentation of a clip before the next
    clip. The augmentations of a clip show the same frames, which the host decodes once. Of a random rule every clip is
    a draw of its own; other rules spread their clips over the video, each with frames of its own (see `SegmentPlan`).

    With `num_segments=None` T differs between videos: take `batch_size=1`, or a `collate_fn` that makes lists.

    Args:
        num_segments: S. None: one segment for every `every_seconds`, or, without those, every frame of the video.
        frames_per_segment: L, consecutive frames in each; T = S * L, times the views of a rule that has several.
        rule: of `segment_indices`: `center` for evaluation, `random` for training, or an original's.
        clips_per_video: samples with different frames from each video.
        augs_per_clip: samples with the same frames from each clip, for transforms that draw or go by `aug_index`.
        every_seconds: with `num_segments=None`: seconds of video for each segment, so that 1.0 gives a frame a second.
        mode: another word for `rule`.
        snap: `keyframe` takes a keyframe of each segment that has one: cheaper, see `segment_indices`.
        decode_budget: at most so many frames past a keyframe, where a segment has such frames.
        select: of `center` and `random`: who says where to look: `even`, `motion`, `diverse`, or a selector such as
            `pv_sparse.data.selectors.Diverse(even_share=0.5)`. None is even.
        short: for videos with too few frames, see `segment_indices`.
        clip_duration: taken and not used, since recipes of the host pass it to every sampler: segments span the video.

    Raises:
        ValueError: a count below 1, an unknown rule or policy, a `rule` and a `mode` that differ, `every_seconds`
            together with a number of segments, or several clips of a rule that has views of its own instead.
    """

    def __init__(
        self,
        num_segments: int | None = 8,
        frames_per_segment: int = 1,
        rule: str = "center",
        clips_per_video: int = 1,
        augs_per_clip: int = 1,
        *,
        every_seconds: float | None = None,
        mode: str | None = None,
        snap: str | None = None,
        decode_budget: int | None = None,
        select: str | Selector | None = None,
        short: str | None = None,
        clip_duration: float | Fraction | None = None,
    ):
        super().__init__(clip_duration or 0)
        if mode is not None and rule not in ("center", mode):
            raise ValueError(f"rule={rule!r} and mode={mode!r} mean the same: give one of them")
        self.rule = mode or rule
        self.num_segments, self.every_seconds = num_segments, every_seconds
        self.frames_per_segment = frames_per_segment
        self.clips_per_video, self.augs_per_clip = clips_per_video, augs_per_clip
        self.snap, self.decode_budget = snap, decode_budget
        self.select = None if select is None else get_selector(select)
        self.short = short
        self._num_given = 0
        self._plan = self.plan(seed=0)
        self._check()

    def __call__(
        self,
        last_clip_end_time: float | Fraction | list[Any] | None,
        video_duration: float | Fraction,
        annotation: dict[str, Any] | None = None,
    ) -> ClipInfo:
        """The next clip of a video; `last_clip_end_time` is not used. The annotation receives the keys named above."""
        clip_index, aug_index = divmod(self._num_given, self.augs_per_clip)
        if aug_index == 0:
            self._plan = self.plan(self._draw_seed(), clip_index)
        self._num_given = (self._num_given + 1) % (self.clips_per_video * self.augs_per_clip)
        start = PlannedStart(self._plan, annotation)
        return ClipInfo(start, video_duration, clip_index, aug_index, is_last_clip=self._num_given == 0)

    def reset(self) -> None:
        """Begin with the first clip again, of the next video; allowed at any time."""
        self._num_given = 0

    def plan(self, seed: int, clip: int = 0) -> SegmentPlan:
        """The plan of clip number `clip` of a video; random rules draw from `seed`, and for every clip alike."""
        is_spread = not get_rule(self.rule).is_random
        return SegmentPlan(
            self.num_segments,
            self.frames_per_segment,
            self.rule,
            self.short,
            seed,
            self.snap,
            self.decode_budget,
            self.every_seconds,
            clip=clip if is_spread else 0,
            num_clips=self.clips_per_video if is_spread else 1,
            select=self.select,
        )

    def _draw_seed(self) -> int:
        """Rules without chance leave the random state of the user's program alone."""
        return int(torch.randint(2**62, ())) if get_rule(self.rule).is_random else 0

    def _check(self) -> None:
        """Wrong arguments are told here, not in a worker in mid-epoch."""
        for name in ("clips_per_video", "augs_per_clip"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is not allowed: it must be at least 1")
        if self.every_seconds is not None and (self.num_segments is not None or self.every_seconds <= 0):
            raise ValueError(
                f"every_seconds={self.every_seconds} with num_segments={self.num_segments} is not allowed: "
                "give seconds above 0 and num_segments=None, or num_segments alone"
            )
        if (self.clips_per_video > 1 or self.num_segments is None) and not get_rule(self.rule).is_whole:
            raise ValueError(
                f"rule={self.rule!r} has views of its own, not {self.clips_per_video} clips of {self.num_segments} "
                f"segments: take one of {', '.join(sorted(name for name, rule in RULES.items() if rule.is_whole))}"
            )
        enough = max(1, self.clips_per_video * (self.num_segments or 1) + self.frames_per_segment)
        self._plan.indices_of(enough, Packets(), weights=None if self.select is None else np.ones(enough))

    def __repr__(self) -> str:
        return f"SegmentClipSampler({self.num_segments}, {self.frames_per_segment}, rule={self.rule!r})"
