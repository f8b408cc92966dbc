"""Videos whose frames are listed as pictures, behind the host's `Video` interface.

The host's own `FrameVideo` needs OpenCV; here a `FrameFolder` reads the pictures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from pytorchvideo.data.video import Video
from torch import Tensor

from pv_sparse.data.clip_sampling import PlannedStart
from pv_sparse.data.encoded_video import checked_dtype, clip_of, indices_of_clip, sample_keys
from pv_sparse.data.frame_folder import FrameFolder

HOST_RATE = 30  # frames per second, as the host counts

# (num_frames, the frames between the sampler's times) -> the frames of a clip.
Choice = Callable[[int, range], Sequence[int]]


@dataclass(frozen=True)
class ListedVideo:
    """One video of a list, in the place of a path.

    Attributes:
        paths: of its frames, in order.
        info: of its sample; clips add what they show.
        choose: the frames of a clip at plain times, for samplers that are not ours.
        frame_labels: for each frame; a clip's `label` is then those from its first frame to its last.
    """

    paths: Sequence[str]
    info: dict[str, Any]
    choose: Choice
    frame_labels: Sequence[list[int]] | None = None


class ListedVideos:
    """What the host's `LabeledVideoDataset` takes as labelled paths; each sample has an info of its own."""

    def __init__(self, videos: Sequence[ListedVideo]):
        self._videos = videos

    def __getitem__(self, index: int) -> tuple[ListedVideo, dict[str, Any]]:
        video = replace(self._videos[index], info=dict(self._videos[index].info))
        return video, video.info

    def __len__(self) -> int:
        return len(self._videos)


class FrameListVideo(Video):
    """A `ListedVideo` behind the host's `Video` interface; its name is that of the folder of its first frame."""

    def __init__(self, listed: ListedVideo, dtype: str = "float32"):
        self._listed = listed
        self._frames = FrameFolder.from_pictures(listed.paths, str(Path(listed.paths[0]).parent), rate=HOST_RATE)
        self._dtype = checked_dtype(dtype)

    @property
    def name(self) -> str:
        return Path(self._listed.paths[0]).parent.name

    @property
    def duration(self) -> Fraction:
        """Seconds, at 30 frames per second, as the host counts."""
        return self._frames.duration_seconds

    def get_clip(self, start_sec: float | Fraction, end_sec: float | Fraction) -> dict[str, Tensor | None]:
        """The frames that a `PlannedStart` plans, or that the list's `choose` takes; see `EncodedVideoSparse`."""
        indices = indices_of_clip(self._frames, start_sec, end_sec)
        if not isinstance(start_sec, PlannedStart):
            window = self._frames.frames_between(start_sec, end_sec)
            indices = torch.tensor(self._listed.choose(self._frames.num_frames, window), dtype=torch.int64)
        self._listed.info.update(sample_keys(self._frames, indices))
        if self._listed.frame_labels is not None and len(indices):
            shown = slice(int(indices.min()), int(indices.max()) + 1)
            self._listed.info["label"] = list(self._listed.frame_labels[shown])
        return clip_of(self._frames, indices, self._dtype)
