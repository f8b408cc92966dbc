"""Pictures to an h264 video, for generated data."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import av
import numpy as np

from pv_sparse.whole_files import whole_file


def write_video(path: Path, pictures: Iterable[np.ndarray], rate: int = 25, keyframe_interval: int = 250) -> None:
    """Write an mp4 file, which has its name when it is whole; its folder is made if need be.

    One thread encodes, so that the file is the same on machines of any number of cores.

    Args:
        path: the file; one of that name is replaced.
        pictures: each (height, width, 3) uint8 RGB, both sides even; at least one.
        rate: frames a second.
        keyframe_interval: frames from one keyframe to the next, at most; a cut in the video makes one too.

    Raises:
        ValueError: no pictures, or a side that is odd.
    """
    rest = iter(pictures)
    first = next(rest, None)
    if first is None:
        raise ValueError(f"{path}: no pictures were given: a video needs at least one")
    height, width = first.shape[:2]
    if height % 2 or width % 2:
        raise ValueError(f"{path}: pictures of {height}x{width} are not allowed: h264 needs even sides")
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"crf": "23", "preset": "veryfast", "g": str(keyframe_interval), "threads": "1"}
    with whole_file(path) as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for picture in chain([first], rest):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
