"""What has a dataset of the host open its videos as ours."""

import logging
import os

from pytorchvideo.data.video import Video, VideoPathHandler

from pv_sparse.data.encoded_video import EncodedVideoSparse, checked_dtype
from pv_sparse.data.frame_lists import FrameListVideo, ListedVideo
from pv_sparse.errors import PvSparseError

logger = logging.getLogger(__name__)


class SparseVideoPathHandler(VideoPathHandler):
    """Has a dataset of the host decode with `SparseVideo`: `dataset.video_path_handler = SparseVideoPathHandler()`.

    `pv_sparse.sparse_decoding(dataset)` sets it too.

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
        filepath: str | os.PathLike[str] | ListedVideo,
        decode_audio: bool = False,
        decoder: str = "sparse",
        fps: int = 30,
        decode_video: bool = True,
    ) -> Video:
        """The video at `filepath`, a file or a folder of pictures at `fps`. `decoder` is the host's, and not used.

        The host drops videos that do not open without a word, unless its own log is at debug level; here the reason is
        logged as a warning first.
        """
        if isinstance(filepath, ListedVideo):
            return FrameListVideo(filepath, self.dtype)
        try:
            return EncodedVideoSparse(filepath, decode_video=decode_video, dtype=self.dtype, rate=fps)
        except (PvSparseError, OSError) as error:
            logger.warning("left out: %s", error)
            raise
