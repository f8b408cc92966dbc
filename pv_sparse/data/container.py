"""A video file as FFmpeg sees it: opened, its packets read and decoded, its header's promises."""

import contextlib
import os
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
from iopath.common.file_io import g_pathmgr

from pv_sparse.data.mpeg4_order import CodedPacket, kinds_of
from pv_sparse.data.packet_index import Packet, PacketTable
from pv_sparse.errors import VideoDecodeError


class Source:
    """An open video file: its container, its first video stream, and what must be closed after them.

    `file` holds the video instead of `path`, which then only names it; it is read from its start and left open.

    Raises:
        FileNotFoundError: there is no such file.
        VideoDecodeError: it is not a video.
    """

    def __init__(self, path: str, file: BinaryIO | None = None):
        self._path, self._is_ours = path, file is None
        if file is not None:
            file.seek(0)
        self._file = file if file is not None or _is_local(path) else g_pathmgr.open(path, "rb")
        try:
            self.container: Any = _open_container(self._file or path)
        except av.FFmpegError as error:
            self._close_file()
            is_no_video = isinstance(error, av.error.InvalidDataError)
            told = "it is not a video, or its header is damaged" if is_no_video else "it cannot be opened"
            raise VideoDecodeError(path, f"{told} ({_reason(error)})") from error
        # The cover of an audio file is a video stream to FFmpeg.
        covers = av.stream.Disposition.attached_pic
        streams = [stream for stream in self.container.streams.video if not stream.disposition & covers]
        if not streams:
            self.close()
            raise VideoDecodeError(path, "it holds no video stream")
        self.stream: Any = streams[0]
        if self.stream.codec_context is None:
            self.close()
            raise VideoDecodeError(path, "its video is in a codec that FFmpeg does not know")

    def close(self) -> None:
        """Allowed more than once."""
        if self.container is not None:
            self.container.close()
        self.container = self.stream = None
        self._close_file()

    @property
    def num_bytes(self) -> int:
        """Of the whole file."""
        if self._file is None:
            return os.path.getsize(self._path)
        with self.raw_file() as file:
            return file.seek(0, os.SEEK_END)

    @contextlib.contextmanager
    def raw_file(self) -> Iterator[BinaryIO]:
        """The file's bytes. FFmpeg finds a remote file at the place where it left it."""
        if self._file is None:
            with Path(self._path).open("rb") as file:
                yield file
            return
        place = self._file.tell()
        try:
            yield self._file
        finally:
            self._file.seek(place)

    def _close_file(self) -> None:
        if self._file is not None and self._is_ours:
            self._file.close()


def _open_container(source: Any) -> Any:
    """PyAV before 19 refuses metadata that is not UTF-8, which HMDB51 has, unless it is told to ignore it."""
    try:
        return av.open(source)
    except UnicodeDecodeError:
        if not isinstance(source, str):
            source.seek(0)
        return av.open(source, metadata_errors="ignore")


def _is_local(path: str) -> bool:
    """Whether FFmpeg can open the path itself; an error for one that it never could."""
    if "://" in path:
        return False
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file")
    if os.path.isdir(path):
        raise VideoDecodeError(path, "it is a folder, not a video file")
    if os.path.getsize(path) == 0:
        raise VideoDecodeError(path, "the file is empty")
    return True


def _reason(error: av.FFmpegError) -> str:
    """FFmpeg's own words, with those of its log where it wrote any."""
    said = str(error.log[-1]).strip() if error.log else ""
    return f"{error.strerror}: {said}" if said else str(error.strerror)


def scan_packets(container: Any, stream: Any) -> PacketTable:
    packets = read_packets(container, stream)
    return PacketTable.of(Packet(p.pts, p.dts, p.size, p.is_keyframe, p.is_discard, p.is_corrupt) for p in packets)


def scan_coded_packets(container: Any, stream: Any) -> list[CodedPacket]:
    """For MPEG-4 Part 2."""
    packets = read_packets(container, stream)
    return [CodedPacket(p.dts, p.size, p.is_keyframe, kinds_of(bytes(p))) for p in packets if not p.is_corrupt]


def read_packets(container: Any, stream: Any) -> Iterator[Any]:
    """The stream's packets up to the end of the file, or to the place where the container itself is broken."""
    while True:
        try:
            yield from (packet for packet in container.demux(stream) if packet.size)
        except IndexError:
            # PyAV, at a packet of another stream that appears only now, such as audio that begins late: it is past that
            # packet, and goes on when it is asked again.
            continue
        except av.FFmpegError:
            return
        return


def decode(context: Any, packet: Any) -> list[av.VideoFrame]:
    try:
        return context.decode(packet)
    except av.FFmpegError:
        return []


def declared_num_frames(source: Source, table: PacketTable, rate: Fraction) -> int:
    """What the header promises, less what an edit list cuts away; by duration where it counts no frames; 0: nothing."""
    if "mp4" in source.container.format.name and source.stream.frames:
        return source.stream.frames - int(table.is_discard.sum())
    end_seconds = _declared_end_seconds(source.container, source.stream)
    start = int(table.pts.min()) if table.pts is not None and len(table) else 0
    return round((end_seconds - start * source.stream.time_base) * rate) if end_seconds else 0


def _declared_end_seconds(container: Any, stream: Any) -> Fraction | None:
    if container.format.name == "mpegts":
        return None  # It declares no duration: what FFmpeg reports is read off the file's end.
    if container.format.name == "avi":
        return stream.frames * stream.time_base  # FFmpeg scales the duration down where a file was cut off.
    if stream.duration is not None:
        return stream.duration * stream.time_base
    tag = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    if tag:
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + Fraction(tag[3])
    if container.duration is not None and len(container.streams) == 1:
        return Fraction(container.duration, av.time_base)
    return None
