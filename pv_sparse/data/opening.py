"""Frames by number from a path: a video file, a folder of pictures or an array of frames."""

import os
from fractions import Fraction

from pv_sparse.data.frame_array import SUFFIX, FrameArray
from pv_sparse.data.frame_folder import FrameFolder
from pv_sparse.data.segment_plan import FrameSource
from pv_sparse.data.video import SparseVideo


def open_frames(
    path: str | os.PathLike[str], modality: str = "rgb", rate: float | Fraction = 25, threads: int | None = None
) -> FrameSource:
    """A `FrameFolder` for a folder and for flow, a `FrameArray` for a `.npy` file, else a `SparseVideo`.

    Args:
        path: of one of them.
        modality: `rgb` or `flow`.
        rate: frames per second of pictures and arrays, which carry no times.
        threads: of the decoder of a video file, as of `SparseVideo`.

    Raises:
        FileNotFoundError: there is no such file.
        VideoDecodeError: it holds no frames.
    """
    if modality != "rgb" or os.path.isdir(path):
        return FrameFolder(path, modality, rate=rate)
    if os.fspath(path).lower().endswith(SUFFIX):
        return FrameArray(path, rate)
    return SparseVideo(path, threads)
