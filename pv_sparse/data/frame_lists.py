"""Videos that are lists of picture files, behind the host's handler."""

import os
from collections.abc import Mapping, Sequence

from pv_sparse.data.encoded_video import EncodedVideoSparse, SparseVideoPathHandler
from pv_sparse.data.frame_folder import FrameFolder
from pv_sparse.errors import PvSparseError


class FrameListHandler(SparseVideoPathHandler):
    """As `SparseVideoPathHandler`, for names of videos whose pictures are listed.

    Args:
        pictures: by name of the video, its files in order.
        dtype: of clips.
    """

    def __init__(self, pictures: Mapping[str, Sequence[str]], dtype: str = "float32"):
        super().__init__(dtype)
        self.pictures = pictures

    def video_from_path(
        self,
        filepath: str | os.PathLike[str],
        decode_audio: bool = False,
        decoder: str = "sparse",
        fps: int = 30,
        decode_video: bool = True,
    ) -> EncodedVideoSparse:
        """The video of this name; `PvSparseError` for one that is not listed."""
        name = os.fspath(filepath)
        if name not in self.pictures:
            raise PvSparseError(f"{name}: no pictures are listed for it")
        frames = FrameFolder.from_pictures(self.pictures[name], name, rate=fps)
        return EncodedVideoSparse(frames, name, decode_video=decode_video, dtype=self.dtype)
