"""Frames by number from a path: a video file or a folder of pictures."""

import os
from fractions import Fraction

from pv_sparse.data.frame_folder import FrameFolder
from pv_sparse.data.segment_plan import FrameSource
from pv_sparse.data.video import SparseVideo


def open_frames(path: str | os.PathLike[str], modality: str = "rgb", rate: float | Fraction = 25) -> FrameSource:
    """A `FrameFolder` for a folder and for flow, else a `SparseVideo`; `rate` is that of a folder's pictures.

    Raises:
        FileNotFoundError: there is no such file.
        VideoDecodeError: it holds no frames.
    """
    if modality != "rgb" or os.path.isdir(path):
        return FrameFolder(path, modality, rate=rate)
    return SparseVideo(path)
