"""A video file behind the host's `Video` interface."""

import os
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import torch
from pytorchvideo.data.video import Video
from torch import Tensor

from pv_sparse.data.clip_sampling import PlannedStart
from pv_sparse.data.segments import Packets
from pv_sparse.data.video import SparseVideo

DTYPES = {"float32": torch.float32, "uint8": torch.uint8}


class TimedFrames(Protocol):
    """Frames by number and by time: what a clip is made from."""

    @property
    def num_frames(self) -> int: ...
    @property
    def packets(self) -> Packets: ...
    @property
    def frame_times_seconds(self) -> Tensor: ...
    @property
    def duration_seconds(self) -> Fraction: ...
    def frames_at(self, indices: Tensor) -> Tensor: ...
    def frames_between(self, start_seconds: float | Fraction, end_seconds: float | Fraction) -> range: ...


class EncodedVideoSparse(Video):
    """A video file behind the host's `Video` interface, decoded by `SparseVideo`.

    Args:
        file: the video's path, or the file itself, opened in binary mode.
        video_name: its name in samples; None is the file's name.
        decode_audio: taken and not used: audio is not decoded.
        decode_video: False gives no frames either.
        dtype: of the clips, `float32` as the host's own decoders give them, or `uint8`; 0 to 255 both.

    Raises:
        FileNotFoundError: there is no such file.
        VideoDecodeError: it is not a video, or no frame of it can be decoded.
        ValueError: an unknown dtype.
    """

    def __init__(
        self,
        file: str | os.PathLike[str] | BinaryIO,
        video_name: str | None = None,
        decode_audio: bool = False,
        decode_video: bool = True,
        dtype: str = "float32",
    ):
        self._dtype = checked_dtype(dtype)
        self._decode_video = decode_video
        self._file = file
        self._name = video_name or Path(str(getattr(file, "name", file))).name
        self._open()

    @classmethod
    def from_path(
        cls,
        file_path: str | os.PathLike[str],
        decode_audio: bool = False,
        decode_video: bool = True,
        decoder: str = "sparse",  # noqa: ARG003
        dtype: str = "float32",
    ) -> "EncodedVideoSparse":
        """The video at `file_path`, as the host's `EncodedVideo.from_path`; `decoder` is taken and not used."""
        return cls(file_path, decode_audio=decode_audio, decode_video=decode_video, dtype=dtype)

    @property
    def name(self) -> str:
        return self._name

    @property
    def duration(self) -> Fraction:
        """Seconds from the start of the first frame to the end of the last."""
        return self._video.duration_seconds

    @property
    def rate(self) -> Fraction:
        """Frames per second over the whole video."""
        return self._video.average_rate

    def get_clip(self, start_sec: float | Fraction, end_sec: float | Fraction) -> dict[str, Tensor | None]:
        """The frames that a `PlannedStart` plans, or, for plain times, all that are shown in [start_sec, end_sec).

        Returns:
            `video`: (3, T, H, W), 0 to 255, contiguous, or None where no frame lies in that time; `audio`: None.

        Raises:
            VideoDecodeError: a frame that cannot be decoded.
        """
        if not self._decode_video:
            return {"video": None, "audio": None}
        self._reopen_in_fork()
        indices = indices_of_clip(self._video, start_sec, end_sec)
        if isinstance(start_sec, PlannedStart):
            start_sec.annotation.update(sample_keys(self._video, indices))
        return clip_of(self._video, indices, self._dtype)

    def close(self) -> None:
        self._video.close()

    def _open(self) -> None:
        if isinstance(self._file, (str, os.PathLike)):
            self._video = SparseVideo(self._file)
        else:
            self._video = SparseVideo(self._name, file=self._file)
        self._process = os.getpid()

    def _reopen_in_fork(self) -> None:
        """A forked worker would share the place in the file with its parent, and lacks the decoder's threads."""
        if self._process != os.getpid():
            self._open()


def indices_of_clip(video: TimedFrames, start_sec: float | Fraction, end_sec: float | Fraction) -> Tensor:
    """The frames that a `PlannedStart` plans, or, for plain times, all in [start_sec, end_sec): (T,) int64."""
    if isinstance(start_sec, PlannedStart):
        return start_sec.plan.indices_of(video.num_frames, video.packets, video.duration_seconds)
    return torch.tensor(video.frames_between(start_sec, end_sec), dtype=torch.int64)


def sample_keys(video: TimedFrames, indices: Tensor) -> dict[str, Any]:
    """What a sample says of its frames."""
    return {
        "frame_indices": indices,
        "frame_times_seconds": video.frame_times_seconds[indices],
        "video_num_frames": video.num_frames,
    }


def clip_of(video: TimedFrames, indices: Tensor, dtype: torch.dtype) -> dict[str, Tensor | None]:
    """The host's form of a clip: `video` (3, T, H, W) contiguous, or None without frames; no audio."""
    if not len(indices):
        return {"video": None, "audio": None}
    frames = video.frames_at(indices)
    return {"video": frames.transpose(0, 1).to(dtype).contiguous(), "audio": None}


def checked_dtype(name: str) -> torch.dtype:
    """The dtype of this name; `ValueError` lists the names there are."""
    if name not in DTYPES:
        raise ValueError(f"dtype={name!r} is not allowed: choose one of {', '.join(DTYPES)}")
    return DTYPES[name]
