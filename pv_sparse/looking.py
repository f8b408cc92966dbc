"""What weights want to see of a video file: its frames, sampled and decoded, and the clip made of them."""

import os
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from pv_sparse.data.segment_plan import FrameSource, Selector
from pv_sparse.data.selectors import SALIENCY
from pv_sparse.data.video import SparseVideo
from pv_sparse.errors import VideoDecodeError, WeightsError
from pv_sparse.zoo.scorers import load_selector
from pv_sparse.zoo.weights import Weights

# A file with less of its declared frames was cut off: a judgement on the rest would look like one on the whole.
LEAST_DECODED_SHARE = 0.95


@dataclass(frozen=True)
class Look:
    """What was seen of a video.

    Attributes:
        frames: (T, 3, H, W) uint8 RGB, in the video's own size.
        frame_indices: T frame numbers.
        frame_times_seconds: when each is shown, from the first frame of the video.
        num_frames: of the whole video.
        duration_seconds: of the whole video.
        frame_weights: (num_frames,) float64, what a selector says that each frame is worth; None where none was asked.
    """

    frames: Tensor
    frame_indices: list[int]
    frame_times_seconds: list[float]
    num_frames: int
    duration_seconds: float
    frame_weights: np.ndarray | None = None


class Viewer:
    """Looks at videos as weights want it; holds no model, and can go to other processes.

    Args:
        weights: what they were published with: sampling, preprocessing.
        all_views: all frames and crops of the published test, not those of one look.
        threads: of the decoder, as `SparseVideo` takes them.
        select: where to look, as `SegmentClipSampler` takes it, or `saliency` of weights that have a scorer; None is
            where the weights were published to.

    Attributes:
        num_views: clips of a video, each of which the model answers to.

    Raises:
        WeightsError: weights that read optical flow, or `saliency` of weights without a scorer.
        ValueError: `select` together with `all_views`, or an unknown one.
    """

    def __init__(
        self,
        weights: Weights,
        all_views: bool = False,
        threads: int | None = None,
        select: str | Selector | None = None,
    ):
        if weights.modality == "flow":
            raise WeightsError(
                f"{weights.name} reads optical flow, a video file has RGB frames: choose weights without _flow"
            )
        if select is not None and all_views:
            raise ValueError(f"select={select!r} chooses other frames than all views of the published test: give one")
        if select == SALIENCY:
            select = load_selector(weights)
        self.weights, self.all_views, self._threads = weights, all_views, threads
        self._plan = weights.sampler(one_view=not all_views, select=select).plan(seed=0)
        self.num_views = weights.num_views if all_views else 1
        self._transform = weights.transform(one_view=not all_views)
        self._centre = weights.transform(one_view=True)

    def look(self, path: str | os.PathLike[str]) -> Look:
        """The frames that the weights want to see; `VideoDecodeError` for a file that was cut off."""
        with self.open(path) as video:
            indices, weights = self._plan.indices_and_weights(video)
            return replace(look_at(video, indices), frame_weights=weights)

    def open(self, path: str | os.PathLike[str]) -> SparseVideo:
        """The video, to be closed; `VideoDecodeError` for a file that was cut off."""
        video = SparseVideo(path, self._threads)
        if video.decoded_share < LEAST_DECODED_SHARE:
            video.close()
            raise VideoDecodeError(
                video.path,
                f"the file was cut off: {video.decoded_share:.0%} of its declared frames can be decoded, "
                f"{LEAST_DECODED_SHARE:.0%} are needed",
            )
        return video

    def segments(self, video: FrameSource, num_segments: int) -> Tensor:
        """(num_segments, L): where the weights would look, or `select` does, in so many segments."""
        return self.segments_and_weights(video, num_segments)[0]

    def segments_and_weights(self, video: FrameSource, num_segments: int) -> tuple[Tensor, np.ndarray | None]:
        """`segments`, and `Look.frame_weights`."""
        indices, weights = replace(self._plan, num_segments=num_segments).indices_and_weights(video)
        return indices.reshape(num_segments, -1), weights

    def clip(self, look: Look) -> Tensor:
        """The model's input (C, num_views * T, H, W), normalised float32, view after view; frames are scaled once."""
        return self._transform(look.frames.transpose(0, 1))

    def centre_crops(self, look: Look) -> Tensor:
        """(T, C, H, W), normalised float32: the frames of the look, each as one view of it."""
        return self._centre(look.frames.transpose(0, 1)).transpose(0, 1)


def look_at(video: FrameSource, indices: Tensor) -> Look:
    """The frames with these numbers (T,)."""
    return Look(
        frames=video.frames_at(indices),
        frame_indices=indices.tolist(),
        frame_times_seconds=video.frame_times_seconds[indices].tolist(),
        num_frames=video.num_frames,
        duration_seconds=float(video.duration_seconds),
    )
