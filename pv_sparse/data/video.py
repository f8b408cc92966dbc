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
import functools
import itertools
import math
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from types import TracebackType
from typing import Any, BinaryIO, Self

import av
import numpy as np
import torch
from torch import Tensor

from pv_sparse.data.container import (
    Source,
    declared_num_frames,
    decode,
    read_packets,
    scan_coded_packets,
    scan_packets,
)
from pv_sparse.data.header_index import packets_by_header
from pv_sparse.data.mpeg4_order import index_by_kinds
from pv_sparse.data.numbers import as_numbers
from pv_sparse.data.packet_index import Key, PacketIndex, PacketTable, Run, index_packets
from pv_sparse.data.pictures import Pictures
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
        height, width: pixels of the frames that `frames_at` gives, a rotation applied; decodes the first frame once.
        codec: FFmpeg's name of the codec, such as "h264".
        keyframes: numbers of the frames that are keyframes, ascending.
        packets: the keyframes, and the bytes that each frame takes in the file: what guided sampling goes by.
        decoded_share: of the frames that the file's header declares, the share that is there, at most 1.0; 1.0 where
            it declares none. A file that was cut off has less.
    """

    _container: Any
    _stream: Any
    _context: Any

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
        self._file = file
        self._threads = _threads_for_context() if threads is None else threads
        self._process = os.getpid()
        self._is_closed = False
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
        numbers = as_numbers(indices, self.num_frames, self.path)
        pictures = Pictures(numbers, (self._height, self._width), size)
        if numbers:
            self._read(sorted(set(numbers)), pictures)
        return pictures.stacked()

    def frames_between(self, start_seconds: float | Fraction, end_seconds: float | Fraction) -> range:
        """The numbers of the frames that start in [start_seconds, end_seconds), times as in `frame_times_seconds`.

        Fractions are compared exactly; floats are rounded to ticks of the video as the host rounds them.
        """
        if not self._tick_seconds:
            return range(start_seconds <= 0 < end_seconds)
        bounds = [math.ceil(seconds / self._tick_seconds) for seconds in (start_seconds, end_seconds)]
        return range(*np.searchsorted(self._ticks, bounds).tolist())

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
        if self._process != os.getpid():
            _LEFT_BEHIND.append((self._source, self._container, self._stream, self._context))
        else:
            self._source.close()
        # The decoder's threads end here, and not when garbage is collected, maybe in a forked process.
        self._container = self._stream = self._context = None

    def __del__(self) -> None:
        """A video that nobody closed."""
        if "_context" in vars(self):
            self.close()

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
        self._container = self._source.container
        self._stream = self._source.stream
        self._context = self._stream.codec_context
        self._context.thread_count = self._threads
        self._context.thread_type = thread_type
        self.codec: str = self._context.codec.canonical_name
        self._skippable = "NONREF" if self.codec in SKIPPING_CODECS else "DEFAULT"
        self._height, self._width = self._context.height, self._context.width

    def _reopen(self, thread_type: str = "AUTO") -> None:
        """Back to the first packet, for containers that a seek does not bring there."""
        self._source.close()
        self._open(thread_type)

    def _find_frames(self) -> None:
        table = packets_by_header(self._source) or scan_packets(self._container, self._stream)
        self._index = self._index_of(table)
        if self._index is None:
            self._count_by_decoding()
        else:
            self._set_frames(self._index.packets, self._index.timestamps)
        declared = declared_num_frames(self._source, table, self.average_rate)
        self.decoded_share = min(1.0, self.num_frames / declared) if declared else 1.0

    def _index_of(self, table: PacketTable) -> PacketIndex | None:
        container, reorders = self._container.format.name, self._context.has_b_frames
        if container == "avi" and self.codec == "mpeg4" and reorders and not table.has_corrupt:
            self._reopen()
            return index_by_kinds(scan_coded_packets(self._container, self._stream))
        return index_packets(table, self.codec, container, reorders)

    def _count_by_decoding(self) -> None:
        frames = [(frame.pts, frame.key_frame) for frame in self._decode_all()]
        if not frames:
            raise VideoDecodeError(self.path, "no frame of it can be decoded")
        self._index = None
        keyframes = [number for number, (_, is_key) in enumerate(frames) if is_key]
        known = [pts for pts, _ in frames if pts is not None]
        timestamps = np.sort(np.array(known, np.int64)) if len(known) == len(frames) else None
        self._set_frames(Packets(keyframes=keyframes), timestamps, len(frames))

    def _set_frames(self, packets: Packets, timestamps: np.ndarray | None, num_frames: int = 0) -> None:
        """Timestamps in the stream's time base, or None where frames have none: then the header's rate tells times."""
        declared_rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(0)
        if timestamps is not None and self._stream.time_base:
            self._ticks, self._tick_seconds = timestamps - timestamps[0], self._stream.time_base
        else:
            self._ticks = np.arange(num_frames if timestamps is None else len(timestamps))
            self._tick_seconds = 1 / declared_rate if declared_rate else Fraction(0)
        self.packets, self.keyframes, self.num_frames = packets, list(packets.keyframes), len(self._ticks)
        step = self._tick_seconds
        self.frame_times_seconds = torch.from_numpy(self._ticks * float(step.numerator) / step.denominator)
        span = int(self._ticks[-1]) * step
        self.average_rate = _average_rate(span, self.num_frames, declared_rate)
        self.duration_seconds = span + (1 / self.average_rate if self.average_rate else 0)

    # Decoding

    def _read(self, numbers: list[int], pictures: Pictures) -> None:
        if self._index is not None:
            if self._read_by_seeking(self._index, numbers, pictures):
                return
            self._count_by_decoding()
        if numbers[-1] >= self.num_frames:
            raise VideoDecodeError(self.path, f"only {self.num_frames} frames can be decoded", frame=numbers[-1])
        wanted = set(numbers)
        for number, frame in enumerate(itertools.islice(self._decode_all(), numbers[-1] + 1)):
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
        for frame in self._decode_run(index, run):
            if frame.pts is None or (last is not None and frame.pts <= last):
                return False
            last = frame.pts
            is_started = is_started or (last == run.key.pts and frame.key_frame and not frame.is_corrupt)
            if is_started and last in missing and not frame.is_corrupt:
                missing.remove(last)
                pictures.put(number_of[last], frame)
        return not missing

    def _decode_run(self, index: PacketIndex, run: Run) -> Iterator[av.VideoFrame]:
        self._context.flush_buffers()
        for packet in self._packets_from(index, run.key):
            if index.packet_of.get(packet.pts, run.stop) >= run.stop:
                break
            self._context.skip_frame = "DEFAULT" if packet.pts in run.timestamps else self._skippable
            yield from self._context.decode(packet)
        yield from self._context.decode(None)

    def _packets_from(self, index: PacketIndex, key: Key) -> Iterator[Any]:
        """The packets from `key` on. A seek that lands behind it is made good by reopening."""
        self._seek(index, key)
        packets = self._skip_to(index, key)
        first = next(packets, None)
        if first is None or first.pts != key.pts:
            self._reopen()
            return self._skip_to(index, key)
        return itertools.chain([first], packets)

    def _seek(self, index: PacketIndex, key: Key) -> None:
        # MPEG-TS is searched by decoding time, as is AVI; the other containers by presentation time.
        by_decoding_time = key.dts is not None and (index.retimed or self._container.format.name == "mpegts")
        with contextlib.suppress(av.FFmpegError):  # Where it failed, the packets that follow show it.
            self._container.seek(key.dts if by_decoding_time else key.pts, stream=self._stream)

    def _skip_to(self, index: PacketIndex, key: Key) -> Iterator[Any]:
        packets = _retimed(read_packets(self._container, self._stream), index)
        return itertools.dropwhile(lambda packet: index.packet_of.get(packet.pts, -1) < key.packet, packets)

    def _decode_all(self) -> Iterator[av.VideoFrame]:
        """Every frame in the order shown; packets that cannot be decoded are passed over, as players do."""
        self._reopen("SLICE")  # Decoding frames in parallel, damaged ones would be mended in another way each time.
        for packet in read_packets(self._container, self._stream):
            yield from decode(self._context, packet)
        yield from decode(self._context, None)


def _retimed(packets: Iterator[Any], index: PacketIndex) -> Iterator[Any]:
    """With the index's timestamps, which the decoder hands on to its frames."""
    if index.retimed is None:
        yield from packets
        return
    for packet in packets:
        packet.pts = index.retimed.get(packet.dts)
        yield packet


def _threads_for_context() -> int:
    return 1 if torch.utils.data.get_worker_info() is not None else 0


def _average_rate(span_seconds: Fraction, num_frames: int, declared: Fraction) -> Fraction:
    """The header's rate where it agrees with the frames' times within a hundredth, else the times' own."""
    if not span_seconds:
        return declared
    measured = (num_frames - 1) / Fraction(span_seconds)
    return declared if abs(declared - measured) * 100 <= measured else measured
