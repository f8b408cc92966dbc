"""From decoded frames, in the decoder's own format, to one tensor: converted once, scaled once, and only if wanted."""

import functools

import av
import numpy as np
import torch
from torch import Tensor

from pv_sparse.data.numbers import target_size
from pv_sparse.data.segment_plan import Size

# Formats that swscale may convert to planes of red, green and blue directly, as the tensor wants them.
PLANAR_FORMATS = frozenset({"yuv420p", "yuvj420p"})
PLANES_OF_RGB = (2, 0, 1)  # swscale's order is green, blue, red
WHOLE_BLOCK = (2, 16)  # rows and columns: what lies past the last whole one, swscale of FFmpeg 8 converts wrongly


class Pictures:
    """The frames asked for, (T, 3, height, width) uint8, filled in as they are decoded, in any order.

    Args:
        numbers: the T frame numbers, repeats allowed.
        shape: (height, width) of the video as coded, which a frame of another size is scaled to.
        size: as in `SparseVideo.frames_at`.

    Attributes:
        has_scaled_others: whether a frame came that is of another size than `shape`.
    """

    def __init__(self, numbers: list[int], shape: tuple[int, int], size: Size | None):
        self._rows: dict[int, list[int]] = {}
        for row, number in enumerate(numbers):
            self._rows.setdefault(number, []).append(row)
        self._num_rows, self._shape, self._size = len(numbers), shape, size
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._frames: np.ndarray | None = None
        self.has_scaled_others = False

    def put(self, number: int, frame: av.VideoFrame) -> None:
        """Frame `number` is this one. A rotation noted in the file is applied."""
        turns = round(frame.rotation / 90) % 4
        self.has_scaled_others |= (frame.height, frame.width) != self._shape
        height, width = target_size(*_turned(self._shape, turns), self._size)
        if self._frames is None:
            self._frames = np.empty((self._num_rows, 3, height, width), np.uint8)
        first, *others = self._rows[number]
        if turns:
            picture = np.empty((3, *_turned((height, width), turns)), np.uint8)
            self._convert(frame, picture)
            self._frames[first] = np.rot90(picture, turns, axes=(1, 2))
        else:
            self._convert(frame, self._frames[first])
        for row in others:
            self._frames[row] = self._frames[first]

    def stacked(self) -> Tensor:
        """All of them."""
        if self._frames is None:
            return torch.empty((0, 3, *target_size(*self._shape, self._size)), dtype=torch.uint8)
        return torch.from_numpy(self._frames)

    def _convert(self, frame: av.VideoFrame, picture: np.ndarray) -> None:
        """Into `picture`, (3, height, width)."""
        height, width = picture.shape[1:]
        is_same_size = (frame.height, frame.width) == (height, width)
        is_whole = height % WHOLE_BLOCK[0] == 0 and width % WHOLE_BLOCK[1] == 0
        if is_same_size and is_whole and _converts_to_planes(frame.format.name):
            planes = self._reformatter.reformat(frame, format="gbrp").planes
            for channel, place in enumerate(PLANES_OF_RGB):
                picture[channel] = _rows_of(planes[place], width)
        else:
            packed = self._reformatter.reformat(frame, width=width, height=height, format="rgb24").planes[0]
            picture[:] = _rows_of(packed, 3 * width).reshape(height, width, 3).transpose(2, 0, 1)


@functools.cache
def _converts_to_planes(pixel_format: str) -> bool:
    """Whether this FFmpeg's direct conversion is, to the last bit, the one by way of rgb24: tried on a picture."""
    if pixel_format not in PLANAR_FORMATS:
        return False
    height, width = 17 * WHOLE_BLOCK[0], 5 * WHOLE_BLOCK[1]
    noise = np.random.default_rng(0).integers(0, 256, (height * 3 // 2, width), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(noise, format=pixel_format)
    planes, packed = frame.reformat(format="gbrp").planes, frame.reformat(format="rgb24").planes[0]
    expected = _rows_of(packed, 3 * width).reshape(height, width, 3)
    return all(
        np.array_equal(_rows_of(planes[place], width), expected[:, :, channel])
        for channel, place in enumerate(PLANES_OF_RGB)
    )


def _rows_of(plane: av.video.plane.VideoPlane, width: int) -> np.ndarray:
    """(height, width) bytes of a plane, without a copy: they go with the plane."""
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, :width]


def _turned(shape: tuple[int, int], turns: int) -> tuple[int, int]:
    return shape[::-1] if turns % 2 else shape
