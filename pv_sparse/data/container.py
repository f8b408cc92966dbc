"""A video file as FFmpeg sees it: opened, its packets read and decoded, its header's promises."""

import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from iopath.common.file_io import g_pathmgr

from pv_sparse.data.packet_index import Packet
from pv_sparse.errors import VideoDecodeError


def open_container(path: str) -> Any:
    local = "://" not in path
    if local and not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file")
    if local and os.path.isdir(path):
        raise VideoDecodeError(path, "it is a folder, not a video file")
    if local and os.path.getsize(path) == 0:
        raise VideoDecodeError(path, "the file is empty")
    try:
        # Files with names in other encodings than UTF-8 among their metadata (HMDB51 has them) open all the same.
        return av.open(path if local else g_pathmgr.open(path, "rb"), metadata_errors="ignore")
    except av.error.InvalidDataError as error:
        raise VideoDecodeError(path, f"it is not a video, or its header is damaged ({_reason(error)})") from error
    except av.FFmpegError as error:
        raise VideoDecodeError(path, f"it cannot be opened ({_reason(error)})") from error


def _reason(error: av.FFmpegError) -> str:
    """FFmpeg's own words, with those of its log where it wrote any."""
    said = str(error.log[-1]).strip() if error.log else ""
    return f"{error.strerror}: {said}" if said else str(error.strerror)


def scan_packets(container: Any, stream: Any) -> list[Packet]:
    return [
        Packet(p.pts, p.dts, p.size, p.is_keyframe, p.is_discard, p.is_corrupt) for p in read_packets(container, stream)
    ]


def read_packets(container: Any, stream: Any) -> Iterator[Any]:
    """The stream's packets up to the end of the file, or to the place where the container itself is broken."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        if packet.size:
            yield packet


def decode(context: Any, packet: Any) -> list[av.VideoFrame]:
    try:
        return context.decode(packet)
    except av.FFmpegError:
        return []


def declared_num_frames(container: Any, stream: Any, rate: Fraction, start_seconds: Fraction) -> int:
    """What the header promises, less what an edit list cuts away; by duration where it counts no frames; 0: nothing."""
    if "mp4" in container.format.name:
        return sum(not entry.is_discard for entry in stream.index_entries)
    end_seconds = _declared_end_seconds(container, stream)
    return round((end_seconds - start_seconds) * rate) if end_seconds else 0


def _declared_end_seconds(container: Any, stream: Any) -> Fraction | None:
    if container.format.name == "mpegts":
        return None  # It declares no duration: what FFmpeg reports is read off the file's end.
    if container.format.name == "avi":
        return stream.frames * stream.time_base  # FFmpeg scales the duration down where a file was cut off.
    if stream.duration is not None:
        return stream.duration * stream.time_base
    if "DURATION" in stream.metadata:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    if container.duration is not None and len(container.streams) == 1:
        return Fraction(container.duration, av.time_base)
    return None
