"""A video file as FFmpeg sees it: opened, its packets read and decoded, its header's promises."""

import contextlib
import functools
import os
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from iopath.common.file_io import g_pathmgr

from pv_sparse.data.mp4_boxes import composition_offsets, is_mp4
from pv_sparse.data.packet_index import PacketTable
from pv_sparse.errors import VideoDecodeError

# Opening a file, FFmpeg decodes up to 5 MB of it to learn what the header may leave open; not so with these.
HEADER_ONLY = {"skip_frame": "all", "probesize": "32"}


class Source:
    """An open video file: its container, its first video stream, and what must be closed after them.

    `file` holds the video instead of `path`, which then only names it; it is read from its start and left open.
    A local mp4 file whose header tells enough is opened without decoding any of it, unless `probes` asks for it: its
    pixel format is not known then, and its size is what the header says.

    Raises:
        FileNotFoundError: there is no such file.
        VideoDecodeError: it is not a video.
    """

    container: Any = None
    stream: Any = None

    def __init__(self, path: str, file: BinaryIO | None = None, probes: bool = False):
        self._path, self._is_ours = path, file is None
        if file is not None:
            file.seek(0)
        self._file = file if file is not None or _is_local(path) else g_pathmgr.open(path, "rb")
        self.probes = probes or self._file is not None or not self._is_mp4()
        self._open()
        if not self.probes and not self._is_told_by_header():
            self.container.close()
            self.probes = True
            self._open()

    @functools.cached_property
    def composition_offsets(self) -> np.ndarray | None:
        """Of the stream of an mp4 file; see `mp4_boxes.composition_offsets`."""
        with self.raw_file() as file:
            return composition_offsets(file, self.num_bytes, self.stream.id)

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

    def _open(self) -> None:
        try:
            self.container = _open_container(self._file or self._path, {} if self.probes else HEADER_ONLY)
        except av.FFmpegError as error:
            self._close_file()
            is_no_video = isinstance(error, av.error.InvalidDataError)
            told = "it is not a video, or its header is damaged" if is_no_video else "it cannot be opened"
            raise VideoDecodeError(self._path, f"{told} ({_reason(error)})") from error
        # The cover of an audio file is a video stream to FFmpeg.
        covers = av.stream.Disposition.attached_pic
        streams = [stream for stream in self.container.streams.video if not stream.disposition & covers]
        if not streams:
            self.close()
            raise VideoDecodeError(self._path, "it holds no video stream")
        self.stream = streams[0]
        if self.stream.codec_context is None:
            self.close()
            raise VideoDecodeError(self._path, "its video is in a codec that FFmpeg does not know")

    def _is_mp4(self) -> bool:
        with self.raw_file() as file:
            return is_mp4(file)

    def _is_told_by_header(self) -> bool:
        """Whether decoding would tell nothing that matters: for h264, above all how far its frames are out of order.

        FFmpeg works that out of the time offsets, if the header has them for the whole file.
        """
        context = self.stream.codec_context
        if context.format is not None or context.name != "h264" or not self.stream.frames:
            return context.format is not None
        offsets = self.composition_offsets
        return context.has_b_frames or offsets is None or len(np.unique(offsets)) == 1

    def _close_file(self) -> None:
        if self._file is not None and self._is_ours:
            self._file.close()


def _open_container(source: Any, options: dict[str, str]) -> Any:
    """PyAV before 19 refuses metadata that is not UTF-8, which HMDB51 has, unless it is told to ignore it."""
    try:
        return av.open(source, options=options)
    except UnicodeDecodeError:
        if not isinstance(source, str):
            source.seek(0)
        return av.open(source, options=options, metadata_errors="ignore")


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
