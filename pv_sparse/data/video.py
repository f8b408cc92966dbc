"""SparseVideo: any frames of a video by number, decoding as little as it can.

1. Only packets that a wanted frame can depend on are decoded: from the keyframe at or before it, leaving out frames
   that no other frame refers to.
2. A seek happens where a keyframe lies ahead of the next wanted frame, and only there.
3. Local files are opened by path; one scan of the packets, without decoding, finds the frames and keyframes. Where a
   scan cannot prove them (`packet_index`), the frames are counted by decoding once, and read in order.
4. Frame numbers are those of a full decode: frame i is the i-th that it shows. A run that does not show what the scan
   promised is thrown away, and the video is read in order.
"""

import contextlib
import itertools
import math
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from types import TracebackType
from typing import Any, BinaryIO, Self

import av
import numpy as np
import torch
from torch import Tensor

from pv_sparse.data.container import Source, declared_num_frames, decode, read_packets, scan_packets
from pv_sparse.data.packet_index import Key, PacketIndex, Run, index_packets
from pv_sparse.data.segment_plan import Size
from pv_sparse.data.segments import Packets
from pv_sparse.errors import VideoDecodeError

# Codecs whose decoders leave out unreferenced frames on request, to the last bit as if nothing were left out (tried).
SKIPPING_CODECS = frozenset({"h264", "hevc", "mpeg4"})

# Videos that came into this process by a fork: freeing their decoders would wait for threads that stayed behind.
_LEFT_BEHIND: list[Any] = []


class SparseVideo:
    """A video file of which any frames can be had by number.

    Attributes:
        path: the file, as it was given.
        num_frames: the frames that a full decode shows.
        frame_times_seconds: (num_frames,) float64, when each frame is shown, counted from the first.
        duration_seconds: from the start of the first frame to the end of the last, a Fraction.
        average_rate: frames per second over the whole video, a Fraction; 0 where one frame and no header tell it.
        keyframes: numbers of the frames that are keyframes, ascending.
        packets: the keyframes, and the bytes that each frame takes in the file: what guided sampling goes by.
        decoded_share: of the frames that the file's header declares, the share that is there, at most 1.0; 1.0 where
            it declares none. A file that was cut off has less.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None, file: BinaryIO | None = None):
        """Open `path` and find its frames.

        Args:
            path: a local path, or a URI that iopath's global path manager can open.
            threads: decoder threads; None is one in a DataLoader worker, and FFmpeg's own choice elsewhere.
            file: holds the video in place of `path`, which then only names it: a binary file object that can seek. It
                is read from its start, and left open.

        Raises:
            FileNotFoundError: there is no such file.
            VideoDecodeError: it is not a video, or no frame of it can be decoded.
        """
        self.path = os.fspath(path)
        self._file = file
        self._threads = _threads_for_context() if threads is None else threads
        self._process = os.getpid()
        self._is_closed = False
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._open()
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
        numbers = _as_numbers(indices)
        for number in numbers:
            if not 0 <= number < self.num_frames:
                raise IndexError(f"frame {number} is outside 0 to {self.num_frames - 1}, the frames of {self.path}")
        if not numbers:
            return torch.empty((0, 3, *_target_size(self._height, self._width, size)), dtype=torch.uint8)
        pictures = self._pictures(sorted(set(numbers)), size)
        return torch.stack([pictures[number] for number in numbers])

    def frames_between(self, start_seconds: float | Fraction, end_seconds: float | Fraction) -> range:
        """The numbers of the frames that start in [start_seconds, end_seconds), times as in `frame_times_seconds`.

        Fractions are compared exactly; floats are rounded to ticks of the video as the host rounds them.
        """
        if not self._tick_seconds:
            return range(start_seconds <= 0 < end_seconds)
        bounds = (math.ceil(seconds / self._tick_seconds) for seconds in (start_seconds, end_seconds))
        return range(*(bisect_left(self._ticks, bound) for bound in bounds))

    def close(self) -> None:
        """Give the file back; no more frames can be had. Closing twice is allowed."""
        self._is_closed = True
        self._source.close()

    def __del__(self) -> None:
        """A video that nobody closed; left to garbage collection, its decoder could be freed in a forked worker."""
        if "_context" not in vars(self):
            return
        if self._process == os.getpid():
            self.close()
        else:
            _LEFT_BEHIND.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SparseVideo({self.path!r}, num_frames={self.num_frames}, average_rate={float(self.average_rate):.3f})"

    # Opening

    def _open(self, thread_type: str = "AUTO") -> None:
        self._source = Source(self.path, self._file)
        self._container, self._stream = self._source.container, self._source.stream
        self._context = self._stream.codec_context
        self._context.thread_count = self._threads
        self._context.thread_type = thread_type
        self._skippable = "NONREF" if self._codec in SKIPPING_CODECS else "DEFAULT"
        self._height, self._width = self._context.height, self._context.width

    @property
    def _codec(self) -> str:
        return self._context.codec.canonical_name

    def _reopen(self, thread_type: str = "AUTO") -> None:
        """Back to the first packet, for containers that a seek does not bring there."""
        self._source.close()
        self._open(thread_type)

    def _find_frames(self) -> None:
        packets = scan_packets(self._container, self._stream)
        self._index = index_packets(packets, self._codec, self._container.format.name, self._context.has_b_frames)
        if self._index is None:
            self._count_by_decoding()
        else:
            self.keyframes = self._index.keyframes()
            sizes = [packets[self._index.packet_of[timestamp]].size for timestamp in self._index.timestamps]
            self.packets = Packets(sizes, self.keyframes)
            self._set_times(self._index.timestamps)
        declared = declared_num_frames(self._source, packets, self.average_rate)
        self.decoded_share = min(1.0, self.num_frames / declared) if declared else 1.0

    def _count_by_decoding(self) -> None:
        frames = [(frame.pts, frame.key_frame) for frame in self._decode_all()]
        if not frames:
            raise VideoDecodeError(self.path, "no frame of it can be decoded")
        self._index = None
        self.keyframes = [number for number, (_, is_key) in enumerate(frames) if is_key]
        self.packets = Packets((), self.keyframes)
        self._set_times([pts for pts, _ in frames])

    def _set_times(self, timestamps: Sequence[int | None]) -> None:
        known = sorted(pts for pts in timestamps if pts is not None)
        declared_rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(0)
        self.num_frames = len(timestamps)
        if len(known) == self.num_frames and self._stream.time_base:
            step = self._stream.time_base
            ticks = [pts - known[0] for pts in known]
        else:
            step = 1 / declared_rate if declared_rate else Fraction(0)
            ticks = list(range(self.num_frames))
        self._ticks, self._tick_seconds = ticks, step
        self.frame_times_seconds = torch.tensor([float(tick * step) for tick in ticks], dtype=torch.float64)
        self.average_rate = _average_rate(ticks[-1] * step, self.num_frames, declared_rate)
        self.duration_seconds = ticks[-1] * step + (1 / self.average_rate if self.average_rate else 0)

    # Decoding

    def _pictures(self, numbers: list[int], size: Size | None) -> dict[int, Tensor]:
        if self._index is not None:
            pictures = self._pictures_by_seeking(self._index, numbers, size)
            if len(pictures) == len(numbers):
                return pictures
            self._count_by_decoding()
        if numbers[-1] >= self.num_frames:
            raise VideoDecodeError(self.path, f"only {self.num_frames} frames can be decoded", frame=numbers[-1])
        return self._pictures_in_order(numbers, size)

    def _pictures_by_seeking(self, index: PacketIndex, numbers: list[int], size: Size | None) -> dict[int, Tensor]:
        """By frame number; fewer than asked for where the decoder does not do what the packets promised."""
        number_of = {index.timestamps[number]: number for number in numbers}
        pictures: dict[int, Tensor] = {}
        for run in index.runs(numbers):
            last = None
            for frame in self._decode_run(index, run):
                if frame.pts is None or (last is not None and frame.pts <= last):
                    return {}
                last = frame.pts
                if frame.pts in run.timestamps and not frame.is_corrupt:
                    pictures[number_of[frame.pts]] = self._picture(frame, size)
        return pictures

    def _pictures_in_order(self, numbers: list[int], size: Size | None) -> dict[int, Tensor]:
        wanted = set(numbers)
        shown = enumerate(itertools.islice(self._decode_all(), numbers[-1] + 1))
        return {number: self._picture(frame, size) for number, frame in shown if number in wanted}

    def _decode_run(self, index: PacketIndex, run: Run) -> Iterator[av.VideoFrame]:
        self._context.flush_buffers()
        for packet in self._packets_from(index, run.key):
            if index.packet_of.get(packet.pts, run.stop) >= run.stop:
                break
            self._context.skip_frame = "DEFAULT" if packet.pts in run.timestamps else self._skippable
            yield from decode(self._context, packet)
        yield from decode(self._context, None)

    def _packets_from(self, index: PacketIndex, key: Key) -> Iterator[Any]:
        """The packets from `key` on. A seek that lands behind it is made good by reopening."""
        self._seek(key)
        packets = self._skip_to(index, key)
        first = next(packets, None)
        if first is None or first.pts != key.pts:
            self._reopen()
            return self._skip_to(index, key)
        return itertools.chain([first], packets)

    def _seek(self, key: Key) -> None:
        # MPEG-TS is searched by decoding time, the other containers by presentation time.
        by_decoding_time = self._container.format.name == "mpegts" and key.dts is not None
        with contextlib.suppress(av.FFmpegError):  # Where it failed, the packets that follow show it.
            self._container.seek(key.dts if by_decoding_time else key.pts, stream=self._stream)

    def _skip_to(self, index: PacketIndex, key: Key) -> Iterator[Any]:
        packets = read_packets(self._container, self._stream)
        return itertools.dropwhile(lambda packet: index.packet_of.get(packet.pts, -1) < key.packet, packets)

    def _decode_all(self) -> Iterator[av.VideoFrame]:
        """Every frame in the order shown; packets that cannot be decoded are passed over, as players do."""
        self._reopen("SLICE")  # Decoding frames in parallel, damaged ones would be mended in another way each time.
        for packet in read_packets(self._container, self._stream):
            yield from decode(self._context, packet)
        yield from decode(self._context, None)

    def _picture(self, frame: av.VideoFrame, size: Size | None) -> Tensor:
        """(3, height, width) uint8 RGB; a frame of another size than the video's first is scaled to it."""
        turns = round(frame.rotation / 90) % 4
        shape = (self._width, self._height) if turns % 2 else (self._height, self._width)
        height, width = _target_size(*shape, size)
        if turns % 2:
            height, width = width, height
        rgb = self._reformatter.reformat(frame, width=width, height=height, format="rgb24")
        plane = rgb.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)[:, : 3 * width]
        picture = torch.from_numpy(rows.reshape(height, width, 3)).permute(2, 0, 1)
        return torch.rot90(picture, turns, dims=(1, 2)).contiguous()


def _threads_for_context() -> int:
    return 1 if torch.utils.data.get_worker_info() is not None else 0


def _as_numbers(indices: Iterable[int] | Tensor | np.ndarray) -> list[int]:
    numbers = np.asarray(indices if hasattr(indices, "shape") else list(indices)).reshape(-1)
    if numbers.size and numbers.dtype.kind not in "iu":
        raise TypeError(f"frame numbers must be integers, not {numbers.dtype}")
    return numbers.tolist()


def _average_rate(span_seconds: Fraction, num_frames: int, declared: Fraction) -> Fraction:
    """The header's rate where it agrees with the frames' times within a hundredth, else the times' own."""
    if not span_seconds:
        return declared
    measured = (num_frames - 1) / Fraction(span_seconds)
    return declared if abs(declared - measured) * 100 <= measured else measured


def _target_size(height: int, width: int, size: Size | None) -> tuple[int, int]:
    if size is None:
        return height, width
    if min((size,) if isinstance(size, int) else size) < 1:
        raise ValueError(f"size={size} is not allowed: give the shorter side, or (height, width), in pixels from 1 on")
    if isinstance(size, tuple):
        return size
    short = min(height, width)
    return size * height // short, size * width // short
