"""Videos as arrays in `.npy` files: frames that were decoded once, read through a memory map."""

import os
from collections.abc import Iterable
from fractions import Fraction
from tokenize import TokenError

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from pv_sparse.data.closing import Closing
from pv_sparse.data.numbers import as_numbers, target_size
from pv_sparse.data.segment_plan import Size
from pv_sparse.data.segments import Packets
from pv_sparse.data.timeline import Timeline
from pv_sparse.errors import VideoDecodeError

SUFFIX = ".npy"


class FrameArray(Closing):
    """A `.npy` file of (T, 3, H, W) uint8 RGB, read like a `SparseVideo`; only the frames asked for are read.

    Attributes:
        path: the file, as it was given.
        num_frames: T.
        height, width: pixels of the frames.
        frame_times_seconds: (num_frames,) float64, by `average_rate`.
        duration_seconds: num_frames / average_rate, a Fraction.
        average_rate: frames per second, as given.
        keyframes: every frame: each is read alone.
        packets: the keyframes, and no sizes.
    """

    def __init__(self, path: str | os.PathLike[str], rate: float | Fraction = 25):
        """Map the file into memory.

        Args:
            path: a local file.
            rate: frames per second: arrays carry no times.

        Raises:
            FileNotFoundError: there is no such file.
            VideoDecodeError: it is not a whole `.npy` file of (T, 3, H, W) uint8, T, H and W at least 1.
        """
        self.path = os.fspath(path)
        self._frames: np.ndarray | None = _mapped(self.path)
        self.num_frames, _, self.height, self.width = self._frames.shape
        self._timeline = Timeline.at_rate(self.num_frames, Fraction(rate))
        self.average_rate, self.duration_seconds = self._timeline.average_rate, self._timeline.duration_seconds
        self.frame_times_seconds = self._timeline.seconds
        self.keyframes = list(range(self.num_frames))
        self.packets = Packets(keyframes=self.keyframes)

    def frames_at(self, indices: Iterable[int] | Tensor | np.ndarray, size: Size | None = None) -> Tensor:
        """The frames with these numbers, 0-based, in any order, repeats allowed.

        Args:
            indices: T frame numbers in [0, num_frames).
            size: as in `SparseVideo.frames_at`, scaled with antialiasing.

        Returns:
            (T, 3, height, width) uint8 RGB, contiguous, a copy.

        Raises:
            IndexError: a number outside [0, num_frames).
            ValueError: the array was closed, or a size below one pixel.
        """
        if self._frames is None:
            raise ValueError(f"{self.path}: the array was closed: read frames before close(), or open it again")
        numbers = as_numbers(indices, self.num_frames, self.path)
        shape = target_size(self.height, self.width, size)
        frames = torch.from_numpy(np.ascontiguousarray(self._frames[np.array(numbers, np.int64)]))
        if not numbers:
            return frames.new_empty((0, 3, *shape))
        return frames if shape == (self.height, self.width) else F.resize(frames, list(shape), antialias=True)

    def frames_between(self, start_seconds: float | Fraction, end_seconds: float | Fraction) -> range:
        """The numbers of the frames that start in [start_seconds, end_seconds)."""
        return self._timeline.frames_between(start_seconds, end_seconds)

    def close(self) -> None:
        """Give the file back; no more frames can be had. Closing twice is allowed."""
        self._frames = None

    def __repr__(self) -> str:
        return f"FrameArray({self.path!r}, num_frames={self.num_frames}, size={self.height}x{self.width})"


def _mapped(path: str) -> np.ndarray:
    try:
        frames = np.lib.format.open_memmap(path, mode="r")
    # NumPy raises all of them for headers that are damaged, and never unpickles here.
    except (ValueError, TypeError, SyntaxError, TokenError, OverflowError) as error:
        told = " ".join(str(error).split())
        raise VideoDecodeError(path, f"not a whole {SUFFIX} file of plain numbers ({told})") from error
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1] != 3 or not frames.size:
        told = f"an array of {frames.dtype} and shape {frames.shape}"
        raise VideoDecodeError(path, f"{told}: frames are uint8 of shape (T, 3, H, W), none of them 0")
    return frames
