"""Our decoder behind the host's `Video` interface, and the handler that puts it into a dataset of the host."""

import logging
import os
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import torch
from pytorchvideo.data.video import Video, VideoPathHandler
from torch import Tensor

from pv_sparse.data.clip_sampling import PlannedStart
from pv_sparse.data.opening import open_frames
from pv_sparse.data.segment_plan import FrameSource
from pv_sparse.errors import PvSparseError

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "uint8": torch.uint8}


class EncodedVideoSparse(Video):
    """A video file, or a folder of pictures, behind the host's `Video` interface, decoded by ours.

    Args:
        file: the video's path, or its frames.
        video_name: its name in samples; None is the file's name.
        decode_audio: taken and not used: audio is not decoded.
        decode_video: False gives no frames either.
        dtype: of the clips, `float32` as the host's own decoders give them, or `uint8`; 0 to 255 both.
        rate: frames per second of a folder of pictures, which carries no times.

    Raises:
        FileNotFoundError: there is no such file.
        VideoDecodeError: it is not a video.
    """

    def __init__(
        self,
        file: str | os.PathLike[str] | FrameSource,
        video_name: str | None = None,
        decode_audio: bool = False,
        decode_video: bool = True,
        dtype: str = "float32",
        rate: float = 30,
    ):
        self._video = open_frames(file, rate=rate) if isinstance(file, (str, os.PathLike)) else file
        self._name = video_name or Path(self._video.path).name
        self._decode_video = decode_video
        self._dtype = checked_dtype(dtype)

    @classmethod
    def from_path(
        cls,
        file_path: str | os.PathLike[str],
        *,
        decode_video: bool = True,
        decode_audio: bool = False,
        decoder: str = "sparse",  # noqa: ARG003
        dtype: str = "float32",
    ) -> Self:
        """The video at `file_path`, as `EncodedVideo.from_path` of the host; `decoder` is taken and not used."""
        return cls(file_path, decode_audio=decode_audio, decode_video=decode_video, dtype=dtype)

    @property
    def name(self) -> str:
        """As in samples."""
        return self._name

    @property
    def rate(self) -> Fraction:
        """Frames per second."""
        return self._video.average_rate

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
            start_sec.annotation.update(sample_keys(self._video, indices))
        else:
            indices = torch.tensor(self._video.frames_between(start_sec, end_sec))
        if not len(indices):
            return {"video": None, "audio": None}
        frames = self._video.frames_at(indices)
        return {"video": frames.transpose(0, 1).to(self._dtype).contiguous(), "audio": None}

    def close(self) -> None:
        self._video.close()


def sample_keys(video: FrameSource, indices: Tensor) -> dict[str, Any]:
    """What a sample says of its frames: their numbers, when they are shown, and of how many."""
    return {
        "frame_indices": indices,
        "frame_times_seconds": video.frame_times_seconds[indices],
        "video_num_frames": video.num_frames,
    }


class SparseVideoPathHandler(VideoPathHandler):
    """Has a dataset of the host decode with `SparseVideo`: `dataset.video_path_handler = SparseVideoPathHandler()`.

    Args:
        dtype: of the clips, `float32` as the host's own decoders give them, or `uint8` (a quarter of the memory between
            workers and the training loop); 0 to 255 both.
    """

    def __init__(self, dtype: str = "float32"):
        super().__init__()
        checked_dtype(dtype)
        self.dtype = dtype

    def video_from_path(
        self,
        filepath: str | os.PathLike[str],
        decode_audio: bool = False,
        decoder: str = "sparse",
        fps: int = 30,
        decode_video: bool = True,
    ) -> EncodedVideoSparse:
        """The video at `filepath`, a file or a folder of pictures at `fps`. `decoder` is the host's, and not used.

        The host drops videos that do not open without a word, unless its own log is at debug level; here the reason is
        logged as a warning first.
        """
        try:
            return EncodedVideoSparse(filepath, decode_video=decode_video, dtype=self.dtype, rate=fps)
        except (PvSparseError, OSError) as error:
            logger.warning("left out: %s", error)
            raise


def checked_dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise ValueError(f"dtype={name!r} is not allowed: choose one of {', '.join(DTYPES)}")
    return DTYPES[name]
