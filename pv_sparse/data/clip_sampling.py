"""The seam to the host's datasets: a clip sampler that plans, and a video that carries the plan out.

A stock `LabeledVideoDataset` asks its sampler for a start and an end time and hands both to the video. Our sampler
returns as start a number that also carries a `SegmentPlan`; our video reads the plan and decodes all of its frames in
one pass. The sample stays an ordinary (C, T, H, W) tensor, so collating and transforms work unchanged; a stock decoder
sees a plain number and gives the whole video, which `UniformTemporalSubsample` can thin.
"""

import logging
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from pytorchvideo.data.clip_sampling import ClipInfo, ClipSampler
from pytorchvideo.data.video import Video, VideoPathHandler
from torch import Tensor

from pv_sparse.data.segment_plan import SegmentPlan
from pv_sparse.data.segments import Packets, get_rule
from pv_sparse.data.video import SparseVideo
from pv_sparse.errors import PvSparseError

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "uint8": torch.uint8}


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
    """Frames from segments spread over the whole video, as one clip a video.

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
        # Wrong arguments are told here, not in a worker in mid-epoch.
        self.plan(seed=0).indices_of(max(1, num_segments + frames_per_segment), Packets())

    def __call__(
        self,
        last_clip_end_time: float | Fraction | None,
        video_duration: float | Fraction,
        annotation: dict[str, Any] | None = None,
    ) -> ClipInfo:
        """The one clip of a video; `last_clip_end_time` is not used. The annotation receives the keys named above."""
        start = PlannedStart(self.plan(self._draw_seed()), annotation)
        return ClipInfo(start, video_duration, clip_index=0, aug_index=0, is_last_clip=True)

    def plan(self, seed: int) -> SegmentPlan:
        """The plan of one clip; random rules draw from `seed`."""
        return SegmentPlan(
            self.num_segments, self.frames_per_segment, self.rule, self.short, seed, self.snap, self.decode_budget
        )

    def _draw_seed(self) -> int:
        """Rules without chance leave the random state of the user's program alone."""
        return int(torch.randint(2**62, ())) if get_rule(self.rule).is_random else 0

    def __repr__(self) -> str:
        return f"SegmentClipSampler({self.num_segments}, {self.frames_per_segment}, rule={self.rule!r})"


class EncodedVideoSparse(Video):
    """A video file behind the host's `Video` interface, decoded by `SparseVideo`.

    Args:
        file: the video's path.
        video_name: its name in samples; None is the file's name.
        decode_audio: taken and not used: audio is not decoded.
        decode_video: False gives no frames either.
        dtype: of the clips, `float32` as the host's own decoders give them, or `uint8`; 0 to 255 both.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        video_name: str | None = None,
        decode_audio: bool = False,
        decode_video: bool = True,
        dtype: str = "float32",
    ):
        self._video = SparseVideo(file)
        self._name = video_name or Path(file).name
        self._decode_video = decode_video
        self._dtype = _checked_dtype(dtype)

    @property
    def name(self) -> str:
        return self._name

    @property
    def duration(self) -> Fraction:
        """Seconds from the start of the first frame to the end of the last."""
        return self._video.duration_seconds

    def get_clip(self, start_sec: float | Fraction, end_sec: float | Fraction) -> dict[str, Tensor | None]:
        """The frames that a `PlannedStart` plans, or, for plain times, all that are shown in [start_sec, end_sec).

        Returns:
            `video`: (3, T, H, W), 0 to 255, contiguous, or None where no frame lies in that time; `audio`: None.

        Raises:
            VideoDecodeError: a frame that cannot be decoded.
        """
        if not self._decode_video:
            return {"video": None, "audio": None}
        if isinstance(start_sec, PlannedStart):
            indices = start_sec.plan.indices(self._video)
            start_sec.annotation.update(self._sample_keys(indices))
        else:
            indices = torch.tensor(self._video.frames_between(start_sec, end_sec))
        if not len(indices):
            return {"video": None, "audio": None}
        frames = self._video.frames_at(indices)
        return {"video": frames.transpose(0, 1).to(self._dtype).contiguous(), "audio": None}

    def close(self) -> None:
        self._video.close()

    def _sample_keys(self, indices: Tensor) -> dict[str, Any]:
        return {
            "frame_indices": indices,
            "frame_times_seconds": self._video.frame_times_seconds[indices],
            "video_num_frames": self._video.num_frames,
        }


class SparseVideoPathHandler(VideoPathHandler):
    """Has a dataset of the host decode with `SparseVideo`: `dataset.video_path_handler = SparseVideoPathHandler()`.

    Args:
        dtype: of the clips, `float32` as the host's own decoders give them, or `uint8` (a quarter of the memory between
            workers and the training loop); 0 to 255 both.
    """

    def __init__(self, dtype: str = "float32"):
        super().__init__()
        _checked_dtype(dtype)
        self.dtype = dtype

    def video_from_path(
        self,
        filepath: str | os.PathLike[str],
        decode_audio: bool = False,
        decoder: str = "sparse",
        fps: int = 30,
        decode_video: bool = True,
    ) -> EncodedVideoSparse:
        """The video at `filepath`. `decoder` and `fps` are the host's, and not used: the decoder is ours.

        The host drops videos that do not open without a word, unless its own log is at debug level; here the reason is
        logged as a warning first.
        """
        try:
            return EncodedVideoSparse(filepath, decode_audio=decode_audio, decode_video=decode_video, dtype=self.dtype)
        except (PvSparseError, OSError) as error:
            logger.warning("left out: %s", error)
            raise


def _checked_dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise ValueError(f"dtype={name!r} is not allowed: choose one of {', '.join(DTYPES)}")
    return DTYPES[name]
