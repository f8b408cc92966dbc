"""SparseVideo: any frames of a video by number, decoding as little as it can.

1. Only packets that a wanted frame can depend on are decoded: from the keyframe at or before it, leaving out frames
   that no other frame refers to.
2. A seek happens where a keyframe lies ahead of the next wanted frame, and only there.
3. Local files are opened by path; one scan of the packets, without decoding, finds the frames and keyframes. Where a
   scan cannot prove them (`scan`), the frames are counted by decoding once, and read in order.
4. Frame numbers are those of a full decode: frame i is the i-th that it shows. A run that does not show what the scan
   promised is thrown away, and the video is read in order.
"""

import contextlib
import functools
import itertools
import os
from collections.abc import Iterable
from fractions import Fraction
from typing import BinaryIO, Self

import av
import numpy as np
import torch
from torch import Tensor

from pv_sparse.data.closing import Closing
from pv_sparse.data.container import declared_num_frames
from pv_sparse.data.decoder import Decoder
from pv_sparse.data.numbers import as_numbers
from pv_sparse.data.packet_index import PacketIndex, Run
from pv_sparse.data.pictures import Pictures
from pv_sparse.data.scan import scan
from pv_sparse.data.segment_plan import Size
from pv_sparse.data.segments import Packets
from pv_sparse.data.timeline import Timeline
from pv_sparse.errors import VideoDecodeError


class SparseVideo(Closing):
    """A video file of which any frames can be had by number.

    Attributes:
        path: the file, as it was given.
        num_frames: the frames that a full decode shows.
        frame_times_seconds: (num_frames,) float64, when each frame is shown, counted from the first.
        duration_seconds: from the start of the first frame to the end of the last, a Fraction.
        average_rate: frames per second over the whole video, a Fraction; 0 where one frame and no header tell it.
        height, width: pixels of the frames that `frames_at` gives, a rotation applied; decodes the first frame once.
        codec: FFmpeg's name of the codec, such as "h264".
        keyframes: numbers of the frames that are keyframes, ascending.
        packets: the keyframes, and the bytes that each frame takes in the file: what guided sampling goes by.
        decoded_share: of the frames that the file's header declares, the share that is there, at most 1.0; 1.0 where
            it declares none. A file that was cut off has less.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None, file: BinaryIO | None = None):
        """Open `path` and find its frames.

        Args:
            path: a local path, or a URI that iopath's global path manager can open.
            threads: decoder threads; None is one in a DataLoader worker, and FFmpeg's own choice, 0, elsewhere. Damaged
                pictures, which decoders conceal, can differ between one thread and several.
            file: holds the video in place of `path`, which then only names it: a binary file object that can seek. It
                is read from its start, and left open.

        Raises:
            FileNotFoundError: there is no such file.
            VideoDecodeError: it is not a video, or no frame of it can be decoded.
        """
        self.path = os.fspath(path)
        self._is_closed = False
        self._decoder = Decoder(self.path, file, _threads_for_context() if threads is None else threads)
        self.codec: str = self._decoder.codec
        try:
            self._find_frames()
        except BaseException:
            self.close()
            raise

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], threads: int | None = None) -> Self:
        """The video at `path`; see `SparseVideo`."""
        return cls(path, threads)

    def frames_at(self, indices: Iterable[int] | Tensor | np.ndarray, size: Size | None = None) -> Tensor:
        """The frames with these numbers, in any order, repeats allowed.

        Args:
            indices: T frame numbers in [0, num_frames); a tensor or array of any shape is read row by row.
            size: pixels of the frames returned: None as the video has them, an int for the shorter side, or
                (height, width). Frames are scaled once, by swscale's bilinear filter, as they are converted.

        Returns:
            (T, 3, height, width) uint8, RGB, contiguous, on the CPU. A rotation noted in the file is applied.

        Raises:
            IndexError: a number outside [0, num_frames).
            TypeError: numbers that are not integers.
            ValueError: the video was closed, or a size below one pixel.
            VideoDecodeError: a frame that cannot be decoded.
        """
        if self._is_closed:
            raise ValueError(f"{self.path}: the video was closed: read frames before close(), or open it again")
        numbers = as_numbers(indices, self.num_frames, self.path)
        pictures = self._read(numbers, size)
        if pictures.has_scaled_others and self._decoder.probe_shape():
            pictures = self._read(numbers, size)
        return pictures.stacked()

    def frames_between(self, start_seconds: float | Fraction, end_seconds: float | Fraction) -> range:
        """The numbers of the frames that start in [start_seconds, end_seconds), times as in `frame_times_seconds`.

        Fractions are compared exactly; floats are rounded to ticks of the video as the host rounds them.
        """
        return self._timeline.frames_between(start_seconds, end_seconds)

    @functools.cached_property
    def _shape(self) -> torch.Size:
        return self.frames_at([0]).shape

    @property
    def height(self) -> int:
        return self._shape[2]

    @property
    def width(self) -> int:
        return self._shape[3]

    def close(self) -> None:
        """Give the file back; no more frames can be had. Closing twice is allowed."""
        self._is_closed = True
        self._decoder.close()

    def __repr__(self) -> str:
        return f"SparseVideo({self.path!r}, num_frames={self.num_frames}, average_rate={float(self.average_rate):.3f})"

    # Opening

    def _find_frames(self) -> None:
        table, self._index = scan(self._decoder.source)
        if self._index is None:
            self._count_by_decoding()
        else:
            self._set_frames(len(self._index.timestamps), self._index.timestamps, self._index.packets)
        declared = declared_num_frames(self._decoder.source, table, self.average_rate)
        self.decoded_share = min(1.0, self.num_frames / declared) if declared else 1.0

    def _count_by_decoding(self) -> None:
        frames = [(frame.pts, frame.key_frame) for frame in self._decoder.all_frames()]
        if not frames:
            raise VideoDecodeError(self.path, "no frame of it can be decoded")
        self._index = None
        known = [pts for pts, _ in frames if pts is not None]
        timestamps = np.sort(np.array(known, np.int64)) if len(known) == len(frames) else None
        keyframes = [number for number, (_, is_key) in enumerate(frames) if is_key]
        self._set_frames(len(frames), timestamps, Packets(keyframes=keyframes))

    def _set_frames(self, num_frames: int, timestamps: np.ndarray | None, packets: Packets) -> None:
        """Timestamps in the stream's time base, or None where frames have none."""
        time_base, rate = self._decoder.source.stream.time_base, self._decoder.declared_rate
        if timestamps is None or not time_base:
            self._timeline = Timeline.at_rate(num_frames, rate)
        else:
            self._timeline = Timeline.of_timestamps(timestamps, time_base, rate)
        self.num_frames, self.frame_times_seconds = num_frames, self._timeline.seconds
        self.average_rate, self.duration_seconds = self._timeline.average_rate, self._timeline.duration_seconds
        self.packets, self.keyframes = packets, list(packets.keyframes)

    # Reading

    def _read(self, rows: list[int], size: Size | None) -> Pictures:
        pictures, numbers = Pictures(rows, self._decoder.shape, size), sorted(set(rows))
        is_read = not rows or (self._index is not None and self._read_by_seeking(self._index, numbers, pictures))
        if not is_read:
            self._read_in_order(numbers, pictures)
        return pictures

    def _read_in_order(self, numbers: list[int], pictures: Pictures) -> None:
        if self._index is not None:
            self._count_by_decoding()
        if numbers[-1] >= self.num_frames:
            raise VideoDecodeError(self.path, f"only {self.num_frames} frames can be decoded", frame=numbers[-1])
        wanted = set(numbers)
        for number, frame in enumerate(itertools.islice(self._decoder.all_frames(), numbers[-1] + 1)):
            if number in wanted:
                pictures.put(number, frame)

    def _read_by_seeking(self, index: PacketIndex, numbers: list[int], pictures: Pictures) -> bool:
        """Whether the decoder did what the packets promised, without an error: what comes after one may be wrong."""
        number_of = dict(zip(index.timestamps[numbers].tolist(), numbers, strict=True))
        with contextlib.suppress(av.FFmpegError):
            return all(self._read_run(index, run, number_of, pictures) for run in index.runs(numbers))
        return False

    def _read_run(self, index: PacketIndex, run: Run, number_of: dict[int, int], pictures: Pictures) -> bool:
        missing, last = set(run.timestamps), None
        # Decoded from anything else than a sound keyframe, frames may look fine and be wrong.
        is_started = run.key.pts < index.timestamps[0]  # cut away by an edit list
        for frame in self._decoder.frames_of(index, run):
            if frame.pts is None or (last is not None and frame.pts <= last):
                return False
            last = frame.pts
            is_started = is_started or (last == run.key.pts and frame.key_frame and not frame.is_corrupt)
            if is_started and last in missing and not frame.is_corrupt:
                missing.remove(last)
                pictures.put(number_of[last], frame)
        return not missing


def _threads_for_context() -> int:
    return 1 if torch.utils.data.get_worker_info() is not None else 0
