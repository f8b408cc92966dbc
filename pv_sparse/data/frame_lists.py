"""Videos whose frames are listed as pictures, behind the host's `Video` interface.

The host's own `FrameVideo` needs OpenCV; here Pillow reads the pictures.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from iopath.common.file_io import g_pathmgr
from PIL import Image
from pytorchvideo.data.video import Video
from torch import Tensor

from pv_sparse.data.clip_sampling import PlannedStart
from pv_sparse.data.encoded_video import checked_dtype, clip_of, indices_of_clip, sample_keys
from pv_sparse.data.segments import Packets
from pv_sparse.errors import VideoDecodeError

# (num_frames, the frames between the sampler's times) -> the frames of a clip.
Choice = Callable[[int, range], Sequence[int]]


class FrameList:
    """Pictures in order, as a video of `rate` frames per second; the members are those of `SparseVideo`."""

    def __init__(self, paths: Sequence[str], rate: int = 30):
        """`paths`: local, or URIs that iopath's global path manager can open."""
        self.paths, self.rate = paths, rate
        self.num_frames = len(paths)
        self.packets = Packets((), range(len(paths)))
        self.duration_seconds = Fraction(len(paths), rate)
        self.frame_times_seconds = torch.arange(len(paths), dtype=torch.float64) / rate

    def frames_between(self, start_seconds: float | Fraction, end_seconds: float | Fraction) -> range:
        """The numbers of the frames that start in [start_seconds, end_seconds)."""
        start, end = (math.ceil(self.rate * seconds) for seconds in (start_seconds, end_seconds))
        return range(max(0, start), min(end, self.num_frames))

    def frames_at(self, indices: Tensor) -> Tensor:
        """(T,) frame numbers, repeats allowed -> (T, 3, H, W) uint8 RGB.

        Raises:
            VideoDecodeError: a picture that is missing, damaged, or of another size than the clip's first.
        """
        pictures = {number: self._picture(number) for number in sorted(set(indices.tolist()))}
        first = next(iter(pictures.values()))
        for number, picture in pictures.items():
            if picture.shape != first.shape:
                sizes = f"{picture.shape[2]}x{picture.shape[1]}, and others {first.shape[2]}x{first.shape[1]}"
                raise VideoDecodeError(self.paths[number], f"it has {sizes}: a clip needs frames of one size", number)
        return torch.stack([pictures[number] for number in indices.tolist()])

    def _picture(self, number: int) -> Tensor:
        path = self.paths[number]
        try:
            with g_pathmgr.open(path, "rb") as file, Image.open(file) as image:
                return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
        except (OSError, SyntaxError) as error:  # Pillow reports some damage as a SyntaxError.
            raise VideoDecodeError(path, f"it cannot be read as a picture ({error})", number) from error


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
        self._frames = FrameList(listed.paths)
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
