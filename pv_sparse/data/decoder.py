"""The packets of a video go through its decoder: all of them in order, or only those that some frames depend on."""

import contextlib
import itertools
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO

import av

from pv_sparse.data.container import Source, decode, read_packets
from pv_sparse.data.packet_index import Key, PacketIndex, Run

# Codecs whose decoders leave out unreferenced frames on request, to the last bit as if nothing were left out (tried).
SKIPPING_CODECS = frozenset({"h264", "hevc", "mpeg4"})

# Decoders that came into this process by a fork: freeing them would wait for threads that stayed behind.
_LEFT_BEHIND: list[Any] = []


class Decoder:
    """Decodes a video stream; opened again where no seek leads back to its first packet.

    Args:
        path, file: as in `Source`.
        threads: decoder threads; 0 is FFmpeg's own choice.

    Attributes:
        source: the open file.
        codec: FFmpeg's name of the codec, such as "h264".
        shape: (height, width) in pixels as coded.

    Raises:
        FileNotFoundError, VideoDecodeError: as `Source` does.
    """

    source: Source
    _context: Any = None

    def __init__(self, path: str, file: BinaryIO | None, threads: int):
        self._path, self._file, self._threads = path, file, threads
        self._process, self._probes = os.getpid(), False
        self._open()
        self.codec: str = self._context.codec.canonical_name
        self.shape: tuple[int, int] = (self._context.height, self._context.width)
        self._skippable = "NONREF" if self.codec in SKIPPING_CODECS else "DEFAULT"

    @property
    def declared_rate(self) -> Fraction:
        """Frames per second by the header; 0 where it does not tell."""
        return self.source.stream.average_rate or self.source.stream.guessed_rate or Fraction(0)

    def all_frames(self) -> Iterator[av.VideoFrame]:
        """Every frame in the order shown; packets that cannot be decoded are passed over, as players do."""
        self._reopen("SLICE")  # Decoding frames in parallel, damaged ones would be mended in another way each time.
        for packet in self._packets():
            yield from decode(self._context, packet)
        yield from decode(self._context, None)

    def frames_of(self, index: PacketIndex, run: Run) -> Iterator[av.VideoFrame]:
        """The frames that this run shows, leaving out what no other frame refers to.

        Raises:
            av.FFmpegError: at a packet that cannot be decoded.
        """
        self._context.flush_buffers()
        for packet in self._packets_from(index, run.key):
            if index.packet_of.get(packet.pts, run.stop) >= run.stop:
                break
            self._context.skip_frame = "DEFAULT" if packet.pts in run.timestamps else self._skippable
            yield from self._context.decode(packet)
        yield from self._context.decode(None)

    def probe_shape(self) -> bool:
        """Let the first frame tell `shape`, and not only the header; whether that changed it."""
        if self.source.probes:
            return False
        self._probes, told = True, self.shape
        self._reopen()
        self.shape = (self._context.height, self._context.width)
        return self.shape != told

    def close(self) -> None:
        """Allowed more than once. Threads end here, and not when garbage is collected, maybe in a forked process."""
        if self._process != os.getpid():
            _LEFT_BEHIND.append((self.source, self._context))
        else:
            self.source.close()
        self._context = None

    def __del__(self) -> None:
        """A decoder that nobody closed."""
        if self._context is not None:
            self.close()

    def _open(self, thread_type: str = "AUTO") -> None:
        self.source = Source(self._path, self._file, self._probes)
        self._context = self.source.stream.codec_context
        self._context.thread_count = self._threads
        self._context.thread_type = thread_type

    def _reopen(self, thread_type: str = "AUTO") -> None:
        """Back to the first packet, for containers that a seek does not bring there."""
        self.source.close()
        self._open(thread_type)

    def _packets(self) -> Iterator[Any]:
        return read_packets(self.source.container, self.source.stream)

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
        container, stream = self.source.container, self.source.stream
        by_decoding_time = key.dts is not None and (index.retimed or container.format.name == "mpegts")
        with contextlib.suppress(av.FFmpegError):  # Where it failed, the packets that follow show it.
            container.seek(key.dts if by_decoding_time else key.pts, stream=stream)

    def _skip_to(self, index: PacketIndex, key: Key) -> Iterator[Any]:
        packets = _retimed(self._packets(), index)
        return itertools.dropwhile(lambda packet: index.packet_of.get(packet.pts, -1) < key.packet, packets)


def _retimed(packets: Iterator[Any], index: PacketIndex) -> Iterator[Any]:
    """With the index's timestamps, which the decoder hands on to its frames."""
    if index.retimed is None:
        yield from packets
        return
    for packet in packets:
        packet.pts = index.retimed.get(packet.dts)
        yield packet
